"""The drop-in profiles against their models, on every recording of real workers.

Whatever differs is written down here, with its reason, and in docs/profiles.md.
"""

from collections import defaultdict

import pytest

from tests.support.exposed import NAMES, Exposed, Labels, Samples, raw_events
from tests.support.peers import CeleryExporter, Flower, by_family

#: The class is on the traceback's last line, or behind a dot or an angle bracket.
_NOT_TOLD = {"ExceptionWithTraceback", "UnknownException"}
#: task-received overtook task-sent: the peer counts it under the default queue.
QUEUE_RACES = {"demo", "visit_nested.rabbitmq"}
#: A message delivered again: the peer counts the wait again, from the first sending. Number of
#: observations too many.
WAITED_TWICE = {
    "cancelled_at_shutdown": 1,
    "child_killed_late": 1,
    "connection_lost": 1,
    "requeued_once": 1,
    "worker_killed_redelivered": 1,
    # Three redeliveries; and five quick tasks, whose task-sent came last, that the peer misses.
    "demo": 3 - 5,
}
#: The peer takes the eta of the retry, known before the attempt it belongs to.
RETRIED = {"demo", "retry_and_fail", "retry_and_fail.rabbitmq", "revoked_by_expiry.rabbitmq"}
#: task-succeeded without a run time; ours is the time from start to end.
NO_RUNTIME = {"killed_after_success"}
RUNTIMES = {"celery_task_runtime_count", "celery_task_runtime_sum"}


def without(samples: Samples, *dropped: str) -> Samples:
    """Add up over some labels."""
    found: defaultdict[tuple[str, Labels], float] = defaultdict(float)
    for (name, labels), value in samples.items():
        found[name, tuple((k, v) for k, v in labels if k not in dropped)] += value
    return dict(found)


def of_tasks(samples: Samples) -> Samples:
    """Leave out workers and buckets."""
    return {
        k: v
        for k, v in samples.items()
        if k[0].startswith("celery_task_") and not k[0].endswith("_bucket")
    }


@pytest.mark.parametrize("name", NAMES)
def test_celery_exporter(name: str) -> None:
    peer = CeleryExporter()
    for event in raw_events(name):
        peer.event(event)
    theirs = by_family(peer.samples)
    ours = by_family(of_tasks(Exposed("celery-exporter").recording(name).samples()))
    assert theirs.keys() ^ ours.keys() == (RUNTIMES if name in NO_RUNTIME else set())
    for family in theirs | ours:
        dropped = ["queue_name"] if name in QUEUE_RACES else []
        their, our = theirs.get(family, {}), ours.get(family, {})
        if family == "celery_task_failed_total":
            _same_exceptions(their, our)
            dropped.append("exception")
        their, our = without(their, *dropped), without(our, *dropped)
        if "queue_wait" in family and name in WAITED_TWICE:
            if family.endswith("_count"):
                assert sum(their.values()) - sum(our.values()) == WAITED_TWICE[name]
        elif family.endswith("queue_wait_time_sum") and name in RETRIED:
            assert their.keys() == our.keys()
        elif "runtime" in family and name in NO_RUNTIME:
            assert not their
        else:
            assert our == pytest.approx(their), family


def _same_exceptions(theirs: Samples, ours: Samples) -> None:
    """Whatever class the peer can tell has the same value here."""
    told = {
        k: v
        for k, v in theirs.items()
        if dict(k[1]).get("exception") not in _NOT_TOLD and "exception" in dict(k[1])
    }
    assert without(ours, "queue_name").items() >= without(told, "queue_name").items()


# -- Flower ------------------------------------------------------------------------------------

#: Flower leaves tasks with an eta out, and with them all attempts after a first retry.
WITH_ETA = {
    "child_of_each_attempt",
    "demo",
    "eta",
    "retry_and_fail",
    "retry_and_fail.rabbitmq",
    "retry_and_succeed",
    "revoked_by_expiry",
    "revoked_by_expiry.rabbitmq",
    "without_sent",
}
#: Types of Flower's counter that are custom events: the tracker does not follow them.
CUSTOM = {"task-progress"}
#: Workers that ended, died or were suspended; Flower keeps what their last heartbeat said.
ENDED_WHILE_RUNNING = {"killed_after_success", "worker_killed_redelivered", "worker_paused"}


@pytest.mark.parametrize("name", NAMES)
def test_flower(name: str) -> None:
    flower = Flower()
    for event in raw_events(name):
        flower.event(event)
    theirs = by_family(flower.samples())
    ours = by_family(Exposed("flower").recording(name).samples())
    _same_events(theirs["flower_events_total"], ours["flower_events_total"])
    for part in ("_bucket", "_count", "_sum"):
        family = f"flower_task_runtime_seconds{part}"
        if name in NO_RUNTIME:
            assert family not in theirs
        else:
            assert ours.get(family, {}) == pytest.approx(theirs.get(family, {}))
    assert ours["flower_worker_online"] == theirs["flower_worker_online"]
    _same_gauges(name, theirs, ours)


def _same_events(theirs: Samples, ours: Samples) -> None:
    theirs = {k: v for k, v in theirs.items() if dict(k[1])["type"] not in CUSTOM}
    zeros = {k for k, v in ours.items() if v == 0}
    assert {dict(labels)["type"] for _, labels in zeros} <= {"task-succeeded", "task-failed"}
    assert {k: v for k, v in ours.items() if k not in zeros} == theirs


def _same_gauges(name: str, theirs: dict[str, Samples], ours: dict[str, Samples]) -> None:
    family = "flower_worker_number_of_currently_executing_tasks"
    their, our = theirs.get(family, {}), ours[family]
    # Ours is there from worker-online on, Flower's from the first heartbeat on.
    assert their.keys() <= our.keys()
    if name not in ENDED_WHILE_RUNNING:
        assert {k: our[k] for k in their} == their
        assert not any(v for k, v in our.items() if k not in their)
    for family in ("flower_worker_prefetched_tasks", "flower_task_prefetch_time_seconds"):
        their, our = theirs.get(family, {}), ours.get(family, {})
        assert their.keys() <= our.keys()
        assert all(v >= 0 for v in our.values())
        if name not in WITH_ETA:
            assert {k: our[k] for k in their} == pytest.approx(their)
            assert not any(v for k, v in our.items() if k not in their)


def test_headers_are_flowers() -> None:
    flower = Flower()
    theirs = [line for line in flower.text().splitlines() if "_created" not in line]
    assert Exposed("flower").text().splitlines() == theirs
