"""What the hook's notes change in spans: their trace, whether they are kept, what they tell."""

from typing import Any

import pytest

from tests.support.grouping import envelope, run
from tests.support.hooked import play_hooked
from tests.support.tracing import Played, wrong
from tests.support.tracking import T0, event
from z4j_exporter.events.captured import captured
from z4j_exporter.events.model import Event
from z4j_exporter.tracing.hooked import CapturedFacts, HookFacts
from z4j_exporter.tracing.ids import span_id, trace_id
from z4j_exporter.tracing.model import CONSUMER, PRODUCER, Span
from z4j_exporter.tracing.sampling import Ratio
from z4j_exporter.track.transitions import TaskTransition

#: Uuid4s whose low 56 bits are small (left out by any ratio but 1), and large.
LOW = "f415600d-7bb3-4641-9a00-000000000001"
HIGH = "f415600d-7bb3-4641-9aff-ffffffffffff"
LOW_GROUP = "1415600d-7bb3-4641-9a00-000000000002"
HIGH_GROUP = "1415600d-7bb3-4641-9aff-fffffffffffe"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"


def life(
    uuid: str = HIGH, at: float = 0.0, end: str = "succeeded", retries: int = 0, **fields: Any
) -> list[Event]:
    """One attempt: sent, received 0.1 s later, started 0.2, ended 0.5."""
    own = {"name": "add", "root_id": uuid, "retries": retries, **fields}
    return [
        event("task-sent", at, uuid, queue="web", **own),
        event("task-received", at + 0.1, uuid, **own),
        event("task-started", at + 0.2, uuid),
        event(f"task-{end}", at + 0.5, uuid),
    ]


def arriving(*arrivals: tuple[float, Event], **options: Any) -> Played:
    """Play events that arrive at these times, seconds since T0."""
    ordered = sorted(((T0 + at, each) for at, each in arrivals), key=lambda a: a[0])
    played = play_hooked(ordered, **options)
    assert wrong(played.spans) == []
    assert played.tracer.dropped["error"] == 0
    return played


def told(*events: Event, **options: Any) -> Played:
    """Play events that arrive when they happen."""
    return arriving(*((each.timestamp - T0, each) for each in events), **options)


def traces(played: Played) -> set[bytes]:
    return {span.trace_id for span in played.spans}


def exemplars(played: Played) -> list[bytes]:
    return [
        step.trace.trace_id
        for step in played.told
        if isinstance(step, TaskTransition) and step.trace
    ]


def sends(played: Played) -> list[Span]:
    return [span for span in played.spans if span.kind == PRODUCER]


def about(span: Span) -> dict[str, Any]:
    return dict(span.attributes)


def member(uuid: str = HIGH, at: float = 0.0, group: str = HIGH_GROUP, **fields: Any) -> Event:
    return envelope(uuid, at, group_id=group, group_index=0, **fields)


# -- when the note comes -----------------------------------------------------------------------


@pytest.mark.parametrize("at", [-1.0, 0.05, 0.3, 0.6, 1.9])
def test_the_note_counts_until_the_spans_are_made(at: float) -> None:
    note = member()
    played = arriving(*((e.timestamp - T0, e) for e in life()), (at, note))
    assert traces(played) == {trace_id(HIGH_GROUP)}
    assert len(played.spans) == 2


def test_exemplars_are_told_as_far_as_is_known_then() -> None:
    early = arriving(*((e.timestamp - T0, e) for e in life()), (0.0, member()))
    assert exemplars(early) == [trace_id(HIGH_GROUP)] * 2
    between = arriving(*((e.timestamp - T0, e) for e in life()), (0.3, member()))
    assert exemplars(between) == [trace_id(HIGH), trace_id(HIGH_GROUP)]
    late = arriving(*((e.timestamp - T0, e) for e in life()), (1.0, member()))
    assert exemplars(late) == [trace_id(HIGH)] * 2


def test_a_note_that_comes_after_the_first_spans_parts_no_task() -> None:
    first, second = life(end="retried"), life(at=6.0, retries=1)
    arrivals = [(e.timestamp - T0, e) for e in [*first, *second]]
    for note in (member(), envelope(HIGH, traceparent=SAMPLED)):
        played = arriving(*arrivals, (5.0, note), after=6)
        assert len(played.spans) == 4
        assert traces(played) == {trace_id(HIGH)}
        assert set(exemplars(played)) == {trace_id(HIGH)}
        assert [span.parent_id for span in sends(played)] == [b"", span_id(HIGH, "process", 0, 0)]


