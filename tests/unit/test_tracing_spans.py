"""The rules by which attempts become spans, each with the fewest events that need it."""

from typing import Any

import pytest

from tests.support.tracing import Played, play, wrong
from tests.support.tracking import T0, event
from z4j_exporter.events.model import Event
from z4j_exporter.tracing.ids import span_id, trace_id
from z4j_exporter.tracing.model import CLIENT, CONSUMER, INTERNAL, PRODUCER, Link, Span

ROOT = "f415600d-7bb3-4641-9a1b-09c6a763c75e"
CHILD = "0ace4c4e-3ea7-4998-a0a1-d3ca4205d495"
LITERAL = "00000000-0000-0000-b7ad-6b7169203331"


def sent(at: float, uuid: str = ROOT, **fields: Any) -> Event:
    fields.setdefault("queue", "web")
    return event("task-sent", at, uuid, **{"name": "shop.buy", "root_id": ROOT, **fields})


def received(at: float, uuid: str = ROOT, **fields: Any) -> Event:
    return event("task-received", at, uuid, **{"name": "shop.buy", "root_id": ROOT, **fields})


def started(at: float, uuid: str = ROOT, **fields: Any) -> Event:
    return event("task-started", at, uuid, **fields)


def ended(kind: str, at: float, uuid: str = ROOT, **fields: Any) -> Event:
    return event(f"task-{kind}", at, uuid, **fields)


def run(at: float, uuid: str = ROOT, **fields: Any) -> list[Event]:
    """One attempt that takes a second: sent, received, started after 0.1, succeeded."""
    return [
        sent(at, uuid, **fields),
        received(at + 0.05, uuid, **fields),
        started(at + 0.1, uuid),
        ended("succeeded", at + 1.0, uuid, runtime=0.9),
    ]


def told(*events: Event, **settings: Any) -> Played:
    """Play events in this order; each is received a moment after it was stamped."""
    latest = 0.0
    arrivals = []
    for each in events:
        latest = max(latest, each.timestamp)
        arrivals.append((latest, each))
    played = play(arrivals, **settings)
    assert wrong(played.spans) == []
    return played


def spans(*events: Event, **settings: Any) -> dict[str, Span]:
    """Return the spans of events by the first word of their names; of several the last."""
    return {span.name.partition(" ")[0]: span for span in told(*events, **settings).spans}


def process_of(played: Played, uuid: str, retries: int = 0, ordinal: int = 0) -> Span:
    wanted = span_id(uuid, "process", retries, ordinal)
    return next(span for span in played.spans if span.span_id == wanted)


def send_of(played: Played, uuid: str, retries: int = 0, ordinal: int = 0) -> Span:
    wanted = span_id(uuid, "send", retries, ordinal)
    return next(span for span in played.spans if span.span_id == wanted)


def seconds(ns: int) -> float:
    return round(ns / 1e9 - T0, 6)


# -- a plain run -----------------------------------------------------------------------------


def test_a_run_is_a_send_and_a_process_in_one_batch() -> None:
    played = told(*run(0.0))
    (batch,) = played.batches
    send, process = batch
    assert (send.name, send.kind, send.parent_id) == ("send shop.buy", PRODUCER, b"")
    assert (seconds(send.start_ns), seconds(send.end_ns)) == (0.0, 0.0)
    assert (process.name, process.kind, process.parent_id) == (
        "process shop.buy",
        CONSUMER,
        send.span_id,
    )
    assert process.links == (Link(trace_id(ROOT), send.span_id),)
    assert (seconds(process.start_ns), seconds(process.end_ns)) == (0.1, 1.0)
    assert not process.error
    assert send.trace_id == process.trace_id == trace_id(ROOT)
    assert send.trace_state == ""


