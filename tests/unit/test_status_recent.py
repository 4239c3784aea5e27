"""What the status page remembers of ends: failures, the slowest runs, and how many there were."""

import sys
from collections import Counter

import pytest

from tests.support.tracking import RECORDINGS, Stage, event, recorded
from z4j_exporter.metrics.labels import MAX_LABEL_LENGTH
from z4j_exporter.status.recent import FAILURES, SLOTS, SLOWEST, Recent
from z4j_exporter.status.tasks import failure_row, run_row
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.transitions import TaskTransition, TraceRef, Transition, WorkerTransition


def ended(kind: str = "succeeded", number: int = 0, **fields: object) -> TaskTransition:
    return TaskTransition(kind=kind, uuid=f"u{number}", timestamp=float(number), **fields)  # type: ignore[arg-type]


def remembering() -> tuple[Recent, list[Transition]]:
    return Recent(), []


def test_each_transition_goes_on_as_it_is() -> None:
    recent, told = remembering()
    follow = recent.following(told.append)
    steps: list[Transition] = [
        WorkerTransition(kind="up", worker="w"),
        *(ended(kind) for kind in ("sent", "received", "started", "succeeded", "failed")),
        WorkerTransition(kind="forgotten", worker="w"),
    ]
    for step in steps:
        follow(step)
    assert told == steps
    assert [f.kind for f in recent.failures()] == ["failed"]


def test_failures_are_the_newest_and_bounded() -> None:
    recent, told = remembering()
    follow = recent.following(told.append)
    for number in range(FAILURES + 7):
        follow(ended("failed" if number % 2 else "lost", number))
        follow(ended("succeeded", number, runtime=1.0))
        follow(ended("retried", number))
    newest = FAILURES + 6
    assert [f.timestamp for f in recent.failures()] == [newest - n for n in range(FAILURES)]


def test_a_rejection_counts_unless_the_message_goes_back() -> None:
    recent, told = remembering()
    follow = recent.following(told.append)
    follow(ended("rejected", 1, detail="true"))
    follow(ended("rejected", 2, detail="false"))
    follow(ended("revoked", 3))
    follow(ended("failed", 4, repeat=True))
    assert [f.uuid for f in recent.failures()] == ["u2"]


def test_the_slowest_of_each_slot_until_it_is_forgotten() -> None:
    recent, told = remembering()
    follow = recent.following(told.append)
    follow(ended("failed", 1, runtime=100.0))
    for number in range(50):
        follow(ended("succeeded", number, runtime=float(number)))
    assert [s.runtime for s in recent.slowest()] == [100.0, *range(49, 40, -1)]
    recent.rotate()
    for _ in range(3):
        follow(ended("retried", 7, runtime=60.0))  # equals are no trouble
    assert [s.runtime for s in recent.slowest()] == [100.0, 60.0, 60.0, 60.0, *range(49, 43, -1)]
    for _ in range(SLOTS - 1):
        recent.rotate()
    assert [s.runtime for s in recent.slowest()] == [60.0, 60.0, 60.0]
    recent.rotate()
    assert recent.slowest() == []
    for _ in range(SLOWEST):
        follow(ended("succeeded", 8, runtime=9.0))
    recent.rotate()
    follow(ended("succeeded", 9, runtime=0.5))  # each slot has its own slowest
    for _ in range(SLOTS - 1):
        recent.rotate()
    assert [s.runtime for s in recent.slowest()] == [0.5]


def test_a_start_that_came_after_its_end_is_no_run_of_its_own() -> None:
    recent, told = remembering()
    follow = recent.following(told.append)
    follow(ended("started", 1, runtime=9.0, runtime_outcome="failed"))
    assert recent.slowest() == []


