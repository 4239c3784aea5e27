"""A task that an action sent again links to the run of the task that it repeats."""

from typing import Any

import pytest

from tests.support.grouping import envelope
from tests.support.hooked import play_hooked
from tests.support.tracing import Played, wrong
from tests.support.tracking import event
from z4j_exporter.events.captured import captured
from z4j_exporter.events.model import Event
from z4j_exporter.tracing.ids import span_id, trace_id
from z4j_exporter.tracing.model import CONSUMER, PRODUCER, Link, Span
from z4j_exporter.tracing.retried import Retried

OLD = "0415600d-7bb3-4641-9a00-000000000001"
NEW = "1415600d-7bb3-4641-9a00-000000000002"
ROOT = "2415600d-7bb3-4641-9a00-000000000003"


def life(
    uuid: str, at: float, end: str = "failed", *, sent: bool = True, retries: int = 0, **own: Any
) -> list[Event]:
    """One attempt of 0.5 s; ``sent``: with its task-sent."""
    fields = {"name": "pay", "root_id": uuid, "retries": retries, **own}
    events = [
        event("task-sent", at, uuid, queue="web", **fields),
        event("task-received", at + 0.1, uuid, **fields),
        event("task-started", at + 0.2, uuid),
        event(f"task-{end}", at + 0.5, uuid),
    ]
    return events if sent else events[1:]


def played(*events: Event, **options: Any) -> Played:
    ordered = sorted(events, key=lambda each: each.timestamp)
    made = play_hooked([(each.timestamp, each) for each in ordered], **options)
    assert wrong(made.spans) == []
    assert made.tracer.dropped["error"] == 0
    return made


def of_task(made: Played, uuid: str, kind: int) -> list[Span]:
    return [
        span
        for span in made.spans
        if span.kind == kind and ("messaging.message.id", uuid) in span.attributes
    ]


def to_run(trace: bytes, number: int = 0, operation: Any = "process") -> Link:
    return Link(trace, span_id(OLD, operation, number, 0), (("celery.retry.of", OLD),))


def test_the_run_links_to_the_run_that_it_repeats() -> None:
    # The exporter's own send is no task-sent of Celery's.
    retry = life(NEW, 10, "succeeded", sent=False, root_id=ROOT)
    made = played(*life(OLD, 0, root_id=ROOT), *retry, retried={NEW: OLD})
    (run,) = of_task(made, NEW, CONSUMER)
    (old,) = of_task(made, OLD, CONSUMER)
    assert run.links == (to_run(trace_id(ROOT)),)
    assert (old.trace_id, old.span_id) == (run.links[0].trace_id, run.links[0].span_id)
    assert ("celery.task.retry_of", OLD) in run.attributes
    assert "celery.task.retry_of" not in dict(old.attributes)


def test_where_it_was_sent_in_sight_the_send_has_the_link() -> None:
    made = played(*life(OLD, 0), *life(NEW, 10, "succeeded"), retried={NEW: OLD})
    (send,), (run,) = of_task(made, NEW, PRODUCER), of_task(made, NEW, CONSUMER)
    assert send.links == (to_run(trace_id(OLD)),)
    assert run.links == (Link(send.trace_id, send.span_id),)
    assert all(("celery.task.retry_of", OLD) in span.attributes for span in (send, run))


def test_the_last_attempt_is_the_one_that_failed() -> None:
    attempts = [*life(OLD, 0, "retried"), *life(OLD, 3, retries=1)]
    made = played(*attempts, *life(NEW, 10, sent=False), retried={NEW: OLD})
    assert of_task(made, NEW, CONSUMER)[0].links == (to_run(trace_id(OLD), 1),)


def test_a_task_that_was_revoked_before_it_ran_is_linked_there() -> None:
    revoked = [*life(OLD, 0)[:2], event("task-revoked", 1, OLD, terminated=False)]
    made = played(*revoked, *life(NEW, 10, sent=False), retried={NEW: OLD})
    (run,) = of_task(made, NEW, CONSUMER)
    assert run.links == (to_run(trace_id(OLD), operation="revoke"),)
    assert run.links[0].span_id in {span.span_id for span in made.spans}


@pytest.mark.parametrize(("root", "trace"), [(NEW, OLD), (ROOT, ROOT), (OLD, OLD)])
def test_a_task_that_is_forgotten_has_the_ids_of_most(root: str, trace: str) -> None:
    made = played(*life(NEW, 10, sent=False, root_id=root), retried={NEW: OLD})
    assert of_task(made, NEW, CONSUMER)[0].links == (to_run(trace_id(trace)),)


def test_the_link_is_there_once_though_the_task_is_retried_by_itself() -> None:
    attempts = [*life(NEW, 10, "retried", sent=False), *life(NEW, 12, "succeeded", retries=1)]
    made = played(*life(OLD, 0), *attempts, retried={NEW: OLD})
    named = [link for span in made.spans for link in span.links if link.attributes]
    assert named == [to_run(trace_id(OLD))]
    told = [span for span in made.spans if ("celery.task.retry_of", OLD) in span.attributes]
    assert len(told) == 3


def test_the_hooks_note_tells_it_where_the_exporter_forgot() -> None:
    note = envelope(NEW, 11.0, retries=1, headers={"z4j-retry-of": OLD, "z4j-retry-count": 1})
    made = played(*life(OLD, 0), note, *life(NEW, 10, "succeeded", sent=False))
    assert of_task(made, NEW, CONSUMER)[0].links == (to_run(trace_id(OLD)),)


def test_nothing_changes_for_all_others() -> None:
    events = [*life(OLD, 0), *life(NEW, 10, "succeeded")]
    assert played(*events, retried={"another": OLD}).spans == played(*events).spans


# -- what is remembered ------------------------------------------------------------------------


def test_memory_is_bounded_and_what_came_first_holds() -> None:
    known = Retried(100)
    for number in range(1000):
        known.learn(f"n{number}", f"o{number}")
    assert len(known) <= 100
    assert known.of("n999") == "o999"
    assert known.of("n0") is None
    known.learn("n999", "another")
    known.learn("itself", "itself")
    assert known.of("n999") == "o999"
    assert known.of("itself") is None


@pytest.mark.parametrize("value", ["", "x" * 513, None, 7, ["x"], {"a": 1}, True])
def test_a_header_that_is_no_id_tells_nothing(value: object) -> None:
    known = Retried()
    known.learn_note(captured(envelope(NEW, 0.0, headers={"z4j-retry-of": value})))
    assert len(known) == 0


@pytest.mark.parametrize("headers", [{}, None, ["z4j-retry-of"], "z4j-retry-of", {"a": 1}])
def test_headers_of_any_form_are_survived(headers: object) -> None:
    known = Retried()
    known.learn_note(captured(envelope(NEW, 0.0, headers=headers)))
    assert len(known) == 0


def test_an_id_with_odd_characters_is_cleaned_in_spans() -> None:
    odd = "a\x00\ud800b"
    made = played(*life(NEW, 10, sent=False), retried={NEW: odd})
    (run,) = of_task(made, NEW, CONSUMER)
    assert dict(run.links[0].attributes) == {"celery.retry.of": "a\ufffd\ufffdb"}
    assert dict(run.attributes)["celery.task.retry_of"] == "a\ufffd\ufffdb"
    assert run.links[0].span_id == span_id(odd, "process", 0, 0)
