"""The ways a task can go beyond the golden four: exact counts for each, from real workers."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.counted import Counted, play_counted, task_counts
from tests.support.scenarios import SCENARIOS
from tests.support.servers import Redis

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


ONCE = {"sent": 1, "received": 1, "started": 1, "succeeded": 1}

#: Each is played by itself: name → scenarios, expected counts.
STORIES: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "many ways to end": (TOGETHER, keys(EXPECTED_TOGETHER)),
    "chains, groups, etas and ids of all kinds": (
        ("chained", "group_inside", "group_on_top", "eta", "custom_ids"),
        keys({"math.add": dict.fromkeys(ONCE, 14), "work.fan_out": ONCE}),
    ),
    "a revocation by two workers counts once": (
        ("revoked_by_two",),
        keys({"math.add": {"sent": 1, "received": 2, "revoked revoked": 1}}),
    ),
    # Its task-cancelled arrives after the worker's worker-offline: it is not lost.
    "a task cancelled at shutdown comes back": (
        ("cancelled_at_shutdown",),
        keys({"work.sleep_late": {**ONCE, "received": 2, "started": 2, "cancelled": 1}}),
    ),
    # The worker says offline, then online again; its task-cancelled is lost.
    "a task cancelled by a lost connection comes back": (
        ("connection_lost",),
        keys({"work.sleep_late": {**ONCE, "received": 2, "started": 2}}),
    ),
    "a killed worker's task is taken by another": (
        ("worker_killed_redelivered",),
        keys({"work.sleep_late": {**ONCE, "received": 2, "started": 2}}),
    ),
    "without task-sent no queue is known": (
        ("without_sent",),
        keys(
            {
                "web.visit": {
                    "received": 4,
                    "started": 4,
                    "retried HTTPError": 3,
                    "failed HTTPError": 1,
                }
            },
            queue=UNKNOWN_QUEUE,
        ),
    ),
}

Played = dict[str, "Future[Counted]"]


@pytest.fixture(scope="module")
def played(shared_valkey: Redis) -> Iterator[Played]:
    """All stories, some at the same time: each in a database of its own."""
    shared_valkey.client().flushall()
    with ThreadPoolExecutor(4, "story") as pool:
        yield {
            name: pool.submit(
                play_counted,
                shared_valkey.url_at(shared_valkey.port, db),
                [SCENARIOS[scenario] for scenario in scenarios],
                expected,
            )
            for db, (name, (scenarios, expected)) in enumerate(STORIES.items())
        }


@pytest.mark.parametrize("name", STORIES)
def test_exact_counts(played: Played, name: str) -> None:
    assert task_counts(played[name].result().text) == STORIES[name][1]
