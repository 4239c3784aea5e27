"""The lines of a recording: what goes in comes out, and bad lines say why."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.events.decode import Decoder, decode_objects
from z4j_exporter.events.message import Framed, Message
from z4j_exporter.events.recording import (
    LineError,
    decode_line,
    encode,
    encode_event,
    encode_message,
)

RECORDINGS = sorted((Path(__file__).parents[1] / "fixtures" / "recordings").glob("*.jsonl"))

#: Half surrogate pairs too, which JSON can escape and Python's json reads.
TEXT = st.text(st.characters(codec=None, exclude_categories=()))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def objects_of(line: bytes) -> list[Any]:
    return decode_objects(decode_line(line).message)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_what_was_recorded_is_written_again_byte_for_byte(path: Path) -> None:
    for line in path.read_bytes().splitlines(keepends=True):
        recorded = decode_line(line)
        assert encode(recorded.received_at, recorded.message, objects_of(line)) == [line]


@given(JSON, st.booleans())
def test_any_object_survives_a_line(event: Any, ascii_only: bool) -> None:
    line = encode_event(1.5, event, ascii_only=ascii_only)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert json.loads(line)["event"] == event
    recorded = decode_line(line)
    assert recorded.received_at == 1.5
    assert isinstance(recorded.message, Framed)
    assert json.loads(recorded.message.body) == event


@given(JSON)
def test_a_line_for_a_terminal_is_printable_ascii(event: Any) -> None:
    line = encode_event(1.5, event, ascii_only=True)
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])


def test_the_events_of_one_message_share_its_time() -> None:
    message = Framed(b'[{"a": 1}, 5]', "application/json", "utf-8")
    lines = encode(7.0, message, [{"a": 1}, 5])
    assert [json.loads(line) for line in lines] == [
        {"received_at": 7.0, "event": {"a": 1}},
        {"received_at": 7.0, "event": 5},
    ]


@pytest.mark.parametrize(
    "message",
    [
        Framed(b"\x80\x04junk", "application/x-python-serialize", "binary"),
        Framed(b"\xff", None, None),
        Framed(b"[]", "application/json", "utf-8"),
        b"not an envelope",
        b'{"type": "task-sent", "timestamp": 1}',
    ],
)
def test_a_message_that_cannot_be_taken_apart_is_refused_again_for_the_same_reason(
    message: Message,
) -> None:
    first, again = Decoder(), Decoder()
    assert first.decode(message) == []
    (line,) = encode(3.0, message, None)
    recorded = decode_line(line)
    assert recorded.message == message
    assert again.decode(recorded.message) == []
    assert again.refused == first.refused


@pytest.mark.parametrize(
    "event",
    [{"loss": float("nan")}, {b"key": 1}, {"when": b"bytes"}, {"set": {1}}],
)
def test_an_event_that_json_cannot_say_keeps_its_message_whole(event: Any) -> None:
    message = Framed(b"msgpack", "application/x-msgpack", "binary")
    (line,) = encode(3.0, message, [{"fine": 1}, event])
    assert line == encode_message(3.0, message)
    assert decode_line(line).message == message


def test_an_event_nested_too_deep_keeps_its_message_whole() -> None:
    event: Any = {}
    for _ in range(100_000):
        event = {"in": event}
    message = Framed(b"deep", "application/json", "utf-8")
    assert encode(3.0, message, [event]) == [encode_message(3.0, message)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"received_at": 1, "event": {"a": "\xff', "not JSON"),
        (b'{"received_at": 1, "event": ' + b"[" * 100_000, "not JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'{"event": {}}', "received_at"),
        (b'{"received_at": "now", "event": {}}', "received_at"),
        (b'{"received_at": -1, "event": {}}', "received_at"),
        (b'{"received_at": 1e300, "event": {}}', "received_at"),
        (b'{"received_at": 1}', "neither"),
        (b'{"received_at": 1, "body": "!!!"}', "body"),
        (b'{"type": "task-sent", "timestamp": 1}', "received_at"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: bytes, reason: str) -> None:
    with pytest.raises(LineError, match=reason):
        decode_line(line)


@given(st.binary(max_size=200))
def test_no_line_does_more_than_be_refused(line: bytes) -> None:
    try:
        recorded = decode_line(line)
    except LineError:
        return
    Decoder().decode(recorded.message)
