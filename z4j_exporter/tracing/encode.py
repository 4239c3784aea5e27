"""Encodes spans as OTLP, grouped by source: in protobuf's wire format to be sent, or as JSON.

Field numbers: opentelemetry/proto/trace/v1/trace.proto. The tests hold every field to what the
SDK's own encoder makes of an equal span; only ``flags`` is left out, since nobody knows whether a
parent was in another process.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from z4j_exporter import __version__
from z4j_exporter.otlp.wire import AttributeEncoder, Value, sized, text, varint
from z4j_exporter.tracing.model import Attributes, Link, Source, Span, SpanEvent

SCOPE: Final = "z4j_exporter"
#: The version of the semantic conventions that names and attributes follow.
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
#: Namespace that the conventions set for a service.instance.id made from a name (UUIDv5):
#: https://opentelemetry.io/docs/specs/semconv/registry/attributes/service/
INSTANCE_NAMESPACE: Final = UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
#: Attributes that every source says of itself: what the exporter's environment says is of another.
_OWN: Final = frozenset(
    {"service.name", "service.instance.id", "celery.hostname", "host.name", "process.pid"}
)
#: Sources whose encoded resource is remembered.
_MAX_SOURCES: Final = 2048
#: Tags of start and end, with the numbers.
_times: Final = struct.Struct("<BQBQ").pack
_time: Final = struct.Struct("<BQ").pack


class Encoded(NamedTuple):
    """A request, with the spans that could not be encoded left out."""

    payload: bytes
    spans: int
    unencodable: int


def resource_attributes(source: Source, more: Mapping[str, Value]) -> dict[str, Value]:
    """Return a source's resource attributes; of ``more``, what the source does not say itself."""
    made: dict[str, Value] = {
        "service.name": source.service,
        "service.instance.id": str(uuid5(INSTANCE_NAMESPACE, _unicode(source.nodename))),
        # The instance's id is a hash: this says which worker it is.
        "celery.hostname": source.nodename,
    }
    _, at, host = source.nodename.partition("@")
    if at and host:
        made["host.name"] = host
    if source.pid is not None:
        made["process.pid"] = source.pid
    made.update((key, value) for key, value in more.items() if key not in _OWN)
    return made


class SpanEncoder:
    """Encodes requests; remembers what comes again. For one thread.

    ``resource`` is added to every resource: OTEL_RESOURCE_ATTRIBUTES of the exporter.
    """

    def __init__(self, resource: Mapping[str, Value]) -> None:
        self._more = resource
        self._attributes = AttributeEncoder(field=9)
        # Exceptions, above all, which seldom are the same twice.
        self._event_attributes = AttributeEncoder(field=3, max_cached=256)
        self._link_attributes = AttributeEncoder(field=4, max_cached=256)
        self._resources: dict[Source, bytes] = {}
        scope = b"\x0a" + text(SCOPE) + b"\x12" + text(__version__)
        self._scope = b"\x0a" + sized(scope)
        self._schema_url = b"\x1a" + text(SCHEMA_URL)

    def encode(self, spans: Iterable[Span]) -> Encoded:
        """Return the request with all spans that can be encoded."""
        groups: dict[Source, list[bytes]] = {}
        count = unencodable = 0
        for span in spans:
            try:
                group = groups.get(span.source)
                if group is None:
                    self._resource(span.source)  # whether it can be encoded
                    group = [self._scope]
                group.append(self._span(span))
                groups[span.source] = group
            except (TypeError, ValueError, AttributeError, struct.error):
                unencodable += 1
            else:
                count += 1
        parts = [self._resource_spans(source, group) for source, group in groups.items()]
        return Encoded(b"".join(parts), count, unencodable)

    @property
    def remembered_bytes(self) -> int:
        """Return the bytes that are remembered, without those of the tables."""
        attributes = (self._attributes, self._event_attributes, self._link_attributes)
        return sum(map(len, self._resources.values())) + sum(
            each.remembered_bytes for each in attributes
        )

    def _resource_spans(self, source: Source, scope_and_spans: list[bytes]) -> bytes:
        scope_spans = b"".join((*scope_and_spans, self._schema_url))
        return b"\x0a" + sized(
            b"".join((self._resource(source), b"\x12", sized(scope_spans), self._schema_url))
        )

    def _resource(self, source: Source) -> bytes:
        known = self._resources.get(source)
        if known is None:
            if len(self._resources) >= _MAX_SOURCES:
                self._resources.clear()
            parts: list[bytes] = []
            attributes = resource_attributes(source, self._more)
            AttributeEncoder(field=1).encode(attributes.items(), parts)
            known = self._resources[source] = b"\x0a" + sized(b"".join(parts))
        return known

    def _span(self, span: Span) -> bytes:
        parts = [b"\x0a", sized(span.trace_id), b"\x12", sized(span.span_id)]
        if span.trace_state:
            parts += b"\x1a", text(span.trace_state)
        if span.parent_id:
            parts += b"\x22", sized(span.parent_id)
        parts += (
            b"\x2a",
            text(span.name),
            b"\x30",
            varint(span.kind),
            _times(0x39, span.start_ns, 0x41, span.end_ns),
        )
        self._attributes.encode(span.attributes, parts)
        for event in span.events:
            parts += b"\x5a", sized(self._event(event))
        for link in span.links:
            parts += b"\x6a", sized(self._link(link))
        if span.error:
            message = b"\x12" + text(span.status_message) if span.status_message else b""
            parts += b"\x7a", sized(message + b"\x18\x02")
        return b"\x12" + sized(b"".join(parts))

    def _event(self, event: SpanEvent) -> bytes:
        parts = [_time(0x09, event.time_ns), b"\x12", text(event.name)]
        self._event_attributes.encode(event.attributes, parts)
        return b"".join(parts)

    def _link(self, link: Link) -> bytes:
        parts = [b"\x0a", sized(link.trace_id), b"\x12", sized(link.span_id)]
        self._link_attributes.encode(link.attributes, parts)
        return b"".join(parts)


