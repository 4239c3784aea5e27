"""Tells a trace span by span, as facts for a page: the same that the tree in a terminal tells."""

from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct

from z4j_exporter.tracing.memory import attribute, task_id
from z4j_exporter.tracing.model import CLIENT, CONSUMER, INTERNAL, PRODUCER, Span
from z4j_exporter.tracing.text import clean
from z4j_exporter.tracing.tree import Node, forest, state, walk

_SECOND = 1_000_000_000
#: What a kind of span is of a task.
_KINDS = {PRODUCER: "send", CONSUMER: "process", INTERNAL: "wait", CLIENT: "revoke"}
#: Links of one span that are told.
_LINKS_TOLD = 5


class ToldSpan(Struct, frozen=True, kw_only=True):
    """A span in its place in the tree; times are seconds. See web/trace_model.py."""

    depth: int
    span_id: str
    name: str
    kind: str
    state: str
    error: bool
    service: str
    worker: str
    queue: str
    task_id: str
    offset_seconds: float
    duration_seconds: float
    waited_seconds: float | None
    attempt: int | None
    failure: str
    retry_of: str
    linked: Sequence[str]
    oddity: str


def told(spans: Sequence[Span], most: int) -> list[ToldSpan]:
    """Return so many spans of one trace, from the top of the tree down."""
    return [_told(node, depth) for node, depth, _ in islice(walk(forest(spans)), most)]


def failure(span: Span) -> tuple[str, str]:
    """Return the exception's class and what is said of it, "" each where there is none."""
    for event in span.events:
        if event.name == "exception":
            found = {key: str(value) for key, value in event.attributes}
            return found.get("exception.type", ""), found.get("exception.message", "")
    return (attribute(span, "error.type"), span.status_message) if span.error else ("", "")


def _told(node: Node, depth: int) -> ToldSpan:
    span = node.span
    return ToldSpan(
        depth=depth,
        span_id=span.span_id.hex(),
        name=clean(span.name),
        kind=_KINDS.get(span.kind, "other"),
        state=clean(state(span)),
        error=span.error,
        service=clean(span.source.service),
        worker=clean(span.source.nodename),
        queue=clean(attribute(span, "messaging.destination.name")),
        task_id=clean(task_id(span)),
        offset_seconds=node.offset_ns / _SECOND,
        duration_seconds=(span.end_ns - span.start_ns) / _SECOND,
        waited_seconds=_number(attribute(span, "celery.task.queue_wait_seconds")),
        attempt=_attempt(span),
        failure=_failure(span),
        retry_of=clean(attribute(span, "celery.task.retry_of")),
        linked=list(islice(_linked(span), _LINKS_TOLD)),
        oddity=_oddity(node),
    )


def _attempt(span: Span) -> int | None:
    """Return the attempt's number, from 1."""
    retries = _number(attribute(span, "celery.task.retries"))
    return int(retries) + 1 if retries is not None else None


def _failure(span: Span) -> str:
    kind, message = failure(span)
    first = message.strip().partition("\n")[0]
    if kind and kind in first:
        return clean(first)
    return clean(": ".join(part for part in (kind, first) if part))


def _linked(span: Span) -> Iterator[str]:
    """Yield the other traces that a span is linked to, once each."""
    others = dict.fromkeys(each.trace_id for each in span.links if each.trace_id != span.trace_id)
    yield from (each.hex() for each in others)


def _oddity(node: Node) -> str:
    if node.loop:
        return "its parents form a loop, opened here"
    if node.missing_parent:
        return f"its parent, span {node.missing_parent.hex()}, is not among them"
    return ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None  # neither infinite nor no number
