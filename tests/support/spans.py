"""Spans made by hand, for tests of what reads them."""

from typing import Any

from z4j_exporter.tracing.model import CONSUMER, INTERNAL, PRODUCER, Source, Span, SpanEvent

TRACE = bytes(15) + b"\x01"
_MS = 1_000_000


def span(
    number: int,
    parent: int = 0,
    *,
    name: str = "",
    at: int = 0,
    took: int = 1,
    **more: Any,
) -> Span:
    """Return span ``number`` below span ``parent``; ``at`` and ``took`` are milliseconds."""
    given = {
        "trace_id": TRACE,
        "kind": INTERNAL,
        "source": Source("shop", "celery@a"),
        "attributes": (),
        **more,
    }
    return Span(
        span_id=number.to_bytes(8, "big"),
        parent_id=parent.to_bytes(8, "big") if parent else b"",
        name=name or str(number),
        start_ns=(1_000 + at) * _MS,
        end_ns=(1_000 + at + took) * _MS,
        **given,
    )


def sent(number: int, parent: int, task: str, at: int, **more: Any) -> Span:
    """Return the send of a task."""
    given = {
        "source": Source("web", "gen7@box"),
        "attributes": (("messaging.destination.name", "crawl"), ("celery.task.retries", 0)),
        **more,
    }
    return span(number, parent, name=f"send {task}", kind=PRODUCER, at=at, took=0, **given)


def ran(
    number: int,
    parent: int,
    task: str,
    at: int,
    took: int,
    state: str,
    *,
    retries: int = 0,
    **more: Any,
) -> Span:
    """Return the run of a task."""
    given = {
        "source": Source("crawler", "crawler1@box", 99),
        "attributes": (
            ("celery.task.state", state),
            ("celery.task.retries", retries),
            ("celery.task.queue_wait_seconds", 0.0115),
        ),
        **more,
    }
    return span(number, parent, name=f"process {task}", kind=CONSUMER, at=at, took=took, **given)


def failed(kind: str, message: str) -> dict[str, Any]:
    """Return what makes a span one that failed."""
    said = (("exception.type", kind), ("exception.message", message))
    return {"error": True, "events": (SpanEvent("exception", 0, said),)}
