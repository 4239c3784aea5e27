"""Spans as OTLP say what the official encoder would say of equal spans."""

import base64
import json
import math
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Link as SdkLink
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceState

from tests.support.otlp_decoded import spans_of
from z4j_exporter import __version__
from z4j_exporter.tracing.encode import (
    SCHEMA_URL,
    SCOPE,
    SpanEncoder,
    otlp_json,
    resource_attributes,
)
from z4j_exporter.tracing.model import (
    CLIENT,
    CONSUMER,
    INTERNAL,
    PRODUCER,
    Attributes,
    Link,
    Source,
    Span,
    SpanEvent,
)

WORKER = Source(service="shop", nodename="shop-1@host", pid=7)
SDK_KINDS = {
    INTERNAL: SpanKind.INTERNAL,
    CLIENT: SpanKind.CLIENT,
    PRODUCER: SpanKind.PRODUCER,
    CONSUMER: SpanKind.CONSUMER,
}


def span(**fields: Any) -> Span:
    given: dict[str, Any] = {
        "trace_id": bytes(range(1, 17)),
        "span_id": bytes(range(1, 9)),
        "kind": CONSUMER,
        "name": "process shop.pay",
        "start_ns": 1_790_000_000_123_456_789,
        "end_ns": 1_790_000_001_123_456_789,
        "source": WORKER,
        "attributes": (),
        **fields,
    }
    return Span(**given)


def decoded(encoder: SpanEncoder, *spans: Span) -> ExportTraceServiceRequest:
    encoded = encoder.encode(spans)
    assert encoded.spans == len(spans)
    return ExportTraceServiceRequest.FromString(encoded.payload)


def official(*spans: Span) -> ExportTraceServiceRequest:
    """Encode equal spans with the SDK; what the two may differ in is taken out."""
    request = encode_spans([readable(each) for each in spans])
    for resource_spans in request.resource_spans:
        for each in resource_spans.scope_spans[0].spans:
            # Whether a parent was remote: we do not know.
            each.ClearField("flags")
            for link in each.links:
                link.ClearField("flags")
            if not each.status.code:
                each.ClearField("status")
    return request


def readable(each: Span) -> ReadableSpan:
    context = _context(each.trace_id, each.span_id, each.trace_state)
    return ReadableSpan(
        name=each.name,
        context=context,
        parent=_context(each.trace_id, each.parent_id) if each.parent_id else None,
        resource=Resource(resource_attributes(each.source, {}), SCHEMA_URL),
        attributes=dict(each.attributes),
        events=[Event(e.name, dict(e.attributes), e.time_ns) for e in each.events],
        links=[SdkLink(_context(k.trace_id, k.span_id), dict(k.attributes)) for k in each.links],
        kind=SDK_KINDS[each.kind],
        instrumentation_scope=InstrumentationScope(SCOPE, __version__, SCHEMA_URL),
        status=Status(StatusCode.ERROR, each.status_message) if each.error else Status(),
        start_time=each.start_ns,
        end_time=each.end_ns,
    )


def _context(trace_id: bytes, span_id: bytes, state: str = "") -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id, "big"),
        int.from_bytes(span_id, "big"),
        is_remote=False,
        trace_state=TraceState.from_header([state]) if state else None,
    )


# ------------------------------------------------------------------------------- strategies

