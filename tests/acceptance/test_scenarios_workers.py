"""What heartbeats tell: killed workers, tasks without events, ends that nobody announced."""

from tests.support import servers
from tests.support.counted import samples, task_counts
from tests.support.process import wait_until
from tests.support.scenarios import SCENARIOS
from tests.support.servers import Exporter, Redis
from tests.support.stage import play, staged

#: Seconds until heartbeats have proven something: 10 to settle, and three more heartbeats.
SETTLED_SECONDS = 30.0


def of_worker(exporter: Exporter, family: str, worker: str = "w1@host1") -> float | None:
    """Read a worker's metric."""
    key = (f"celery_worker_{family}", (("worker", worker),))
    return samples(exporter.scrape()).get(key)


def wait_counts(exporter: Exporter, expected: dict[str, int]) -> None:
    """Wait for these task counts and no others."""
    wait_until(
        lambda: task_counts(exporter.scrape()) == expected,
        SETTLED_SECONDS,
        lambda: f"{task_counts(exporter.scrape())} != {expected}",
    )


def begun(task: str) -> dict[str, int]:
    """Count a task that was sent, received and started."""
    return {f"{kind} {task}@celery": 1 for kind in ("sent", "received", "started")}


def test_a_killed_worker_is_down_and_its_task_lost(valkey: Redis) -> None:
    options = ("--broker-url", valkey.url, "--worker-timeout", "3")
    with servers.exporter(*options) as exporter:
        play(valkey.url, SCENARIOS["worker_killed"])
        lost = {"lost work.sleep@celery reason=worker_lost": 1}
        wait_counts(exporter, begun("work.sleep") | lost)
        assert of_worker(exporter, "up") == 0
        assert of_worker(exporter, "active_tasks") == 0


def test_a_quiet_task_is_missed_and_an_ignored_one_ends(valkey: Redis) -> None:
    scenarios = [SCENARIOS[name] for name in ("opted_out", "ignored", "outside_ascii")]
    with (
        servers.exporter("--broker-url", valkey.url) as exporter,
        staged(valkey.url, *scenarios),
    ):
        post = begun("почта.отправить") | {"succeeded почта.отправить@celery": 1}
        # Ignore sends no end; the worker's heartbeats say that it runs nothing.
        ignored = begun("end.ignored") | {"ended_unseen end.ignored@celery": 1}
        wait_counts(exporter, post | ignored | {"sent work.quiet@celery": 1})
        # The quiet task ran without events: it is the one that is missing, and the only one.
        wait_until(lambda: of_worker(exporter, "missing_events_total") == 1, SETTLED_SECONDS)
        assert of_worker(exporter, "processed_total") == 3
        assert of_worker(exporter, "up") == 1
