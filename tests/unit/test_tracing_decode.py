"""OTLP/JSON read back: what was written comes back, what is damaged is refused in a sentence."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.spans import TRACE, failed, ran, sent, span
from z4j_exporter.tracing.answers import Latest, TraceAnswers
from z4j_exporter.tracing.decode import NotSpansError, spans_from_json
from z4j_exporter.tracing.encode import otlp_json
from z4j_exporter.tracing.memory import RecentSpans
from z4j_exporter.tracing.model import Link, Source

WHOLE = ran(
    2, 1, "visit", 11, 103, "FAILURE",
    **failed("PageError", "404\nNot Found é"),
    status_message="PageError: 404",
    trace_state="ot=th:8",
    links=(Link(TRACE, b"12345678", (("a", True),)),),
)  # fmt: skip


def message(**fields: Any) -> bytes:
    """A message with one span, some of its fields others."""
    one = {
        "traceId": TRACE.hex(),
        "spanId": "00" * 7 + "01",
        "startTimeUnixNano": "1000",
        "endTimeUnixNano": "2000",
        "name": "x",
        "kind": 5,
        **fields,
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}).encode()


def test_what_was_written_comes_back() -> None:
    spans = [sent(1, 0, "visit", 0), WHOLE, span(3, 2, at=5, took=0)]
    assert spans_from_json(otlp_json(spans).encode()) == spans


def test_a_source_without_nodename_has_its_host() -> None:
    resource = {
        "attributes": [
            {"key": "service.name", "value": {"stringValue": "shop"}},
            {"key": "host.name", "value": {"stringValue": "box"}},
            {"key": "process.pid", "value": {"intValue": "77"}},
        ]
    }
    text = json.loads(message())
    text["resourceSpans"][0]["resource"] = resource
    (read,) = spans_from_json(json.dumps(text).encode())
    assert read.source == Source("shop", "@box", 77)


def test_numbers_may_be_numbers_and_what_is_unknown_is_passed_over() -> None:
    attributes = [
        {"key": "i", "value": {"intValue": 7}},
        {"key": "d", "value": {"doubleValue": 0.5}},
        {"key": "n", "value": {"doubleValue": "NaN"}},
        {"key": "list", "value": {"arrayValue": {"values": []}}},
        {"key": "none"},
    ]
    (read,) = spans_from_json(
        message(startTimeUnixNano=1, endTimeUnixNano=2, flags=257, attributes=attributes)
    )
    assert (read.start_ns, read.end_ns) == (1, 2)
    assert read.attributes == (("i", 7), ("d", 0.5))


@pytest.mark.parametrize(
    "fields",
    [
        {"traceId": "zz" * 16},
        {"traceId": "00" * 16},
        {"traceId": "  " + "01" * 15},
        {"traceId": TRACE.hex() * 2},
        {"spanId": "01"},
        {"spanId": ""},
        {"parentSpanId": "xyz"},
        {"startTimeUnixNano": "-1"},
        {"startTimeUnixNano": "1_0"},
        {"startTimeUnixNano": "\uff19"},
        {"startTimeUnixNano": "1" * 5000},
        {"startTimeUnixNano": 2**64},
        {"startTimeUnixNano": 1.5},
        {"endTimeUnixNano": "999"},
        {"kind": 6},
        {"kind": -1},
        {"kind": "SPAN_KIND_CONSUMER"},
        {"name": None},
        {"attributes": [{"key": "x", "value": {"intValue": "x"}}]},
        {"attributes": [{"key": "x", "value": {"doubleValue": "x"}}]},
        {"links": [{"traceId": "", "spanId": ""}]},
        {"events": [{"timeUnixNano": "x"}]},
    ],
)
def test_a_damaged_span_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(NotSpansError) as caught:
        spans_from_json(message(**fields))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"\xff", b'{"resourceSpans":{}}', b"[" * 100_000, b'{"x":' * 100_000],
    ids=["empty", "object", "list", "bytes", "wrong", "deep lists", "deep maps"],
)
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(NotSpansError, match="it is not OTLP/JSON"):
        spans_from_json(text)


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["resourceSpans", "scopeSpans", "spans", "resource", "attributes"]),
        inner, max_size=3),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_anything_is_spans_or_refused(text: bytes) -> None:
    try:
        spans = spans_from_json(text)
    except NotSpansError:
        return
    assert spans == []


def test_the_pages_tell_what_is_remembered() -> None:
    recent = RecentSpans(100)
    answers = TraceAnswers(recent)
    assert msgspec.json.decode(answers.latest(5), type=Latest) == Latest([], 0, 0)
    recent.take([sent(1, 0, "a\x00", 0), WHOLE])
    told = msgspec.json.decode(answers.latest(5), type=Latest)
    (line,) = told.traces
    assert (line.trace_id, line.root, line.service) == (TRACE.hex(), "send a\ufffd", "web")
    assert (line.start, line.start_unix_nano) == ("1970-01-01T00:00:01.000000Z", "1000000000")
    assert (line.duration_seconds, line.spans, line.errors) == (0.114, 2, 1)
    assert (told.spans, told.evicted) == (2, 0)
    assert answers.find(TRACE.hex()[:31]) == [TRACE.hex()]
    assert answers.find("nothing like it") == []
    body = answers.otlp_json(TRACE.hex())
    assert body is not None
    assert spans_from_json(body) == [sent(1, 0, "a\x00", 0), WHOLE]
    assert answers.otlp_json("00" * 16) is None