def test_attributes_are_those_of_the_conventions() -> None:
    made = spans(*run(0.0, eta="2026-01-01T00:00:00+00:00", expires="2026-02-01T00:00:00+00:00"))
    common = {
        "messaging.system": "redis",
        "server.address": "broker.example",
        "server.port": 6379,
        "messaging.destination.name": "web",
        "messaging.message.id": ROOT,
        "messaging.message.conversation_id": ROOT,
        "messaging.message.retry.count": 0,
        "celery.task.name": "shop.buy",
        "celery.task.root_id": ROOT,
        "celery.task.retries": 0,
        "celery.task.eta": "2026-01-01T00:00:00+00:00",
        "celery.task.expires": "2026-02-01T00:00:00+00:00",
    }
    assert dict(made["send"].attributes) == {
        **common,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    assert dict(made["process"].attributes) == {
        **common,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.receive.latency": 100.0,
        "celery.task.queue_wait_seconds": 0.1,
        "celery.task.prefetch_wait_seconds": 0.05,
        "celery.task.state": "SUCCESS",
    }


def test_no_name_is_given_twice() -> None:
    for span in told(*run(0.0, parent_id=CHILD), trace_wait_spans=True).spans:
        names = [name for name, _ in span.attributes]
        assert len(names) == len(set(names))


def test_a_wait_is_counted_from_the_eta() -> None:
    eta = "2026-09-21T14:13:20.500000+00:00"  # T0 + 0.5
    made = spans(sent(0.0, eta=eta), received(0.1), started(0.75), ended("succeeded", 1.0))
    attributes = dict(made["process"].attributes)
    assert attributes["celery.task.queue_wait_seconds"] == 0.25
    assert attributes["celery.task.prefetch_wait_seconds"] == 0.25


def test_processes_are_told_apart_by_source() -> None:
    made = spans(sent(0.0, pid=7), received(0.1, pid=9), started(0.2), ended("succeeded", 1.0))
    send, process = made["send"].source, made["process"].source
    assert (send.service, send.nodename, send.pid) == ("celery-producer", "gen1@client", 7)
    assert (process.service, process.nodename, process.pid) == ("w", "w1@host", 9)


def test_without_a_queue_there_is_no_destination() -> None:
    made = spans(received(0.0), started(0.1), ended("succeeded", 1.0))
    assert "messaging.destination.name" not in dict(made["process"].attributes)


def test_without_a_task_sent_there_is_no_send() -> None:
    parent = run(0.0)
    child = [
        received(0.5, CHILD, parent_id=ROOT),
        started(0.6, CHILD),
        ended("succeeded", 0.7, CHILD),
    ]
    played = told(*parent, *child)
    process = process_of(played, CHILD)
    assert process.parent_id == span_id(ROOT, "process", 0, 0)
    assert process.links == ()


def test_no_span_without_a_root() -> None:
    played = told(started(0.0), ended("succeeded", 1.0, runtime=1.0))
    assert played.spans == []
    assert played.tracer.dropped["unknown_root"] == 1


def test_who_joins_during_a_retry_tells_only_the_attempts_that_are_sure() -> None:
    # The start and the end of the first attempt come without a number: they would be taken for
    # parts of the second, the second for a redelivery.
    child = run(0.2, CHILD, parent_id=ROOT)
    played = told(
        started(0.1),
        *child,
        sent(1.3, retries=1),
        received(1.4, retries=1),
        ended("retried", 1.5, exception="E()"),
        started(2.0),
        ended("retried", 2.1, exception="E()"),
        sent(2.2, retries=2),
        received(2.3, retries=2),
        started(2.4),
        ended("succeeded", 2.5),
    )
    assert played.tracer.dropped["joined_late"] == 1
    process = process_of(played, ROOT, 2)
    assert seconds(process.start_ns) == 2.4
    assert send_of(played, ROOT, 2).parent_id == span_id(ROOT, "process", 1, 0)
    assert seconds(process_of(played, ROOT, 1).start_ns) == 2.0
    assert len(played.spans) == 4 + len(child) // 2
    assert send_of(played, CHILD).parent_id == span_id(ROOT, "process", 0, 0)


# -- time ------------------------------------------------------------------------------------


def test_a_send_is_not_after_the_run_it_caused() -> None:
    played = told(sent(0.3), received(0.05), started(0.1), ended("succeeded", 1.0))
    assert seconds(send_of(played, ROOT).start_ns) == 0.1
    assert played.tracer.clamped == 1


def test_a_run_without_a_start_begins_its_runtime_before_its_end() -> None:
    made = spans(sent(0.0), received(0.1), ended("succeeded", 1.0, runtime=0.75))
    assert seconds(made["process"].start_ns) == 0.25


def test_a_run_without_a_start_or_a_runtime_has_no_length() -> None:
    made = spans(sent(0.0), received(0.1), ended("failed", 1.0, exception="E()"))
    assert seconds(made["process"].start_ns) == seconds(made["process"].end_ns) == 1.0


def test_an_end_before_its_start_has_no_length() -> None:
    made = spans(sent(0.0), received(0.1), started(0.5), ended("succeeded", 0.4))
    assert made["process"].start_ns == made["process"].end_ns


@pytest.mark.parametrize("timestamp", [0.0, 253_402_300_799.0])
def test_any_timestamp_can_be_sent(timestamp: float) -> None:
    kinds = ("sent", "received", "started", "succeeded")
    events = [
        Event(
            type=f"task-{kind}",
            timestamp=timestamp,
            uuid=ROOT,
            hostname="w@h",
            name="n",
            root_id=ROOT,
            runtime=1e9,
        )
        for kind in kinds
    ]
    played = play([(T0, each) for each in events])
    assert wrong(played.spans) == []
    for span in played.spans:
        assert 0 < span.start_ns <= span.end_ns < 2**63


# -- how it ended ----------------------------------------------------------------------------


def _run_that(kind: str, **fields: Any) -> list[Event]:
    return [sent(0.0), received(0.05), started(0.1), ended(kind, 1.0, **fields)]


def test_a_failure_is_an_error_with_its_exception() -> None:
    process = spans(*_run_that("failed", exception="ValueError('no')", traceback="T\nE: no\n"))[
        "process"
    ]
    assert process.error
    assert process.status_message == "ValueError: no"
    attributes = dict(process.attributes)
    assert attributes["error.type"] == "ValueError"
    assert attributes["celery.task.state"] == "FAILURE"
    (told_event,) = process.events
    assert told_event.name == "exception"
    assert told_event.time_ns == process.end_ns
    assert dict(told_event.attributes)["exception.message"] == "no"


def test_a_retry_is_no_error_unless_asked_for() -> None:
    events = _run_that("retried", exception="ValueError('no')")
    process = spans(*events)["process"]
    assert not process.error
    assert process.status_message == ""
    attributes = dict(process.attributes)
    assert attributes["celery.task.state"] == "RETRY"
    assert "error.type" not in attributes
    assert [e.name for e in process.events] == ["exception"]
    process = spans(*events, trace_retry_error=True)["process"]
    assert process.error
    assert dict(process.attributes)["error.type"] == "ValueError"


def test_a_rejection_is_an_error_unless_the_message_goes_back() -> None:
    process = spans(*_run_that("rejected", requeue=False))["process"]
    assert (process.error, dict(process.attributes)["error.type"]) == (True, "rejected")
    process = spans(*_run_that("rejected", requeue=True))["process"]
    assert not process.error
    assert dict(process.attributes)["celery.task.state"] == "REJECTED"


def test_a_termination_ends_the_run_and_is_a_revocation() -> None:
    made = spans(*_run_that("revoked", terminated=True))
    process, revoke = made["process"], made["revoke"]
    assert process.error
    assert dict(process.attributes)["error.type"] == "terminated"
    assert dict(process.attributes)["celery.task.state"] == "REVOKED"
    assert (revoke.kind, revoke.parent_id) == (CLIENT, made["send"].span_id)
    assert seconds(revoke.start_ns) == seconds(revoke.end_ns) == 1.0
    assert dict(revoke.attributes)["celery.task.revoke_reason"] == "terminated"
    assert dict(revoke.attributes)["messaging.operation.type"] == "settle"


@pytest.mark.parametrize(("fields", "reason"), [({}, "revoked"), ({"expired": True}, "expired")])
def test_a_revocation_before_the_start_has_no_run(fields: dict[str, Any], reason: str) -> None:
    made = spans(sent(0.0), received(0.1), ended("revoked", 1.0, **fields))
    assert set(made) == {"send", "revoke"}
    attributes = dict(made["revoke"].attributes)
    assert attributes["celery.task.revoke_reason"] == reason
    assert attributes["celery.task.state"] == "REVOKED"
    assert made["revoke"].parent_id == made["send"].span_id
    assert not made["revoke"].error


def test_a_revocation_without_a_send_hangs_where_that_would() -> None:
    played = told(*run(0.0), received(0.5, CHILD, parent_id=ROOT), ended("revoked", 1.0, CHILD))
    revoke = next(span for span in played.spans if span.kind == CLIENT)
    assert revoke.parent_id == span_id(ROOT, "process", 0, 0)


def test_a_revocation_that_two_workers_tell_is_one_span() -> None:
    for second in (1.1, 4.5):
        played = told(
            sent(0.0),
            received(0.1),
            received(0.2, hostname="w2@host"),
            ended("revoked", 1.0),
            ended("revoked", second, hostname="w2@host"),
        )
        assert [span.kind for span in played.spans] == [PRODUCER, CLIENT]
        assert played.spans[1].source.nodename == "w1@host"


def test_a_cancelled_run_goes_on_as_a_retry() -> None:
    process = spans(*_run_that("cancelled"))["process"]
    assert not process.error
    assert dict(process.attributes)["celery.task.state"] == "RETRY"


def test_a_lost_run_ends_at_the_last_heartbeat() -> None:
    beats = [event("worker-heartbeat", at, freq=2.0, active=1, processed=1) for at in (0.2, 2.2)]
    played = told(*_run_that("x")[:3], *beats, after=80.0, worker_timeout=20.0)
    process = process_of(played, ROOT)
    assert process.error
    assert seconds(process.end_ns) == 2.2
    attributes = dict(process.attributes)
    assert attributes["error.type"] == "worker_lost"
    assert attributes["celery.task.end_seen"] is False
    assert "celery.task.state" not in attributes


def test_an_ignored_run_has_no_state() -> None:
    beats = [
        event("worker-heartbeat", at, freq=2.0, active=0, processed=1) for at in (1.0, 2.0, 13.0)
    ]
    played = told(*_run_that("x")[:3], *beats)
    process = process_of(played, ROOT)
    assert not process.error
    attributes = dict(process.attributes)
    assert attributes["celery.task.end_seen"] is False
    assert "celery.task.state" not in attributes


# -- parents ---------------------------------------------------------------------------------


def test_a_retry_hangs_under_the_run_before_it() -> None:
    played = told(
        *_run_that("retried", exception="E()")[:3],
        sent(0.5, parent_id=ROOT, retries=1),
        received(0.55, parent_id=ROOT, retries=1),
        ended("retried", 0.6, exception="E()"),
        started(0.7),
        ended("succeeded", 0.9),
    )
    assert len(played.spans) == 4
    send = send_of(played, ROOT, 1)
    assert send.parent_id == process_of(played, ROOT, 0).span_id
    assert process_of(played, ROOT, 1).parent_id == send.span_id
    assert send.source.service == "w"  # the worker's own process sent it
    assert dict(send.attributes)["messaging.message.retry.count"] == 1


def test_a_retry_whose_run_before_is_not_known_names_it_all_the_same() -> None:
    played = told(
        sent(0.0, retries=2), received(0.1, retries=2), started(0.2), ended("succeeded", 0.3)
    )
    assert send_of(played, ROOT, 2).parent_id == span_id(ROOT, "process", 1, 0)


def test_a_replacement_hangs_under_what_it_replaced() -> None:
    played = told(
        *_run_that("x")[:3],
        sent(0.5, parent_id=ROOT, name="shop.pay"),
        received(0.6, parent_id=ROOT, name="shop.pay"),
        started(0.7),
        ended("succeeded", 0.9),
    )
    replaced, replacement = process_of(played, ROOT), process_of(played, ROOT, 0, 1)
    assert dict(replaced.attributes)["celery.task.state"] == "REPLACED"
    assert seconds(replaced.end_ns) == 0.5
    assert not replaced.error
    assert replacement.name == "process shop.pay"
    send = send_of(played, ROOT, 0, 1)
    assert send.parent_id == replaced.span_id
    assert replacement.parent_id == send.span_id


def test_a_redelivery_hangs_under_the_first_deliverys_send() -> None:
    played = told(
        *_run_that("rejected", requeue=True),
        received(1.1, hostname="w2@host"),
        started(1.2, hostname="w2@host"),
        ended("succeeded", 1.3, hostname="w2@host"),
    )
    send = send_of(played, ROOT)
    first, second = process_of(played, ROOT), process_of(played, ROOT, 0, 1)
    assert first.parent_id == second.parent_id == send.span_id
    assert second.links == (Link(trace_id(ROOT), send.span_id),)
    assert len(played.spans) == 3


def test_the_send_of_a_delivery_that_never_ran_is_told_by_the_next() -> None:
    played = told(
        sent(0.0),
        received(0.1),
        event("worker-heartbeat", 0.2),
        event("worker-offline", 0.3),
        event("worker-heartbeat", 15.0, hostname="w2@host"),
        received(15.1, hostname="w2@host"),
        started(15.2, hostname="w2@host"),
        ended("succeeded", 15.3, hostname="w2@host"),
    )
    send = send_of(played, ROOT)
    (process,) = (span for span in played.spans if span.kind == CONSUMER)
    assert process.parent_id == send.span_id
    assert seconds(send.start_ns) == 0.0


def test_what_is_sent_again_with_the_same_id_before_it_ran_is_not_its_own_parent() -> None:
    played = told(sent(0.0), sent(0.1), received(0.2), started(0.3), ended("succeeded", 0.4))
    assert process_of(played, ROOT).parent_id == send_of(played, ROOT).span_id
    assert send_of(played, ROOT).parent_id == b""


def test_a_child_hangs_under_the_attempt_that_ran_when_it_was_sent() -> None:
    def parent(retries: int, at: float, end: str) -> list[Event]:
        own = {"retries": retries, "parent_id": ROOT if retries else None}
        return [sent(at, **own), received(at + 0.1, **own), started(at + 0.2), ended(end, at + 0.9)]

    child = [sent(0.5, CHILD, parent_id=ROOT), *run(3.0, CHILD)[1:]]
    later = run(1.5, "late", parent_id=ROOT)
    played = told(*parent(0, 0.0, "retried"), *parent(1, 1.0, "succeeded"), *later, *child)
    assert send_of(played, CHILD).parent_id == process_of(played, ROOT, 0).span_id
    assert send_of(played, "late").parent_id == process_of(played, ROOT, 1).span_id
    assert send_of(played, CHILD).source.service == "w"


def test_the_child_of_an_unknown_task_names_its_first_run() -> None:
    played = told(*run(0.0, CHILD, parent_id=ROOT))
    assert send_of(played, CHILD).parent_id == span_id(ROOT, "process", 0, 0)
    assert send_of(played, CHILD).source.service == "celery-producer"


def test_a_literal_parent_is_a_span_of_the_application() -> None:
    send = spans(*run(0.0, parent_id=LITERAL))["send"]
    assert send.parent_id.hex() == "b7ad6b7169203331"
    assert dict(send.attributes)["celery.task.parent_id"] == LITERAL


def test_a_retry_of_a_task_with_a_literal_parent_hangs_under_the_run_before() -> None:
    played = told(
        *[*_run_that("retried")][1:],
        sent(0.0, parent_id=LITERAL),
        sent(1.0, retries=1, parent_id=ROOT),
        received(1.1, retries=1, parent_id=ROOT),
        started(1.2),
        ended("succeeded", 1.3),
    )
    assert send_of(played, ROOT).parent_id.hex() == "b7ad6b7169203331"
    assert send_of(played, ROOT, 1).parent_id == span_id(ROOT, "process", 0, 0)


def test_a_task_is_not_its_own_parent() -> None:
    assert spans(*run(0.0, parent_id=ROOT))["send"].parent_id == b""


def test_two_tasks_that_name_each_other_are_both_roots() -> None:
    played = told(*run(0.0, "a", parent_id="b"), *run(0.2, "b", parent_id="a"))
    assert send_of(played, "a").parent_id == send_of(played, "b").parent_id == b""


@pytest.mark.parametrize("length", [3, 31, 40])
def test_a_loop_of_any_length_is_cut(length: int) -> None:
    played = told(
        *(
            one
            for index in range(length)
            for one in run(0.001 * index, f"t{index}", parent_id=f"t{(index + 1) % length}")
        )
    )
    assert len(played.spans) == 2 * length  # told() made sure that they form no loop


def test_a_chain_of_any_length_is_not() -> None:
    length = 100
    played = told(
        *(
            one
            for index in range(length)
            for one in run(float(index), f"t{index}", parent_id=f"t{index - 1}" if index else None)
        )
    )
    for index in range(1, length):
        assert send_of(played, f"t{index}").parent_id == span_id(f"t{index - 1}", "process", 0, 0)


# -- waits -----------------------------------------------------------------------------------


def test_a_wait_is_a_span_where_it_is_asked_for() -> None:
    assert "wait" not in spans(*run(0.0))
    made = spans(*run(0.0), trace_wait_spans=True)
    wait = made["wait"]
    assert (wait.name, wait.kind, wait.parent_id) == ("wait web", INTERNAL, made["send"].span_id)
    assert (seconds(wait.start_ns), seconds(wait.end_ns)) == (0.0, 0.1)
    (arrival,) = wait.events
    assert (arrival.name, seconds(arrival.time_ns)) == ("received", 0.05)


def test_a_wait_begins_at_the_eta() -> None:
    eta = "2026-09-21T14:13:20.500000+00:00"  # T0 + 0.5
    events = [sent(0.0, eta=eta), received(0.1), started(0.75), ended("succeeded", 1.0)]
    wait = spans(*events, trace_wait_spans=True)["wait"]
    assert (seconds(wait.start_ns), seconds(wait.end_ns)) == (0.5, 0.75)


# -- text from the wire ----------------------------------------------------------------------


def test_text_from_the_wire_is_made_safe() -> None:
    hostile = {"name": "n\x1b[2J\ud800", "queue": "q\n" * 200, "expires": "x" * 500}
    made = spans(*run(0.0, "id\ud800", root_id="r\x00", parent_id="p\udfff", **hostile))
    for span in made.values():
        for text in (span.name, *(v for _, v in span.attributes if isinstance(v, str))):
            text.encode()
            assert text.isprintable()
            assert len(text) <= 520
