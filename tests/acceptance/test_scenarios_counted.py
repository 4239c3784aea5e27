"""The ways a task can go beyond the golden four: exact counts for each, from real workers."""

from tests.support import servers
from tests.support.counted import scrape_counted, task_counts
from tests.support.scenarios import SCENARIOS
from tests.support.servers import Redis
from tests.support.stage import play

#: Played on one worker, one after the other. Not here: what kills workers or needs two of them.
TOGETHER = (
    "hard_time_limit",
    "soft_time_limit",
    "requeued_once",
    "replaced",
    "child_killed",
    "child_killed_late",
    "killed_after_success",
    "terminated",
    "revoked_before_start",
    "chord_redis",
    "chord_failed",
    "custom_events",
    "odd_exceptions",
    "system_exit",
    "outside_ascii",
)

#: Task → its counts, by kind; all in the queue "celery".
EXPECTED_TOGETHER = {
    # Two task-failed events for one failure.
    "end.hard_limit": {"sent": 1, "received": 1, "started": 1, "failed TimeLimitExceeded": 1},
    "end.soft_limit": {"sent": 1, "received": 1, "started": 1, "failed SoftTimeLimitExceeded": 1},
    "end.requeued": {
        "sent": 1,
        "received": 2,
        "started": 2,
        "rejected true": 1,
        "succeeded": 1,
    },
    "work.replaced": {"sent": 1, "received": 1, "started": 1},
    "end.child_killed": {"sent": 1, "received": 1, "started": 1, "failed WorkerLostError": 1},
    "end.child_killed_late": {
        "sent": 1,
        "received": 2,
        "started": 2,
        "rejected true": 1,
        "succeeded": 1,
    },
    "end.killed_after_success": {"sent": 1, "received": 1, "started": 1, "succeeded": 1},
    "work.sleep": {"sent": 1, "received": 1, "started": 1, "revoked terminated": 1},
    # The replacement, the revoked one, three and one from headers.
    "math.add": {"sent": 6, "received": 6, "started": 5, "succeeded": 5, "revoked revoked": 1},
    "math.total": {"sent": 1, "received": 1, "started": 1, "succeeded": 1},
    "work.report": {"sent": 1, "received": 1, "started": 1, "succeeded": 1},
    "errors.raise": {
        "sent": 10,
        "received": 10,
        "started": 10,
        "failed OddRepr": 1,
        "failed BrokenRepr": 1,
        "failed Nested": 1,
        "failed JSONDecodeError": 1,
        "failed ValueError": 2,
        "failed ExceptionGroup": 1,
        "failed Local": 1,
        "failed RuntimeError": 1,
        "failed WorkerLostError": 1,
    },
    "почта.отправить": {"sent": 1, "received": 1, "started": 1, "succeeded": 1},
}

#: What stands for a queue that no event told.
UNKNOWN_QUEUE = ""

_LABEL = {
    "failed": "exception",
    "retried": "exception",
    "rejected": "requeued",
    "revoked": "reason",
    "lost": "reason",
}


def keys(expected: dict[str, dict[str, int]], queue: str = "celery") -> dict[str, int]:
    """Write expectations out in the keys of ``task_counts``."""
    written = {}
    for task, by_kind in expected.items():
        for short, number in by_kind.items():
            kind, _, detail = short.partition(" ")
            label = f" {_LABEL[kind]}={detail}" if detail else ""
            written[f"{kind} {task}@{queue}{label}"] = number
    return written


def check(broker: Redis, names: tuple[str, ...], expected: dict[str, int]) -> None:
    """Play scenarios beside an exporter; it must count this and nothing else."""
    with servers.exporter("--broker-url", broker.url) as exporter:
        received = play(broker.url, *(SCENARIOS[name] for name in names))
        text = scrape_counted(exporter, received, expected)
    assert task_counts(text) == expected


def test_many_ways_to_end(valkey: Redis) -> None:
    check(valkey, TOGETHER, keys(EXPECTED_TOGETHER))


def test_chains_groups_etas_and_ids_of_all_kinds(valkey: Redis) -> None:
    names = ("chained", "group_inside", "group_on_top", "eta", "custom_ids")
    once = {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
    check(valkey, names, keys({"math.add": dict.fromkeys(once, 14), "work.fan_out": once}))


def test_a_revocation_by_two_workers_counts_once(valkey: Redis) -> None:
    counts = {"sent": 1, "received": 2, "revoked revoked": 1}
    check(valkey, ("revoked_by_two",), keys({"math.add": counts}))


def test_a_task_cancelled_at_shutdown_comes_back(valkey: Redis) -> None:
    # Its task-cancelled arrives after the worker's worker-offline: it is not lost.
    counts = {"sent": 1, "received": 2, "started": 2, "cancelled": 1, "succeeded": 1}
    check(valkey, ("cancelled_at_shutdown",), keys({"work.sleep_late": counts}))


def test_without_task_sent_the_counts_are_the_same_and_the_queue_is_unknown(
    valkey: Redis,
) -> None:
    counts = {"received": 4, "started": 4, "retried HTTPError": 3, "failed HTTPError": 1}
    check(valkey, ("without_sent",), keys({"web.visit": counts}, queue=UNKNOWN_QUEUE))