def test_a_redelivery_hangs_under_no_span_of_another_trace() -> None:
    again = [e for e in life(at=6.0) if e.type != "task-sent"]
    rejected = life(end="rejected", requeue=True)[:3]
    rejected.append(event("task-rejected", 0.5, HIGH, requeue=True))
    arrivals = [(e.timestamp - T0, e) for e in [*rejected[1:], *again]]
    played = arriving(*arrivals, (5.0, envelope(HIGH, traceparent=SAMPLED)), after=6)
    assert len(played.spans) == 2
    assert traces(played) == {trace_id(HIGH)}
    assert {span.parent_id for span in played.spans} == {b""}


def test_a_late_end_says_nothing_of_another_trace() -> None:
    # A hard time limit is told twice: the second time after the spans were made, and the note.
    second = event("task-failed", 6.0, HIGH)
    arrivals = [(e.timestamp - T0, e) for e in [*life(end="failed"), second]]
    played = arriving(*arrivals, (5.0, member()))
    assert len(played.spans) == 2
    assert set(exemplars(played)) == traces(played) == {trace_id(HIGH)}


def test_a_revoked_member_is_in_its_groups_trace() -> None:
    events = [*life()[:2], event("task-revoked", 0.4, HIGH)]
    played = told(member(), *events)
    assert [span.name.split()[0] for span in played.spans] == ["send", "revoke"]
    assert traces(played) == set(exemplars(played)) == {trace_id(HIGH_GROUP)}


def test_a_revocation_that_is_told_again_points_to_the_span_that_was_made() -> None:
    again = event("task-revoked", 6.0, HIGH)
    played = told(member(), *life()[:2], event("task-revoked", 0.4, HIGH), again)
    refs = [s.trace for s in played.told if isinstance(s, TaskTransition) and s.trace]
    assert [ref.span_id for ref in refs] == [span_id(HIGH, "revoke", 0, 0)] * 2


# -- an application's trace --------------------------------------------------------------------


def test_tasks_hang_under_the_applications_span() -> None:
    child = "0ace4c4e-3ea7-4998-a0a1-d3ca4205d495"
    of_child = life(child, at=0.3, root_id=HIGH, parent_id=HIGH)
    played = told(envelope(HIGH, traceparent=SAMPLED), *life(), *of_child)
    assert traces(played) == {bytes.fromhex(TRACE)}
    assert [span.parent_id for span in sends(played)] == [
        bytes.fromhex(SPAN),
        span_id(HIGH, "process", 0, 0),
    ]
    assert set(exemplars(played)) == {bytes.fromhex(TRACE)}


def test_only_the_root_hangs_under_the_applications_span() -> None:
    other = "0ace4c4e-3ea7-4998-a0a1-d3ca4205d495"
    played = told(envelope(HIGH, traceparent=SAMPLED), *life(other, root_id=HIGH))
    assert traces(played) == {bytes.fromhex(TRACE)}
    assert [span.parent_id for span in sends(played)] == [b""]


def test_a_group_that_a_traced_application_sends_is_in_its_trace() -> None:
    notes = [member(u, traceparent=SAMPLED) for u in (LOW, HIGH)]
    played = told(*notes, *life(LOW), *life(HIGH))
    assert traces(played) == {bytes.fromhex(TRACE)}
    assert [span.parent_id for span in sends(played)] == [bytes.fromhex(SPAN)] * 2


def test_a_retry_stays_in_the_applications_trace() -> None:
    second = life(at=1.0, retries=1, parent_id=HIGH)
    played = told(envelope(HIGH, traceparent=SAMPLED), *life(end="retried"), *second)
    assert traces(played) == {bytes.fromhex(TRACE)}
    assert [span.parent_id for span in sends(played)] == [
        bytes.fromhex(SPAN),
        span_id(HIGH, "process", 0, 0),
    ]