def otlp_json(spans: Iterable[Span], resource: Mapping[str, Value] | None = None) -> str:
    """Return spans as a TracesData message in OTLP/JSON: what Jaeger's page loads from a file.

    https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hexadecimal, 64-bit
    numbers as strings. ``resource`` is added to every resource.
    """
    groups: dict[Source, list[dict[str, Any]]] = {}
    for span in spans:
        groups.setdefault(span.source, []).append(_json_span(span))
    scope = {"name": SCOPE, "version": __version__}
    resource_spans = [
        {
            "resource": {
                "attributes": _json_attributes(
                    tuple(resource_attributes(source, resource or {}).items())
                )
            },
            "scopeSpans": [{"scope": scope, "spans": group, "schemaUrl": SCHEMA_URL}],
            "schemaUrl": SCHEMA_URL,
        }
        for source, group in groups.items()
    ]
    return json.dumps({"resourceSpans": resource_spans}, ensure_ascii=False, allow_nan=False)


def _json_span(span: Span) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "traceState": _unicode(span.trace_state),
        "parentSpanId": span.parent_id.hex(),
        "name": _unicode(span.name),
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _json_attributes(span.attributes),
        "events": [
            {
                "timeUnixNano": str(event.time_ns),
                "name": _unicode(event.name),
                "attributes": _json_attributes(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {
                "traceId": link.trace_id.hex(),
                "spanId": link.span_id.hex(),
                "attributes": _json_attributes(link.attributes),
            }
            for link in span.links
        ],
        "status": {"code": 2, "message": _unicode(span.status_message)} if span.error else {},
    }
    # As in the wire format, what is empty is left out.
    return {key: value for key, value in made.items() if value not in ("", [])}


def _json_attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": _unicode(key), "value": _json_value(value)} for key, value in attributes]


def _json_value(value: Value) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": _unicode(value)}
    if isinstance(value, bool):  # before int, which it is too
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if math.isnan(value):
        return {"doubleValue": "NaN"}
    if math.isinf(value):
        return {"doubleValue": "Infinity" if value > 0 else "-Infinity"}
    return {"doubleValue": value}


def _unicode(text: str) -> str:
    """Return a text with its lone surrogates replaced."""
    return text.encode("utf-8", "replace").decode()
