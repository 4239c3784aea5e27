"""The AMQP frame parser: any cut of the stream gives the same messages."""

from contextlib import suppress
from itertools import pairwise
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter.errors import SourceLostError
from z4j_exporter.events.message import OVERSIZED_CONTENT_TYPE, Framed, Message
from z4j_exporter.sources.amqp_frames import (
    HEARTBEAT_FRAME,
    MAX_CACHED_PROPERTIES,
    MESSAGE_OVERHEAD_BYTES,
    FrameParser,
    MethodFrame,
    method_frame,
    parse_close,
    parse_properties,
)

CHANNEL = 1
FRAME_MAX = 4096
MAX_MESSAGE_BYTES = 1000


def frame(kind: int, payload: bytes, channel: int = CHANNEL) -> bytes:
    return pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


# As kombu writes them: content type, encoding, headers {"hostname": "w"}, delivery mode, priority.
PROPERTIES = (
    pack(">H", 0xF800)
    + short(b"application/json")
    + short(b"utf-8")
    + b"\x00\x00\x00\x0f\x08hostnameS\x00\x00\x00\x01w\x01\x00"
)


def deliver() -> bytes:
    arguments = short(b"amq.ctag-1") + pack(">QB", 7, 0) + short(b"celeryev") + short(b"task.multi")
    return frame(1, pack(">HH", 60, 60) + arguments)


def header(body_bytes: int, properties: bytes = PROPERTIES) -> bytes:
    return frame(2, pack(">HHQ", 60, 0, body_bytes) + properties)


def message(body: bytes, *cuts: int, properties: bytes = PROPERTIES) -> bytes:
    bounds = [0, *cuts, len(body)]
    parts = [body[a:b] for a, b in pairwise(bounds)] if body else []
    return deliver() + header(len(body), properties) + b"".join(frame(3, part) for part in parts)


def json(body: bytes) -> Framed:
    return Framed(body, "application/json", "utf-8")


def parser() -> FrameParser:
    return FrameParser(channel=CHANNEL, frame_max=FRAME_MAX, max_message_bytes=MAX_MESSAGE_BYTES)


def parse(*pieces: bytes) -> tuple[list[Message], int, list[MethodFrame]]:
    subject = parser()
    messages: list[Message] = []
    size = sum(subject.feed(piece, messages) for piece in pieces)
    return messages, size, subject.methods


STREAM = (
    HEARTBEAT_FRAME
    + message(b'{"a":1}')
    + message(b"")
    + message(b"0123456789", 3, 3, 9)
    + method_frame(0, 10, 60, b"\x03low")
    + message(b"x" * (MAX_MESSAGE_BYTES + 1), 500)
    + message(b"bare", properties=b"\x00\x00")
    + HEARTBEAT_FRAME
    + message(b"[1]")
)
MESSAGES = [
    json(b'{"a":1}'),
    json(b""),
    json(b"0123456789"),
    Framed(b"", OVERSIZED_CONTENT_TYPE, None),
    Framed(b"bare", None, None),
    json(b"[1]"),
]


def test_messages_of_a_stream_in_one_piece() -> None:
    messages, size, methods = parse(STREAM)
    assert messages == MESSAGES
    assert size == sum(len(m.body) for m in MESSAGES) + len(MESSAGES) * MESSAGE_OVERHEAD_BYTES
    assert methods == [MethodFrame(0, 10, 60, b"\x03low")]


def test_the_stream_cut_at_every_position_gives_the_same() -> None:
    whole = parse(STREAM)
    for cut in range(len(STREAM) + 1):
        assert parse(STREAM[:cut], STREAM[cut:]) == whole, f"cut at {cut}"


