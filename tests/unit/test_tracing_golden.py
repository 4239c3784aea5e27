"""Each recorded story as a tree of spans: compared with tests/fixtures/traces, line by line.

The files were reviewed against the events of the recordings of the same names; what their lines
mean stands at `tests.support.tracing.story`. To see what changed: run, and read the difference.
"""

import random
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.tracing import Arrival, Played, play, play_recording, story, wrong
from tests.support.tracking import RECORDINGS, recorded
from z4j_exporter.tracing.model import CONSUMER, PRODUCER, Span

TRACES = Path(__file__).parents[1] / "fixtures" / "traces"
ALL = sorted(path.stem for path in RECORDINGS.glob("*.jsonl"))

#: How long the silence of a worker is borne, and how long to wait for it (seconds).
PLAYED: dict[str, dict[str, Any]] = {
    "worker_killed": {"after": 70},
    "worker_killed_redelivered": {"after": 70},
    "worker_paused": {"worker_timeout": 3},
    "ignored": {"after": 15},
}


def expected(name: str) -> str:
    text = (TRACES / f"{name}.txt").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def in_order(played: Played) -> list[Span]:
    return sorted(played.spans, key=lambda span: (span.trace_id, span.span_id))


@pytest.mark.parametrize("name", sorted(path.stem for path in TRACES.glob("*.txt")))
def test_a_recorded_history_is_this_tree(name: str) -> None:
    played = play_recording(name, **PLAYED.get(name, {}))
    assert story(played.spans, recorded(name)) == expected(name)
    assert wrong(played.spans) == []
    assert played.tracer.dropped["error"] == 0


def test_an_end_that_comes_after_its_worker_was_given_up_changes_nothing() -> None:
    played = play_recording("worker_paused", worker_timeout=3)
    assert [step.kind for step in played.told if getattr(step, "uuid", "")][-1] == "succeeded"
    assert [span.name for span in played.spans] == ["send work.sleep", "process work.sleep"]
    assert played.tracer.dropped["late"] == 1


@pytest.mark.parametrize("name", ALL)
def test_what_holds_of_all_spans_holds_of_these(name: str) -> None:
    played = play_recording(name, after=75)
    assert wrong(played.spans) == []
    assert played.tracer.dropped["error"] == 0


@pytest.mark.parametrize("name", ALL)
def test_two_exporters_make_the_same_spans(name: str) -> None:
    # They tick at other moments, and take the events in other batches.
    one = in_order(play_recording(name, after=75))
    for phase, gather in ((0.13, 0.05), (0.5, 0.25), (0.91, 0.0)):
        assert in_order(play_recording(name, after=75, phase=phase, gather=gather)) == one


@pytest.mark.parametrize("name", ALL)
def test_events_that_come_twice_change_nothing(name: str) -> None:
    arrivals = recorded(name)
    one = in_order(play(arrivals, after=75))
    at_once = [arrival for arrival in arrivals for _ in range(2)]
    assert in_order(play(at_once, after=75)) == one
    later = sorted([*arrivals, *((at + 1, event) for at, event in arrivals)], key=lambda a: a[0])
    assert in_order(play(later, after=75)) == one


def overtaking(arrivals: list[Arrival], seed: int, most: float) -> list[Arrival]:
    """Delay the events of tasks by up to ``most`` seconds: each process's own keep their order.

    Derived from a recording, not recorded: how two processes' events overtake each other.
    """
    chance = random.Random(seed)
    last: dict[str, float] = {}
    moved = []
    for at, event in arrivals:
        delay = chance.uniform(0, most) if event.type.startswith("task-") else 0.0
        last[event.hostname] = max(at + delay, last.get(event.hostname, 0.0))
        moved.append((last[event.hostname], event))
    return sorted(moved, key=lambda arrival: arrival[0])


@pytest.mark.parametrize("name", ALL)
def test_events_that_overtake_each_other_change_nothing(name: str) -> None:
    arrivals = recorded(name)
    one = in_order(play(arrivals, after=75))
    for seed in range(6):
        for most in (0.02, 0.2, 1.0):
            played = play(overtaking(arrivals, seed, most), after=75)
            assert in_order(played) == one, (seed, most)


def with_slow_workers(arrivals: list[Arrival]) -> list[Arrival]:
    """Put the workers' clocks 5 s behind those of the applications that send to them."""
    sent = [event for _, event in arrivals if event.type == "task-sent"]
    applications = {event.hostname for event in sent if event.parent_id is None}
    applications |= {event.hostname for event in sent[:1]}
    return [
        (at, event)
        if event.hostname in applications
        else (at, replace(event, timestamp=event.timestamp - 5))
        for at, event in arrivals
    ]


@pytest.mark.parametrize("name", ALL)
def test_no_run_starts_before_its_send_where_clocks_differ(name: str) -> None:
    arrivals = recorded(name)
    before = {span.span_id: span for span in play(arrivals, after=75).spans}
    played = play(with_slow_workers(arrivals), after=75)
    assert wrong(played.spans) == []
    roots = sum(span.kind == PRODUCER and not span.parent_id for span in played.spans)
    assert played.tracer.clamped >= roots
    # The same spans, and runs as long as they were.
    assert {span.span_id for span in played.spans} == set(before)
    for span in played.spans:
        if span.kind == CONSUMER:
            first = before[span.span_id]
            took = first.end_ns - first.start_ns
            assert abs(span.end_ns - span.start_ns - took) <= 2_000, span.name


#: What a redelivery or a replacement is to an exporter that was not there for the first: the first
#: (docs/decisions.md).
TAKEN_FOR_THE_FIRST = {
    "cancelled_at_shutdown",
    "child_killed_late",
    "connection_lost",
    "replaced",
    "requeued_once",
    "worker_killed_redelivered",
}


@pytest.mark.parametrize("name", [name for name in ALL if name not in TAKEN_FOR_THE_FIRST])
def test_a_restart_in_the_middle_changes_no_id(name: str) -> None:
    arrivals = recorded(name)
    whole = {(s.trace_id, s.span_id): (s.kind, s.name) for s in play(arrivals, after=75).spans}
    for cut in range(1, len(arrivals), max(1, len(arrivals) // 40)):
        second = play(arrivals[cut:], after=75)
        made = {(s.trace_id, s.span_id): (s.kind, s.name) for s in second.spans}
        assert made.items() <= whole.items(), f"from event {cut}"
        assert wrong(second.spans) == []


def test_who_joined_too_late_to_know_the_root_tells_nothing_and_counts_it() -> None:
    # From the start of the only task on: no event says any more what its root is.
    arrivals = recorded("simple")
    first = next(i for i, (_, event) in enumerate(arrivals) if event.type == "task-started")
    played = play(arrivals[first:])
    assert played.spans == []
    assert played.tracer.dropped["unknown_root"] == 1


def test_who_joined_after_the_sending_tells_the_run_alone() -> None:
    arrivals = recorded("simple")
    first = next(i for i, (_, event) in enumerate(arrivals) if event.type == "task-received")
    played = play(arrivals[first:])
    (run,) = played.spans
    (_, whole) = play(arrivals).spans
    assert (run.name, run.kind, run.parent_id, run.links) == ("process math.add", CONSUMER, b"", ())
    assert (run.trace_id, run.span_id) == (whole.trace_id, whole.span_id)
