"""What the spans of recorded stories say beside their place: resources, attributes, exceptions."""

from typing import Any

import pytest

from tests.support.tracing import ADDRESS, PORT, SYSTEM, play_recording
from z4j_exporter.tracing.model import CLIENT, CONSUMER, INTERNAL, Link, Source, Span

SERVER = {"messaging.system": SYSTEM, "server.address": ADDRESS, "server.port": PORT}


def spans(name: str, **options: Any) -> list[Span]:
    return play_recording(name, **options).spans


def told(span: Span) -> dict[str, Any]:
    """The attributes; none may be there twice."""
    attributes = dict(span.attributes)
    assert len(attributes) == len(span.attributes)
    return attributes


def runs(found: list[Span]) -> list[Span]:
    return [span for span in found if span.kind == CONSUMER]


def test_a_simple_task_in_full() -> None:
    send, process = spans("simple")
    task = "552c1421-f328-48f7-a191-b37393efd6b7"
    message = {
        **SERVER,
        "messaging.destination.name": "celery",
        "messaging.message.id": task,
        "messaging.message.conversation_id": task,
        "messaging.message.retry.count": 0,
        "celery.task.name": "math.add",
        "celery.task.retries": 0,
        "celery.task.root_id": task,
    }
    assert told(send) == {
        **message,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    assert told(process) == {
        **message,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.receive.latency": 1.822,  # ms; sent 0.029933, started 0.031755
        "celery.task.queue_wait_seconds": 0.001822,
        "celery.task.prefetch_wait_seconds": 0.000954,  # received 0.030801
        "celery.task.state": "SUCCESS",
    }
    assert send.trace_id.hex() == task.replace("-", "")
    assert send.source == Source("celery-producer", "gen18764@host1", 18764)
    assert process.source == Source("w", "w1@host1", 18772)
    assert (process.links, send.links) == ((Link(send.trace_id, send.span_id),), ())
    assert (process.error, process.status_message, process.events) == (False, "", ())
    assert (send.trace_state, process.trace_state) == ("", "")


def test_nothing_of_arguments_and_results_is_told() -> None:
    # The events have them: args "('http://shop/',)", kwargs and results.
    text = repr([spans("visit_nested"), spans("outside_ascii"), spans("retry_and_fail")])
    for payload in ("http://shop", "/missing", "Jürgen", "Привет", "✓"):
        assert payload not in text


def test_a_child_names_its_parent_and_its_root() -> None:
    found = spans("group_inside")
    parent = told(found[1])
    assert parent["celery.task.name"] == "work.fan_out"
    assert "celery.task.parent_id" not in parent
    for span in found[2:]:
        assert told(span)["celery.task.parent_id"] == parent["messaging.message.id"]
        assert told(span)["celery.task.root_id"] == parent["messaging.message.id"]


def test_a_retry_names_no_parent_though_its_events_name_itself() -> None:
    assert not any("celery.task.parent_id" in told(span) for span in spans("retry_and_fail"))


@pytest.mark.parametrize("name", ["retry_and_fail", "retry_and_fail.rabbitmq"])
def test_a_failure_says_what_and_where(name: str) -> None:
    *retried, failed = runs(spans(name))
    assert [told(span)["celery.task.state"] for span in retried] == ["RETRY"] * 3
    assert not any(span.error or "error.type" in told(span) for span in retried)
    assert failed.error
    assert failed.status_message == "HTTPError: 404 Not Found"
    (exception,) = failed.events
    assert (exception.name, exception.time_ns) == ("exception", failed.end_ns)
    attributes = dict(exception.attributes)
    assert attributes["exception.type"] == told(failed)["error.type"] == "HTTPError"
    assert attributes["exception.message"] == "404 Not Found"
    lines = str(attributes["exception.stacktrace"]).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "shop.tasks.HTTPError: 404 Not Found"


def test_a_retried_attempt_is_an_error_on_demand() -> None:
    found = runs(spans("retry_and_succeed", trace_retry_error=True))
    assert [span.error for span in found] == [True, True, True, False]
    assert [told(span).get("error.type") for span in found] == ["Unavailable"] * 3 + [None]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("revoked_before_start", "revoked"),
        ("revoked_by_expiry", "expired"),
        ("revoked_by_two", "revoked"),
        ("terminated", "terminated"),
    ],
)
def test_a_revocation_says_why(name: str, reason: str) -> None:
    (revoke,) = [span for span in spans(name) if span.kind == CLIENT]
    assert told(revoke)["celery.task.revoke_reason"] == reason
    assert told(revoke)["messaging.operation.type"] == "settle"
    assert revoke.start_ns == revoke.end_ns
    assert not revoke.error