def test_a_run_whose_sending_nobody_saw_hangs_there_itself() -> None:
    (process,) = told(run(HIGH, traceparent=SAMPLED), *life()[1:]).spans
    assert (process.kind, process.parent_id) == (CONSUMER, bytes.fromhex(SPAN))


def test_the_recipe_of_the_docs_goes_before_the_hook() -> None:
    root, parent = f"{TRACE[:8]}-{TRACE[8:12]}-{TRACE[12:16]}-{TRACE[16:20]}-{TRACE[20:]}", SPAN
    ids: dict[str, Any] = {
        "root_id": root,
        "parent_id": f"00000000-0000-0000-{parent[:4]}-{parent[4:]}",
    }
    other = SAMPLED.replace(SPAN, "1111111111111111")
    played = told(envelope(HIGH, traceparent=other, **ids), *life(**ids))
    assert traces(played) == {bytes.fromhex(TRACE)}
    assert [span.parent_id for span in sends(played)] == [bytes.fromhex(SPAN)]


def test_a_trace_that_the_application_does_not_keep_is_not_joined() -> None:
    played = told(envelope(HIGH, traceparent=UNSAMPLED), *life())
    assert traces(played) == {trace_id(HIGH)}
    assert [span.parent_id for span in sends(played)] == [b""]
    in_a_group = told(member(traceparent=UNSAMPLED), *life())
    assert traces(in_a_group) == {trace_id(HIGH_GROUP)}


# -- sampling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_what_the_application_keeps_is_kept(ratio: float) -> None:
    played = told(envelope(LOW, traceparent=SAMPLED), *life(LOW), trace_ratio=ratio)
    assert len(played.spans) == 2
    # It is no sample of ours: nothing downstream may count it as 1/ratio.
    assert {span.trace_state for span in played.spans} == {""}
    assert played.tracer.sampled_out == 0


@pytest.mark.parametrize(("uuid", "kept"), [(LOW, 0), (HIGH, 2)])
def test_what_the_application_does_not_keep_is_left_to_the_ratio(uuid: str, kept: int) -> None:
    note = envelope(uuid, traceparent=UNSAMPLED)
    assert len(told(note, *life(uuid), trace_ratio=0.5).spans) == kept


def test_what_the_application_does_not_keep_is_kept_when_it_fails() -> None:
    note = envelope(LOW, traceparent=UNSAMPLED)
    assert len(told(note, *life(LOW, end="failed"), trace_ratio=0.5).spans) == 2


@pytest.mark.parametrize(("group", "kept"), [(LOW_GROUP, 0), (HIGH_GROUP, 4)])
@pytest.mark.parametrize("late", [0.0, 1.0])
def test_a_group_is_kept_or_left_out_as_a_whole(group: str, kept: int, late: float) -> None:
    events = [*life(LOW), *life(HIGH)]
    notes = [(late, member(u, group=group)) for u in (LOW, HIGH)]
    played = arriving(*((e.timestamp - T0, e) for e in events), *notes, trace_ratio=0.5)
    assert len(played.spans) == kept
    assert played.tracer.sampled_out == (0 if kept else 2)
    expected = Ratio(0.5).trace_state(trace_id(group))
    assert {span.trace_state for span in played.spans} <= {expected}
    if not late:
        assert len(exemplars(played)) == kept


def test_attempts_that_were_left_out_come_back_into_a_trace_that_is_kept() -> None:
    first, second = life(LOW, end="retried"), life(LOW, at=6.0, retries=1)
    arrivals = [(e.timestamp - T0, e) for e in [*first, *second]]
    note = envelope(LOW, traceparent=SAMPLED)
    played = arriving(*arrivals, (5.0, note), trace_ratio=0.5, after=6)
    assert len(played.spans) == 4
    assert traces(played) == {bytes.fromhex(TRACE)}


def test_what_stays_in_its_own_trace_stays_a_sample_of_it() -> None:
    first, second = life(end="retried"), life(at=6.0, retries=1)
    arrivals = [(e.timestamp - T0, e) for e in [*first, *second]]
    note = envelope(HIGH, traceparent=SAMPLED)
    played = arriving(*arrivals, (5.0, note), trace_ratio=0.5, after=6)
    assert len(played.spans) == 4
    assert {span.trace_state for span in played.spans} == {Ratio(0.5).trace_state(trace_id(HIGH))}


