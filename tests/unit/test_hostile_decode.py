"""Whatever comes, decode() neither raises nor lets it go by uncounted."""

import base64
import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_decode import HEARTBEAT, STARTED, envelope
from z4j_exporter.events.content import OVERSIZED_CONTENT_TYPE
from z4j_exporter.events.decode import Decoder
from z4j_exporter.events.message import Framed, Message
from z4j_exporter.events.model import KNOWN_EVENT_TYPES, MAX_TIMESTAMP
from z4j_exporter.events.refusal import REFUSAL_REASONS

FIELDS = [*STARTED, *HEARTBEAT, "name", "queue", "retries", "runtime", "loadavg", "exception"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**310)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(sorted(KNOWN_EVENT_TYPES))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=12,
)
events = st.dictionaries(st.sampled_from(FIELDS), scalars | values, max_size=12).map(
    lambda fields: {**STARTED, **fields}
)
content_types = st.sampled_from(
    [
        "application/json",
        "application/x-msgpack",
        "application/x-yaml",
        "application/x-python-serialize",
        OVERSIZED_CONTENT_TYPE,
        "",
        None,
    ]
)
encodings = st.sampled_from(["utf-8", "binary", "latin-1", "utf-16", "utf-32", "idna", "", None])


def decoded(message: Message) -> int:
    """How many events a message gave; what was checked holds for every message."""
    decoder = Decoder()
    found = decoder.decode(message)
    assert len(found) + decoder.refused.total() >= 1
    assert set(decoder.refused) <= set(REFUSAL_REASONS)
    for event in found:
        assert isinstance(event.type, str)
        assert 0.0 <= event.timestamp < MAX_TIMESTAMP
        assert isinstance(event.hostname, str)
        if event.type.startswith("task-") and event.type in KNOWN_EVENT_TYPES:
            assert event.uuid
        elif event.type in KNOWN_EVENT_TYPES:
            assert event.hostname
    return len(found)


@given(st.binary(max_size=400))
def test_any_bytes_as_an_envelope(message: bytes) -> None:
    decoded(message)


@given(st.binary(max_size=400), content_types, encodings)
def test_any_bytes_as_a_body(body: bytes, content_type: str | None, encoding: str | None) -> None:
    decoded(Framed(body, content_type, encoding))
    decoded(envelope(body, content_type=content_type, content_encoding=encoding))


@given(st.text(max_size=200), st.text(max_size=40), st.text(max_size=40))
def test_any_text_as_names_of_types_and_encodings(body: str, kind: str, encoding: str) -> None:
    raw = body.encode("utf-8", "surrogatepass")
    decoded(Framed(raw, kind, encoding))
    decoded(Framed(raw, "application/json", encoding))
    decoded(Framed(raw, kind, "utf-8"))


@given(values)
@settings(max_examples=300)
def test_any_json_value(value: Any) -> None:
    text = json.dumps(value).encode()
    decoded(text)
    decoded(Framed(text, "application/json", "utf-8"))
    count = decoded(envelope(text))
    assert count <= (len(value) if isinstance(value, list) else 1)


@given(st.lists(events, min_size=1, max_size=5))
@settings(max_examples=400)
def test_each_event_of_a_list_is_counted_by_itself(items: list[dict[str, Any]]) -> None:
    decoder = Decoder()
    found = decoder.decode(envelope(items))
    assert len(found) + decoder.refused.total() == len(items)
    alone = [Decoder().decode(envelope(item)) for item in items]
    # Of a custom event the head is certain; the rest is there when it fits.
    heads = [(e.type, e.timestamp, e.hostname) for result in alone for e in result]
    assert [(e.type, e.timestamp, e.hostname) for e in found] == heads


@given(st.lists(events, min_size=1, max_size=3))
@settings(max_examples=300)
def test_msgpack_and_yaml_of_the_same(items: list[dict[str, Any]]) -> None:
    try:
        packed = msgspec.msgpack.encode(items)
    except (OverflowError, ValueError):
        pass  # msgpack has no such integers
    else:
        decoded(Framed(packed, "application/x-msgpack", "binary"))
    try:
        text = yaml.safe_dump(items).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError):
        pass
    else:
        decoded(Framed(text, "application/x-yaml", "utf-8"))


REAL = envelope([STARTED, HEARTBEAT, {**STARTED, "type": "task-failed", "exception": "E('ü')"}])
REAL_BODY = base64.b64decode(json.loads(REAL)["body"])


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 5)), max_size=4
    ),
    st.integers(0, len(REAL)),
)
@settings(max_examples=600)
def test_any_damage_to_a_real_message(
    cuts: list[tuple[int, bytes, int]], truncated_at: int
) -> None:
    for real in (REAL, REAL_BODY):
        message = bytearray(real)
        for at, new, removed in cuts:
            position = at % (len(message) + 1)
            message[position : position + removed] = new
        for damaged in (bytes(message), bytes(message[:truncated_at])):
            decoded(damaged)
            decoded(Framed(damaged, "application/json", "utf-8"))
            decoded(envelope(damaged))


@given(st.integers(1, 3000), st.sampled_from(["[", '{"a":', '[{"type":', '"\\u', "1", "-", "e"]))
def test_any_depth_and_repetition(times: int, piece: str) -> None:
    for body in (piece * times, f'{{"type": "a", "timestamp": 1, "x": {piece * times}'):
        decoded(Framed(body.encode(), "application/json", "utf-8"))
        decoded(Framed(body.encode(), "application/x-yaml", "utf-8"))


@pytest.mark.parametrize(
    "fields",
    [
        {"processed": 10**400},
        {"active": 10**400},
        {"active": -1},
        {"pid": 10**400},
        {"loadavg": [0.5] * 1000},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_no_heartbeat_can_make_the_page_unreadable_or_the_tracker_large(
    fields: dict[str, Any],
) -> None:
    """One such number on /metrics, and Prometheus rejects the whole page."""
    decoder = Decoder()
    assert decoder.decode(envelope({**HEARTBEAT, **fields})) == []
    assert decoder.refused == {"bad_field": 1}


def test_no_run_time_can_make_a_sum_infinite() -> None:
    for runtime in (1e308, -1e308):
        event = {**STARTED, "type": "task-succeeded", "runtime": runtime}
        decoder = Decoder()
        assert decoder.decode(envelope(event)) == []
        assert decoder.refused == {"bad_field": 1}