texts = st.text(max_size=200)
values = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
)
attributes = st.dictionaries(st.text(min_size=1, max_size=30), values, max_size=8).map(
    lambda found: tuple(found.items())
)
trace_ids = st.binary(min_size=16, max_size=16).filter(any)
span_ids = st.binary(min_size=8, max_size=8).filter(any)
moments = st.integers(0, (1 << 64) - 1)
sources = st.builds(
    Source,
    service=texts,
    nodename=texts,
    pid=st.one_of(st.none(), st.integers(0, 1 << 22)),
)
links = st.builds(Link, trace_id=trace_ids, span_id=span_ids, attributes=attributes)
events = st.builds(SpanEvent, name=texts, time_ns=moments, attributes=attributes)
spans = st.builds(
    span,
    trace_id=trace_ids,
    span_id=span_ids,
    parent_id=st.one_of(st.just(b""), span_ids),
    kind=st.sampled_from(sorted(SDK_KINDS)),
    name=texts,
    start_ns=moments,
    end_ns=moments,
    source=sources,
    attributes=attributes,
    links=st.lists(links, max_size=3).map(tuple),
    events=st.lists(events, max_size=3).map(tuple),
    error=st.booleans(),
    status_message=texts,
    trace_state=st.sampled_from(["", "ot=th:8", "ot=th:c;rv:1"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(spans, max_size=6))
def test_every_field_is_what_the_official_encoder_writes(made: list[Span]) -> None:
    assert decoded(SpanEncoder({}), *made) == official(*made)


@settings(max_examples=60, deadline=None)
@given(st.lists(spans, max_size=4))
def test_what_an_encoder_remembers_changes_nothing(made: list[Span]) -> None:
    encoder = SpanEncoder({})
    assert encoder.encode(made) == encoder.encode(made)
    assert encoder.encode(made) == SpanEncoder({}).encode(made)


@settings(max_examples=60, deadline=None)
@given(st.lists(spans, max_size=4))
def test_json_says_the_same_as_the_wire_format(made: list[Span]) -> None:
    read = json.loads(otlp_json(made), parse_constant=pytest.fail)
    for resource_spans in read["resourceSpans"]:
        for each in resource_spans["scopeSpans"][0]["spans"]:
            for holder in (each, *each.get("links", ())):
                # OTLP/JSON has ids in hexadecimal, protobuf's own mapping in base64.
                for name in holder.keys() & {"traceId", "spanId", "parentSpanId"}:
                    holder[name] = base64.b64encode(bytes.fromhex(holder[name])).decode()
            if not each["status"]:
                del each["status"]
    message = json_format.ParseDict(read, ExportTraceServiceRequest())
    assert message == decoded(SpanEncoder({}), *made)


def test_numbers_that_a_dict_takes_for_one_stay_apart() -> None:
    pairs: list[Attributes] = [(("n", value),) for value in (True, 1, 1.0, False, 0, 0.0, -0.0)]
    encoder = SpanEncoder({})
    got = spans_of(decoded(encoder, *(span(attributes=pair) for pair in pairs)))
    assert [repr(each.attributes["n"]) for each in got] == [
        "True", "1", "1.0", "False", "0", "0.0", "-0.0",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_none(number: float) -> None:
    made = span(attributes=(("n", number),))
    (got,) = spans_of(decoded(SpanEncoder({}), made))
    assert repr(got.attributes["n"]) == repr(number)
    read = json_format.ParseDict(
        {"doubleValue": _json_attributes(made)["n"]["doubleValue"]}, _any_value()
    )
    assert repr(read.double_value) == repr(number)


def _json_attributes(made: Span) -> dict[str, Any]:
    (resource_spans,) = json.loads(otlp_json([made]))["resourceSpans"]
    (each,) = resource_spans["scopeSpans"][0]["spans"]
    return {pair["key"]: pair["value"] for pair in each["attributes"]}


def _any_value() -> Any:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

    return AnyValue()


def test_lone_surrogates_are_replaced_everywhere() -> None:
    bad, good = "a\ud800b", "a?b"
    made = span(
        name=bad,
        source=Source(service=bad, nodename=f"{bad}@host"),
        attributes=((bad, bad),),
        events=(SpanEvent(bad, 1, ((bad, bad),)),),
        links=(Link(b"1" * 16, b"2" * 8, ((bad, bad),)),),
        error=True,
        status_message=bad,
        trace_state=bad,
    )
    (got,) = spans_of(decoded(SpanEncoder({bad: bad}), made))
    assert (got.name, got.service, got.status_message, got.trace_state) == (good,) * 4
    assert got.attributes == {good: good}
    assert got.events[0].name == good
    assert got.events[0].attributes == got.links[0].attributes == {good: good}
    assert got.resource[good] == good
    assert good in otlp_json([made])
    assert msgspec.json.decode(otlp_json([made]).encode())


def test_a_span_that_cannot_be_encoded_costs_itself_only() -> None:
    good = span()
    bad = [
        span(attributes=(("n", 1 << 63),)),
        span(attributes=(("n", None),)),
        span(start_ns=-1),
        span(end_ns=1 << 64),
        span(name=None),
        span(kind=-1),
        span(source=Source(service="s", nodename="n", pid=1 << 64)),
        span(source=Source(service="t", nodename="n"), events=(SpanEvent("e", -1),)),
    ]
    encoded = SpanEncoder({}).encode([good, *bad, good])
    assert (encoded.spans, encoded.unencodable) == (2, len(bad))
    message = ExportTraceServiceRequest.FromString(encoded.payload)
    assert message == official(good, good)


def test_nothing_makes_an_empty_request() -> None:
    assert SpanEncoder({}).encode([]) == (b"", 0, 0)
    assert json.loads(otlp_json([])) == {"resourceSpans": []}


def test_a_resource_is_the_worker_the_span_speaks_of() -> None:
    more = {
        "deployment.environment.name": "production",
        # Of the exporter, not of the worker:
        "service.name": "exporter",
        "service.instance.id": "1",
        "host.name": "monitoring",
        "process.pid": "1",
    }
    assert resource_attributes(WORKER, more) == {
        "service.name": "shop",
        "service.instance.id": str(
            uuid5(UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320"), "shop-1@host")
        ),
        "celery.hostname": "shop-1@host",
        "host.name": "host",
        "process.pid": 7,
        "deployment.environment.name": "production",
    }
    nameless = resource_attributes(Source(service="s", nodename="n"), {})
    assert nameless.keys() == {"service.name", "service.instance.id", "celery.hostname"}


def test_spans_are_grouped_by_source() -> None:
    other = Source(service="shop", nodename="shop-2@host")
    message = decoded(
        SpanEncoder({}), span(), span(source=other), span(), span(source=other), span()
    )
    assert [len(each.scope_spans[0].spans) for each in message.resource_spans] == [3, 2]


def test_the_schema_is_one_that_was_published() -> None:
    assert SCHEMA_URL in {schema.value for schema in Schemas}


def test_what_is_remembered_is_bounded() -> None:
    encoder = SpanEncoder({})
    for number in range(5000):
        source = Source(service="s", nodename=f"w{number}@h")
        pairs = ((f"key{number}", f"value{number}"), ("k", "v" * 10_000))
        made = span(source=source, attributes=pairs)
        assert decoded(encoder, made).resource_spans[0].scope_spans[0].spans[0].attributes
    assert encoder.remembered_bytes < 1_500_000
