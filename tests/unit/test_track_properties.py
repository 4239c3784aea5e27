"""Whatever order, repetition and loss a real history arrives in, the account stays right."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tracking import RECORDINGS, Stage, recorded
from z4j_exporter.events.model import Event

NAMES = sorted(
    p.name.removesuffix(".jsonl") for p in RECORDINGS.glob("*.jsonl") if p.stem != "demo"
)
HISTORIES = {name: [event for _, event in recorded(name)] for name in NAMES}
#: Histories whose tasks are each delivered once per attempt, under one name: for these the
#: account of durations, too, is the same in any order.
PLAIN = ["visit_nested", "chained", "group_inside", "group_on_top", "chord_redis", "custom_ids"]
RETRIES = ["retry_and_fail", "revoked_by_expiry", "retry_and_fail.rabbitmq"]
TASK_KINDS = {
    "task-sent", "task-received", "task-started", "task-succeeded", "task-failed",
    "task-retried", "task-rejected", "task-revoked", "task-cancelled",
}  # fmt: skip


def _arrivals(data: st.DataObject, names: list[str] = NAMES) -> tuple[list[Event], list[Event]]:
    """Draw a history and an order of arrival for it."""
    history = HISTORIES[data.draw(st.sampled_from(names))]
    return history, data.draw(st.permutations(history))


def _types(events: list[Event]) -> Counter[str]:
    return Counter(e.type.removeprefix("task-") for e in events if e.type in TASK_KINDS)


def _no_nonsense(stage: Stage) -> None:
    for step in stage.tasks:
        for seconds in (step.queue_wait, step.prefetch_wait, step.runtime, step.end_to_end):
            assert seconds is None or seconds >= 0.0
        assert step.attempts is None or step.attempts >= 1
        assert step.name
    for worker in stage.cluster.workers:
        assert worker.missing_events is None or worker.missing_events >= 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_order_counts_every_event_once(data: st.DataObject) -> None:
    history, arrivals = _arrivals(data)
    stage = Stage().play(arrivals).wait(3)
    assert stage.kinds() == _types(history)
    assert stage.cluster.tasks.duplicates == 0
    _no_nonsense(stage)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_duplicates_count_nowhere(data: st.DataObject) -> None:
    history, arrivals = _arrivals(data)
    again = data.draw(st.lists(st.sampled_from(history), max_size=12))
    positions = [data.draw(st.integers(0, len(arrivals))) for _ in again]
    for position, event in zip(positions, again, strict=True):
        arrivals.insert(position, event)
    stage = Stage().play(arrivals).wait(3)
    assert stage.kinds() == _types(history)
    assert stage.cluster.tasks.duplicates == sum(_types(again).values())
    _no_nonsense(stage)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_loss_takes_away_only_what_was_lost(data: st.DataObject) -> None:
    _, arrivals = _arrivals(data)
    kept = [e for e in arrivals if data.draw(st.booleans())]
    stage = Stage().play(kept).wait(3)
    assert stage.kinds() == _types(kept)
    _no_nonsense(stage)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_order_gives_the_same_labels(data: st.DataObject) -> None:
    history, arrivals = _arrivals(data, PLAIN + RETRIES)
    expected = Stage().play(history).wait(3).counts()
    assert Stage().play(arrivals).wait(3).counts() == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_order_gives_the_same_durations(data: st.DataObject) -> None:
    history, arrivals = _arrivals(data, PLAIN)

    def durations(stage: Stage) -> list[tuple[str, str, float]]:
        told = [
            (step.uuid, what, round(value, 6))
            for step in stage.tasks
            for what in ("queue_wait", "prefetch_wait", "runtime", "end_to_end")
            if (value := getattr(step, what)) is not None
        ]
        return sorted(told)

    ordered = durations(Stage().play(history).wait(3))
    assert durations(Stage().play(arrivals).wait(3)) == ordered
    assert len(ordered) == len({(uuid, what) for uuid, what, _ in ordered})  # each told once


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_task_ends_once_in_any_order(data: st.DataObject) -> None:
    _, arrivals = _arrivals(data, PLAIN + RETRIES + ["rejected", "hard_time_limit", "terminated"])
    stage = Stage().play(arrivals).wait(3)
    ends = Counter(step.uuid for step in stage.tasks if step.final)
    assert set(ends.values()) == {1}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_same_events_tell_the_same(data: st.DataObject) -> None:
    _, arrivals = _arrivals(data)
    assert Stage().play(arrivals).wait(3).told == Stage().play(arrivals).wait(3).told


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(100, 130))
def test_memory_is_bounded_and_evictions_are_counted(data: st.DataObject, cap: int) -> None:
    count = data.draw(st.integers(cap, 3 * cap))
    kinds = data.draw(st.lists(st.sampled_from(sorted(TASK_KINDS)), min_size=3, max_size=3))
    stage = Stage(max_tasks=cap)
    for number in range(count):
        kind = kinds[number % 3]
        stage.play([Event(type=kind, timestamp=1e9 + number, uuid=f"u{number}", hostname="w@h")])
    table = stage.cluster.tasks.table
    assert len(table) <= cap
    assert len(table) + sum(table.evictions.values()) == count
    # What waits for a name is told before its task is forgotten.
    assert sum(stage.wait(3).kinds().values()) == count


@pytest.mark.parametrize("name", NAMES)
def test_backwards(name: str) -> None:
    history = HISTORIES[name]
    stage = Stage().play(reversed(history)).wait(3)
    assert stage.kinds() == _types(history)
