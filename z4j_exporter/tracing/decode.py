"""Reads spans back from OTLP/JSON: what the page of a running exporter serves.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hexadecimal, 64-bit numbers
as strings, enums as numbers, unknown fields ignored.
"""

import math
import re
from typing import Any

import msgspec
from msgspec import Struct

from z4j_exporter.tracing.model import Attributes, Link, Source, Span, SpanEvent, Value

_TRACE_BYTES, _SPAN_BYTES = 16, 8
_MAX_TIME = (1 << 64) - 1
_KINDS = range(6)
#: As many digits as 64 bits can need.
_DIGITS = re.compile(r"-?[0-9]{1,20}")
#: Where a resource tells its nodename; the latter without what stands before the @.
_NODENAME, _HOST = "celery.hostname", "host.name"


class NotSpansError(ValueError):
    """What was read is not OTLP/JSON of spans; its text says what is wrong, without any of it."""


class _Json(Struct, rename="camel", frozen=True):
    """A message of the protocol; what it does not know is passed over."""


class _AnyValue(_Json, frozen=True):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None


class _KeyValue(_Json, frozen=True):
    key: str
    value: _AnyValue = _AnyValue()


class _Event(_Json, frozen=True):
    name: str = ""
    time_unix_nano: int | str = 0
    attributes: list[_KeyValue] = []


class _Link(_Json, frozen=True):
    trace_id: str
    span_id: str
    attributes: list[_KeyValue] = []


class _Status(_Json, frozen=True):
    code: int = 0
    message: str = ""


class _Span(_Json, frozen=True):
    trace_id: str
    span_id: str
    start_time_unix_nano: int | str
    end_time_unix_nano: int | str
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    trace_state: str = ""
    attributes: list[_KeyValue] = []
    events: list[_Event] = []
    links: list[_Link] = []
    status: _Status = _Status()


class _ScopeSpans(_Json, frozen=True):
    spans: list[_Span] = []


class _Resource(_Json, frozen=True):
    attributes: list[_KeyValue] = []


class _ResourceSpans(_Json, frozen=True):
    resource: _Resource = _Resource()
    scope_spans: list[_ScopeSpans] = []


class _TracesData(_Json, frozen=True):
    resource_spans: list[_ResourceSpans]


_decoder = msgspec.json.Decoder(_TracesData)


def spans_from_json(text: bytes) -> list[Span]:
    """Return the spans of a TracesData message. Raises NotSpansError.

    Whoever reads ``text`` bounds its size. Attributes that are lists or maps are left out: ours
    never are.
    """
    try:
        data = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotSpansError(f"it is not OTLP/JSON ({type(error).__name__})") from None
    return [
        _span(span, source)
        for group in data.resource_spans
        for source in [_source(group.resource)]
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _span(span: _Span, source: Source) -> Span:
    start, end = _moment(span.start_time_unix_nano), _moment(span.end_time_unix_nano)
    if end < start:
        raise NotSpansError("a span ends before it starts")
    if span.kind not in _KINDS:
        raise NotSpansError("a span is of no known kind")
    return Span(
        trace_id=_id(span.trace_id, _TRACE_BYTES),
        span_id=_id(span.span_id, _SPAN_BYTES),
        parent_id=_id(span.parent_span_id, _SPAN_BYTES) if span.parent_span_id else b"",
        kind=span.kind,
        name=span.name,
        start_ns=start,
        end_ns=end,
        source=source,
        attributes=_attributes(span.attributes),
        links=tuple(_link(link) for link in span.links),
        events=tuple(
            SpanEvent(event.name, _moment(event.time_unix_nano), _attributes(event.attributes))
            for event in span.events
        ),
        error=span.status.code == 2,  # STATUS_CODE_ERROR
        status_message=span.status.message,
        trace_state=span.trace_state,
    )


def _source(resource: _Resource) -> Source:
    known: dict[str, Any] = dict(_attributes(resource.attributes))
    host = str(known.get(_HOST, ""))
    nodename = str(known.get(_NODENAME, f"@{host}" if host else ""))
    pid = known.get("process.pid")
    return Source(str(known.get("service.name", "")), nodename, pid if type(pid) is int else None)


def _attributes(pairs: list[_KeyValue]) -> Attributes:
    found = ((pair.key, _value(pair.value)) for pair in pairs)
    return tuple((key, value) for key, value in found if value is not None)


def _value(value: _AnyValue) -> Value | None:
    if value.string_value is not None:
        return value.string_value
    if value.bool_value is not None:
        return value.bool_value
    if value.int_value is not None:
        return _integer(value.int_value, -(1 << 63), (1 << 63) - 1)
    if value.double_value is None:
        return None
    try:
        number = float(value.double_value)
    except ValueError:
        raise NotSpansError("a number is none") from None
    return number if math.isfinite(number) else None


def _link(link: _Link) -> Link:
    return Link(
        _id(link.trace_id, _TRACE_BYTES),
        _id(link.span_id, _SPAN_BYTES),
        _attributes(link.attributes),
    )


def _id(text: str, size: int) -> bytes:
    if len(text) == 2 * size:
        try:
            value = bytes.fromhex(text)
        except ValueError:
            value = b""
        # fromhex passes over spaces, which makes it shorter; zeros are no id.
        if len(value) == size and any(value):
            return value
    raise NotSpansError(f"an id is not of {2 * size} hexadecimal digits, or it is zero")


def _moment(value: int | str) -> int:
    return _integer(value, 0, _MAX_TIME)


def _integer(value: int | str, least: int, most: int) -> int:
    if isinstance(value, int) or _DIGITS.fullmatch(value):
        number = int(value)
        if least <= number <= most:
            return number
    raise NotSpansError("a number is none, or does not fit into 64 bits")
