"""What real workers and the real hook told, as trees: compared with tests/fixtures/hooked.

The lines mean what `tests.support.tracing.story` says; ``trace of group 1`` is that of the first
group that the notes name. Recorded by ``python -m tests.support.hooked``.
"""

import random

import pytest

from tests.support.hooked import (
    RECORDINGS,
    groups_of,
    play_hooked,
    recorded_hooked,
    story_hooked,
)
from tests.support.tracing import Arrival, Played, play, play_recording, wrong
from tests.support.tracking import RECORDINGS as WITHOUT_THE_HOOK
from tests.support.tracking import recorded
from z4j_exporter.events.captured import Envelope, captured
from z4j_exporter.tracing.model import Span
from z4j_exporter.track.transitions import TaskTransition

ALL = sorted(path.stem for path in RECORDINGS.glob("*.jsonl"))
#: One call from outside of any task.
ON_TOP = [name for name in ALL if name != "group_inside"]


def in_order(played: Played) -> list[Span]:
    return sorted(played.spans, key=lambda span: (span.trace_id, span.span_id))


def is_note(arrival: Arrival) -> bool:
    return arrival[1].type.startswith("z4j-")


@pytest.mark.parametrize("name", ALL)
def test_a_recorded_history_is_this_tree(name: str) -> None:
    text = (RECORDINGS / f"{name}.txt").read_text(encoding="utf-8")
    arrivals = recorded_hooked(name)
    played = play_hooked(arrivals)
    expected = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert story_hooked(played, arrivals) == expected
    assert wrong(played.spans) == []
    assert not any(played.tracer.dropped.values())


@pytest.mark.parametrize("name", ALL)
def test_one_call_is_one_trace(name: str) -> None:
    played = play_hooked(recorded_hooked(name))
    assert len({span.trace_id for span in played.spans}) == 1


@pytest.mark.parametrize("name", ON_TOP)
def test_without_the_notes_it_falls_apart(name: str) -> None:
    with_notes = play_hooked(recorded_hooked(name))
    without = play([each for each in recorded_hooked(name) if not is_note(each)])
    assert len({span.trace_id for span in without.spans}) >= 2
    # The notes change where spans are, and say more of them: they make no other spans.
    assert {s.span_id: (s.parent_id, s.start_ns, s.end_ns) for s in without.spans} == {
        s.span_id: (s.parent_id, s.start_ns, s.end_ns) for s in with_notes.spans
    }


def moved(arrivals: list[Arrival], seed: int) -> list[Arrival]:
    """Let each note arrive up to 1.5 s earlier or later than it did."""
    chance = random.Random(seed)
    shifted = [
        (at + chance.uniform(-1.5, 1.5) if is_note((at, event)) else at, event)
        for at, event in arrivals
    ]
    return sorted(shifted, key=lambda arrival: arrival[0])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_two_exporters_make_the_same_spans(name: str, ratio: float) -> None:
    arrivals = recorded_hooked(name)
    one = in_order(play_hooked(arrivals, trace_ratio=ratio))
    assert {len(one)} <= {0, len(play_hooked(arrivals).spans)}  # all of a call, or nothing
    for phase in (0.13, 0.5, 0.91):
        assert in_order(play_hooked(arrivals, phase=phase, trace_ratio=ratio)) == one
    for seed in range(6):
        assert in_order(play_hooked(moved(arrivals, seed), trace_ratio=ratio)) == one, seed
    twice = sorted([*arrivals, *((at + 0.4, event) for at, event in arrivals)], key=lambda a: a[0])
    assert in_order(play_hooked(twice, trace_ratio=ratio)) == one


@pytest.mark.parametrize("name", ALL)
def test_exemplars_point_to_spans_where_the_notes_come_first(name: str) -> None:
    arrivals = sorted(recorded_hooked(name), key=lambda a: a[0] - 2 * is_note(a))
    played = play_hooked([(arrivals[0][0], event) for _, event in arrivals])
    made = {(span.trace_id, span.span_id) for span in played.spans}
    told = [step for step in played.told if isinstance(step, TaskTransition) and step.trace]
    assert len(told) >= 4
    for step in told:
        assert step.trace is not None
        assert (step.trace.trace_id, step.trace.span_id) in made


@pytest.mark.parametrize("name", ALL)
def test_spans_tell_their_group(name: str) -> None:
    arrivals = recorded_hooked(name)
    expected: dict[tuple[object, ...], tuple[object, object]] = {}
    for _, event in arrivals:
        note = captured(event) if event.type == "z4j-envelope" else None
        if isinstance(note, Envelope):
            expected[note.uuid, note.retries, note.name] = (note.group_id, note.group_index)
    played = play_hooked(arrivals)
    for span in played.spans:
        known = dict(span.attributes)
        key = tuple(
            known[each]
            for each in ("messaging.message.id", "celery.task.retries", "celery.task.name")
        )
        told = known.get("celery.task.group_id"), known.get("celery.task.group_index")
        assert told == expected[key]
    assert len(groups_of(arrivals)) >= 1


def test_the_body_of_a_chord_is_found_by_its_headers_group() -> None:
    arrivals = recorded_hooked("chord_on_top")
    (group,) = groups_of(arrivals)
    known = [dict(span.attributes) for span in play_hooked(arrivals).spans]
    assert {each["celery.task.group_id"] for each in known} == {group}
    bodies = [each for each in known if each["celery.task.name"] == "total"]
    assert len(bodies) == 2
    assert not any("celery.task.group_index" in each for each in bodies)


@pytest.mark.parametrize("name", sorted(path.stem for path in WITHOUT_THE_HOOK.glob("*.jsonl")))
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_to_read_notes_changes_nothing_where_there_are_none(name: str, ratio: float) -> None:
    one = play_recording(name, after=75, trace_ratio=ratio)
    two = play_hooked(recorded(name), after=75, trace_ratio=ratio)
    assert in_order(one) == in_order(two)
    assert one.told == two.told
    assert one.tracer.dropped == two.tracer.dropped
    # Decided later, none is counted that a failure brings back.
    assert two.tracer.sampled_out <= one.tracer.sampled_out