def test_the_stream_byte_by_byte_gives_the_same() -> None:
    assert parse(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == parse(STREAM)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_chunking_of_any_messages_gives_the_bodies_in_order(data: st.DataObject) -> None:
    bodies = data.draw(st.lists(st.binary(max_size=MAX_MESSAGE_BYTES), max_size=8))
    stream = b""
    for body in bodies:
        cuts = data.draw(st.lists(st.integers(0, len(body) - 1), max_size=3)) if body else []
        stream += message(body, *sorted(cuts))
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    bounds = [0, *places, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    assert parse(*pieces)[0] == [json(body) for body in bodies]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.integers(0, len(STREAM)))
def test_garbage_anywhere_never_crashes_nor_harms_what_came_before(
    garbage: bytes, position: int
) -> None:
    before = parse(STREAM[:position])[0]
    messages: list[Message] = []
    with suppress(SourceLostError):
        parser().feed(STREAM[:position] + garbage + STREAM[position:], messages)
    assert messages[: len(before)] == before


def test_messages_before_garbage_are_kept() -> None:
    messages: list[Message] = []
    with pytest.raises(SourceLostError):
        parser().feed(message(b"good") + b"HTTP/1.1 400 Bad Request", messages)
    assert messages == [json(b"good")]


BROKEN = {
    "an answer in another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an unknown frame type, incomplete": pack(">BHI", 4, 1, 10) + b"x",
    "an unknown frame type, complete": frame(4, b"x"),
    "a frame larger than agreed": pack(">BHI", 3, 1, FRAME_MAX + 1) + b"x",
    "no end octet": pack(">BHI", 1, 1, 4) + b"\x00\x3c\x00\x1e\x00",
    "a body without a header": frame(3, b"x"),
    "a body right after the delivery": deliver() + frame(3, b"x"),
    "a header without a delivery": header(1),
    "a header on another channel": deliver() + frame(2, pack(">HHQH", 60, 0, 1, 0), channel=2),
    "a header that is too short": deliver() + frame(2, b"\x00\x3c"),
    "a body longer than its header says": deliver() + header(3) + frame(3, b"abcd"),
    "a second part that is too long": deliver() + header(3) + frame(3, b"a") + frame(3, b"bcd"),
    "a delivery within another": deliver() + deliver(),
    "a method too short to have a name": frame(1, b"\x00\x3c"),
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
def test_a_stream_out_of_step_ends_the_connection(stream: bytes) -> None:
    with pytest.raises(SourceLostError, match="not AMQP"):
        parse(stream)


def test_a_method_of_another_channel_may_come_within_a_delivery() -> None:
    close = method_frame(0, 10, 50, b"\x01\x40\x00\x00\x00\x00\x00")
    messages, _, methods = parse(deliver() + close + header(2) + HEARTBEAT_FRAME + frame(3, b"ab"))
    assert messages == [json(b"ab")]
    assert [method[:3] for method in methods] == [(0, 10, 50)]


def test_an_oversized_body_is_not_kept_and_the_next_message_is_read() -> None:
    subject = parser()
    messages: list[Message] = []
    huge = 2**62
    part = frame(3, b"x" * (FRAME_MAX - 8))
    size = subject.feed(deliver() + header(huge), messages)
    for _ in range(100):
        size += subject.feed(part, messages)
    assert (messages, size, subject._parts, subject._rest) == ([], 0, [], b"")

    exact = message(b"x" * (2 * MAX_MESSAGE_BYTES))
    messages, size, _ = parse(exact + message(b"next"))
    assert messages == [Framed(b"", OVERSIZED_CONTENT_TYPE, None), json(b"next")]
    assert size == len(b"next") + 2 * MESSAGE_OVERHEAD_BYTES


def test_headers_that_never_repeat_do_not_grow_the_cache() -> None:
    subject = parser()
    messages: list[Message] = []
    for number in range(3 * MAX_CACHED_PROPERTIES):
        properties = pack(">H", 0x8000) + short(b"type/%d" % number)
        subject.feed(message(b"x", properties=properties), messages)
    assert len(subject._cache) <= MAX_CACHED_PROPERTIES
    assert messages[-1] == Framed(b"x", f"type/{3 * MAX_CACHED_PROPERTIES - 1}", None)


def test_a_long_property_list_is_read_but_not_remembered() -> None:
    subject = parser()
    messages: list[Message] = []
    properties = pack(">H", 0xA000) + short(b"application/json") + pack(">I", 2000) + b"x" * 2000
    subject.feed(message(b"x", properties=properties), messages)
    assert messages == [Framed(b"x", "application/json", None)]
    assert subject._cache == {}


PROPERTY_LISTS: dict[str, tuple[bytes, tuple[str | None, str | None]]] = {
    "none": (b"\x00\x00", (None, None)),
    "type only": (pack(">H", 0x8000) + short(b"a/b"), ("a/b", None)),
    "encoding only": (pack(">H", 0x4000) + short(b"utf-8"), (None, "utf-8")),
    "others only": (pack(">H", 0x1000) + b"\x02", (None, None)),
    "not UTF-8": (pack(">H", 0x8000) + short(b"\xff"), ("\ufffd", None)),
    "longer than the list": (pack(">H", 0x8000) + b"\x10abc", (None, None)),
    "cut before the encoding": (pack(">H", 0xC000) + short(b"a/b"), (None, None)),
    "more flags": (pack(">HH", 0x8001, 0) + short(b"a/b"), (None, None)),
}


@pytest.mark.parametrize(("raw", "expected"), PROPERTY_LISTS.values(), ids=PROPERTY_LISTS)
def test_property_lists(raw: bytes, expected: tuple[str | None, str | None]) -> None:
    assert parse_properties(raw) == expected
    assert parse(message(b"x", properties=raw))[0] == [Framed(b"x", *expected)]


def test_close_text_of_a_malformed_frame_is_empty() -> None:
    assert parse_close(pack(">H", 320) + short(b"CONNECTION_FORCED")) == (320, "CONNECTION_FORCED")
    assert parse_close(b"\x01") == (0, "")
    assert parse_close(b"\x01\x40\x09abc") == (0, "")