# -- what spans tell ---------------------------------------------------------------------------


def test_spans_tell_group_and_priority() -> None:
    note = envelope(HIGH, group_id="G", group_index=3, priority=7, routing_key="web")
    for span in told(note, *life(), trace_wait_spans=True).spans:
        known = about(span)
        assert known["celery.task.group_id"] == "G"
        assert known["celery.task.group_index"] == 3
        assert known["celery.task.priority"] == 7
        assert "messaging.rabbitmq.destination.routing_key" not in known


def test_spans_on_rabbitmq_tell_the_routing_key() -> None:
    note = envelope(HIGH, routing_key="web.eu")
    played = told(note, *life(), system="rabbitmq")
    key = "messaging.rabbitmq.destination.routing_key"
    assert [about(span)[key] for span in played.spans] == ["web.eu"] * 2


def test_nothing_is_told_of_what_is_not_known() -> None:
    for span in told(envelope(HIGH), *life()).spans:
        assert not [key for key in about(span) if "group" in key or "priority" in key]


def test_each_attempt_tells_how_its_own_message_went() -> None:
    notes = [
        envelope(HIGH, priority=1, retries=0),
        envelope(HIGH, priority=9, retries=1, parent_id=HIGH),
    ]
    played = told(*notes, *life(end="retried"), *life(at=1.0, retries=1, parent_id=HIGH))
    assert [about(span)["celery.task.priority"] for span in played.spans] == [1, 1, 9, 9]


def test_a_replacement_tells_of_its_own_message() -> None:
    notes = [envelope(HIGH, priority=1), envelope(HIGH, priority=2, name="other")]
    first = life()[:3]
    second = life(at=0.4, name="other", parent_id=HIGH)
    played = told(*notes, *first, *second)
    by_name = {about(s)["celery.task.name"]: about(s) for s in played.spans}
    assert by_name["add"]["celery.task.priority"] == 1
    assert by_name["other"]["celery.task.priority"] == 2


def test_what_a_note_says_is_made_fit_for_a_span() -> None:
    evil = "\x1b[31m" + "g" * 400
    note = envelope(HIGH, group_id=evil, group_index=0)
    (send, _) = told(note, *life()).spans
    text = about(send)["celery.task.group_id"]
    assert text.isprintable()
    assert len(text) <= 512


def facts(*events: Event, **options: Any) -> HookFacts:
    known = HookFacts(**options)
    for each in events:
        known.learn(captured(each))
    return known


def test_the_publisher_goes_before_the_worker_whoever_comes_first() -> None:
    sent = envelope("a", routing_key="x.y", group_id="G", group_index=1)
    began = run("a", routing_key="x", group_id="G", group_index=1, priority=0)
    expected = CapturedFacts("G", 1, "x.y", 0)
    for events in ([sent, began], [began, sent], [began, sent, began, sent]):
        assert facts(*events).of("a", 0, "add") == expected
    assert facts(began).of("a", 0, "add") == CapturedFacts("G", 1, "x", 0)
    assert facts(sent).of("a", 0, "add") == CapturedFacts("G", 1, "x.y", None)


def test_messages_are_bounded_and_the_newest_stay() -> None:
    events = [envelope(f"u{n}", group_id=f"G{n}", priority=1) for n in range(3_000)]
    known = facts(*events, max_messages=200)
    assert len(known) <= 100
    assert known.of("u2999", 0, "add") == CapturedFacts(group_id="G2999", priority=1)
    assert known.of("u0", 0, "add") is None


def test_a_note_that_tells_nothing_takes_no_room() -> None:
    assert len(facts(envelope("a"), run("b"), envelope("c", routing_key=""))) == 0


def test_the_result_backend_tells_the_group_where_there_is_no_hook() -> None:
    known = facts(run("a", priority=4))
    for uuid in "ab":
        known.learn_group(uuid, "G")
    assert known.of("b", 2, "add") == CapturedFacts(group_id="G")
    # The hook knows better: this message was in none.
    assert known.of("a", 0, "add") == CapturedFacts(priority=4)
    for number in range(60_000):
        known.learn_group(f"u{number}", "G")
    assert len(known) <= 50_000
