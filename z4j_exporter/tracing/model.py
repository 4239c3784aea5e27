"""The finished span, as data: the builder makes it; encoder, memory and tree view read it."""

from msgspec import Struct

Value = str | int | float | bool
Attributes = tuple[tuple[str, Value], ...]

#: OTLP's numbers of span kinds (opentelemetry/proto/trace/v1/trace.proto).
INTERNAL, CLIENT, PRODUCER, CONSUMER = 1, 3, 4, 5


class Source(Struct, frozen=True, gc=False):
    """The process that a span speaks of: its OTLP resource."""

    service: str
    #: Full nodename: ``celery@host``, ``gen123@host``.
    nodename: str
    pid: int | None = None


class Link(Struct, frozen=True, gc=False):
    """A link to another span; ids are 16 and 8 bytes."""

    trace_id: bytes
    span_id: bytes
    attributes: Attributes = ()


class SpanEvent(Struct, frozen=True, gc=False):
    """Something that happened within a span."""

    name: str
    time_ns: int
    attributes: Attributes = ()


class Span(Struct, frozen=True, gc=False, kw_only=True):
    """One span. Times are nanoseconds since the epoch, the sender's clock; never end < start."""

    trace_id: bytes
    span_id: bytes
    #: b"" for a root.
    parent_id: bytes = b""
    kind: int
    name: str
    start_ns: int
    end_ns: int
    source: Source
    attributes: Attributes
    links: tuple[Link, ...] = ()
    events: tuple[SpanEvent, ...] = ()
    #: Status ERROR, with its description; else UNSET.
    error: bool = False
    status_message: str = ""
    #: W3C tracestate.
    trace_state: str = ""