def test_memory_is_bounded_whatever_comes() -> None:
    recent = Recent()
    follow = recent.following(lambda _step: None)
    for number in range(5000):
        follow(ended("failed", number, runtime=float(number)))
        if number % 40 == 0:
            recent.rotate()
    kept = sum(len(slot) for slot in recent._slots)
    assert kept <= SLOTS * SLOWEST
    assert len(recent.failures()) == FAILURES
    assert sys.getsizeof(recent._beside) < 1000


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("*.jsonl")))
def test_ends_are_counted_as_the_tracker_tells_them(name: str) -> None:
    recent, told = remembering()
    cluster = Cluster(recent.following(told.append))
    for received_at, each in recorded(name):
        cluster.apply(each, received_at, received_at)
        cluster.tick(received_at)
    cluster.flush()
    ends = recent.ends(cluster.events)
    expected = Counter(
        step.kind
        for step in told
        if isinstance(step, TaskTransition) and step.kind in ends and not step.repeat
    )
    # An exact repetition of an event is one more event, and no transition.
    assert not expected - Counter(ends)
    assert (Counter(ends) - expected).total() <= cluster.tasks.duplicates


def test_what_the_tracker_concludes_is_counted() -> None:
    recent, told = remembering()
    follow = recent.following(told.append)
    follow(ended("lost", 1, detail="worker_lost"))
    follow(ended("unseen", 2))
    assert recent.ends({"task-failed": 3}) == {
        **dict.fromkeys(("succeeded", "retried", "rejected", "revoked", "cancelled"), 0),
        "failed": 3,
        "lost": 1,
        "unseen": 1,
    }
    follow(ended("failed", 3, repeat=True))  # its event was counted, and is no failure more
    assert recent.ends({"task-failed": 4})["failed"] == 3


# -- rows ----------------------------------------------------------------------------------------

TRACE = TraceRef(bytes(range(16)), bytes(8))


def test_a_failure_has_its_attempt_its_class_and_a_link() -> None:
    stage = (
        Stage()
        .play(
            [
                event("task-received", 0, name="a", retries=0),
                event("task-started", 1),
                event("task-retried", 2, exception="E()"),
                event("task-received", 3, name="a", retries=1),
                event("task-started", 4),
                event(
                    "task-failed",
                    5,
                    exception="shop.Oops('card 4111')",
                    traceback="x\nshop.Oops: 4111",
                ),
            ]
        )
        .wait(61)
    )
    failed = next(step for step in stage.tasks if step.kind == "failed")
    row = failure_row(failed, stage.cluster.task("u1"), lambda _trace: "abc")
    assert (row.name, row.exception, row.attempt, row.trace_id) == ("a", "Oops", 2, "abc")
    assert "4111" not in repr(row)


def test_the_attempt_of_a_lost_task_is_found_in_what_is_left_of_it() -> None:
    stage = (
        Stage(worker_timeout_seconds=5)
        .play(
            [
                event("worker-heartbeat", active=1, processed=1),
                event("task-received", 0, name="a", retries=3),
                event("task-started", 1),
            ]
        )
        .wait(70)
    )
    lost = next(step for step in stage.tasks if step.kind == "lost")
    row = failure_row(lost, stage.cluster.task("u1"), lambda _trace: "")
    assert (row.exception, row.attempt, row.worker) == ("lost", 4, "w1@host")
    assert failure_row(lost, None, lambda _trace: "").attempt is None


def test_only_a_kept_trace_is_asked_for() -> None:
    asked: list[bytes | None] = []
    linked = lambda trace: asked.append(trace) or "t"  # noqa: E731
    assert run_row(ended(runtime=1.0, trace=TRACE), linked).trace_id == "t"
    run_row(ended(runtime=1.0), linked)
    assert asked == [TRACE.trace_id, None]


def test_what_comes_from_the_wire_is_made_harmless() -> None:
    evil = "<b>\x1b[31m\u2028\ud800" + "x" * 500
    end = TaskTransition(
        kind="failed", uuid=evil, name=evil, queue=evil, worker=evil, detail=evil,
        timestamp=1.0, runtime=1.0,
    )  # fmt: skip
    for row in (failure_row(end, None, lambda _t: ""), run_row(end, lambda _t: "")):
        for value in row:
            if isinstance(value, str):
                assert len(value) <= MAX_LABEL_LENGTH
                value.encode()
                assert not any(ord(c) < 32 or c == "\u2028" for c in value)