def test_an_end_that_nobody_saw_is_told_so() -> None:
    killed = runs(spans("worker_killed", after=70))[0]
    assert killed.error
    assert told(killed)["error.type"] == "worker_lost"
    assert told(killed)["celery.task.end_seen"] is False
    ignored = runs(spans("ignored_and_idle"))[0]
    assert not ignored.error
    assert told(ignored)["celery.task.end_seen"] is False
    for span in (killed, ignored):
        assert "celery.task.state" not in told(span)


def test_a_run_that_was_delivered_again_ends_there_unseen() -> None:
    for name in ("worker_killed_redelivered", "connection_lost"):
        first, second = sorted(runs(spans(name)), key=lambda span: span.start_ns)
        assert first.parent_id == second.parent_id
        assert told(first)["celery.task.end_seen"] is False
        assert not first.error
        assert first.end_ns <= second.start_ns
        assert told(second)["celery.task.state"] == "SUCCESS"


def test_texts_of_failures_are_not_kept_with_their_tasks() -> None:
    # The tracker remembers a hundred thousand tasks, and a traceback may have 16 000 characters.
    played = play_recording("retry_and_fail")
    (task,) = played.cluster.tasks.table
    assert len(task.attempts) == 4
    for attempt in task.attempts:
        assert attempt.notes is not None
        assert (attempt.notes.exception, attempt.notes.traceback) == (None, None)


def test_the_wait_is_a_span_on_demand() -> None:
    send, wait, process, *_ = spans("simple", trace_wait_spans=True)
    assert (wait.name, wait.kind, wait.parent_id) == ("wait celery", INTERNAL, send.span_id)
    assert (wait.start_ns, wait.end_ns) == (send.start_ns, process.start_ns)
    (received,) = wait.events
    assert received.name == "received"
    assert received.time_ns - send.start_ns == 868_000  # 0.030801 after 0.029933
    assert process.parent_id == send.span_id


def test_an_eta_is_no_part_of_the_wait() -> None:
    for span in spans("eta", trace_wait_spans=True):
        if span.kind == INTERNAL:
            assert 0 < span.end_ns - span.start_ns < 20_000_000
        if span.kind == CONSUMER:
            assert told(span)["messaging.message.receive.latency"] < 20
        assert told(span)["celery.task.eta"].startswith("2026-11-20T09:59:2")
    sent = spans("eta")[0]
    assert told(sent)["celery.task.expires"] == "2026-11-20T10:00:25.562386+00:00"


def test_services_are_named_by_patterns() -> None:
    names = [r"w\d+@.*=shop-worker", r"gen\d+@host1=shop-web"]
    found = sorted(spans("visit_nested", trace_service=names), key=lambda span: span.start_ns)
    assert [span.source.service for span in found if span.kind != CONSUMER] == [
        "shop-web",  # the application
        "shop-worker",  # a task's process: it is what its worker is
        "shop-worker",
    ]
    assert {span.source.service for span in runs(found)} == {"shop-worker"}


def test_a_kept_failure_stands_alone_where_its_trace_is_not_kept() -> None:
    kept = spans("chord_failed", trace_ratio=0.0, trace_keep=["failed"])
    assert [span.name for span in kept] == ["send errors.raise", "process errors.raise"]
    assert {span.trace_state for span in kept} == {""}, "no sample: it counts as one"
    assert spans("chord_failed", trace_ratio=0.0, trace_keep=["none"]) == []
    slow = spans("visit_nested", trace_ratio=0.0, trace_keep=["slow:400ms"])
    assert [span.name for span in slow] == ["send web.visit", "process web.visit"]
