"""Turns the bytes of an AMQP 0-9-1 connection into messages and method frames; does no I/O.

The layout of a frame, a content header and the property list: AMQP 0-9-1 specification, 4.2.3 to
4.2.6. py-amqp parses the same but builds half a dozen objects for each message; an exporter
needs the body, the content type and the content encoding, and nothing else.
"""

from struct import Struct
from typing import Final, NamedTuple

from z4j_exporter.errors import SourceLostError
from z4j_exporter.events.message import OVERSIZED_CONTENT_TYPE, Framed, Message

#: Bytes a message costs beside its body: the tuple and the bytes object of CPython.
MESSAGE_OVERHEAD_BYTES: Final = 112
#: Property lists remembered. Workers' headers differ by hostname only, so it holds a large fleet.
MAX_CACHED_PROPERTIES: Final = 1024
#: Bytes; longer property lists are parsed every time. Celery's are about 70 bytes long.
MAX_CACHED_PROPERTIES_BYTES: Final = 512

HEARTBEAT_FRAME: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_FRAME_END = 0xCE
# Class and method of basic.deliver.
_DELIVER = b"\x00\x3c\x00\x3c"

_unpack_frame = Struct(">BHI").unpack_from
_unpack_method = Struct(">HH").unpack_from
# Of a content header: class, weight (unused), size of the body.
_unpack_content = Struct(">HHQ").unpack_from
_CONTENT_BYTES = 12
_unpack_flags = Struct(">H").unpack_from
_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING, _MORE_FLAGS = 0x8000, 0x4000, 0x0001

# No frame has these lengths: the body comes in parts; the body is passed over.
_SPLIT, _OVERSIZED = -1, -2

_Properties = tuple[str | None, str | None]


class MethodFrame(NamedTuple):
    """Any method other than basic.deliver: what the broker wants the connection to know."""

    channel: int
    class_id: int
    method_id: int
    arguments: bytes


class FrameParser:
    """Takes the stream in pieces of any size and keeps what is not complete.

    ``frame_max`` is the size agreed on while connecting: a larger frame means that the stream
    is out of step. A body larger than ``max_message_bytes`` is passed over without being kept:
    an empty message with OVERSIZED_CONTENT_TYPE takes its place, so that it is counted.
    """

    def __init__(self, *, channel: int, frame_max: int, max_message_bytes: int) -> None:
        self._channel = channel
        self._frame_max = frame_max
        self._max_message_bytes = max_message_bytes
        self._rest = b""
        #: The kind of frame that must come next on the channel.
        self._expected = _METHOD
        self._properties: _Properties = (None, None)
        #: Of the body: what is still to come, and the length of a frame that holds all of it.
        self._missing_bytes = 0
        self._whole_bytes = 0
        self._parts: list[bytes] = []
        self._cache: dict[bytes, _Properties] = {}
        #: Method frames seen since this list was last emptied.
        self.methods: list[MethodFrame] = []

    def feed(self, data: bytes, messages: list[Message]) -> int:
        """Append the messages that ``data`` completes; return the memory they take in bytes.

        Raises SourceLostError when the stream is not AMQP; ``messages`` has what came before.
        """
        if self._rest:
            data = self._rest + data
        end = len(data)
        start = 0
        size = 0
        own_channel = self._channel
        while end - start > 7:
            kind, channel, length = _unpack_frame(data, start)
            payload = start + 7
            stop = payload + length
            if stop >= end:
                self._check_incomplete(kind, length)
                break
            if data[stop] != _FRAME_END:
                raise _out_of_step("a frame does not end where it should")
            start = stop + 1
            if channel == own_channel and kind == self._expected:
                if kind == _BODY:
                    if length == self._whole_bytes:
                        # The usual case: the whole body in one frame.
                        messages.append(Framed(data[payload:stop], *self._properties))
                        size += length + MESSAGE_OVERHEAD_BYTES
                        self._expected = _METHOD
                    else:
                        size += self._add_part(data[payload:stop], messages)
                elif kind == _HEADER:
                    size += self._take_header(data[payload:stop], messages)
                elif data.startswith(_DELIVER, payload, stop):
                    self._expected = _HEADER
                else:
                    self._take_method(channel, data[payload:stop])
            else:
                self._take_other(kind, channel, data[payload:stop])
        self._rest = data[start:]
        return size

    def _check_incomplete(self, kind: int, length: int) -> None:
        # Without this, an answer that is not AMQP would be waited for to its never-coming end.
        if kind not in (_METHOD, _HEADER, _BODY, _HEARTBEAT):
            raise _out_of_step(f"a frame of the unknown type {kind}")
        if length > self._frame_max:
            raise _out_of_step(f"a frame of {length} bytes, {self._frame_max} were agreed on")

    def _take_other(self, kind: int, channel: int, payload: bytes) -> None:
        """Take a frame that is not the next of a delivery."""
        if kind == _METHOD:
            if payload.startswith(_DELIVER):
                raise _out_of_step("a delivery within another")
            self._take_method(channel, payload)
        elif kind != _HEARTBEAT:
            raise _out_of_step(f"a frame of type {kind} that nothing asked for")

    def _take_method(self, channel: int, payload: bytes) -> None:
        if len(payload) < 4:
            raise _out_of_step("a method frame that is too short")
        class_id, method_id = _unpack_method(payload)
        self.methods.append(MethodFrame(channel, class_id, method_id, payload[4:]))

    def _take_header(self, payload: bytes, messages: list[Message]) -> int:
        if len(payload) < _CONTENT_BYTES + 2:
            raise _out_of_step("a content header that is too short")
        body_bytes = _unpack_content(payload)[2]
        raw = payload[_CONTENT_BYTES:]
        self._properties = self._cache.get(raw) or self._remember(raw)
        self._missing_bytes = self._whole_bytes = body_bytes
        if body_bytes > self._max_message_bytes:
            self._whole_bytes = _OVERSIZED
        if body_bytes:
            self._expected = _BODY
            return 0
        return self._complete(messages)

    def _remember(self, raw: bytes) -> _Properties:
        found = parse_properties(raw)
        if len(raw) <= MAX_CACHED_PROPERTIES_BYTES:
            if len(self._cache) >= MAX_CACHED_PROPERTIES:
                # Someone publishes headers that never repeat: start afresh rather than grow.
                self._cache.clear()
            self._cache[raw] = found
        return found

    def _add_part(self, part: bytes, messages: list[Message]) -> int:
        self._missing_bytes -= len(part)
        if self._missing_bytes < 0:
            raise _out_of_step("a body longer than its header says")
        if self._whole_bytes != _OVERSIZED:
            self._whole_bytes = _SPLIT
            self._parts.append(part)
        return 0 if self._missing_bytes else self._complete(messages)

    def _complete(self, messages: list[Message]) -> int:
        self._expected = _METHOD
        if self._whole_bytes == _OVERSIZED:
            messages.append(Framed(b"", OVERSIZED_CONTENT_TYPE, None))
            return MESSAGE_OVERHEAD_BYTES
        body = b"".join(self._parts)
        self._parts = []
        messages.append(Framed(body, *self._properties))
        return len(body) + MESSAGE_OVERHEAD_BYTES


def parse_properties(raw: bytes) -> _Properties:
    """Return content type and content encoding of a property list, flags first.

    They are the first two properties, so that nothing behind them has to be understood. A list
    that makes no sense gives (None, None): RabbitMQ passes on what a publisher wrote, and one
    bad message must not end the connection.
    """
    (flags,) = _unpack_flags(raw)
    if flags & _MORE_FLAGS:
        return None, None
    content_type = content_encoding = None
    position = 2
    try:
        if flags & _HAS_CONTENT_TYPE:
            content_type, position = _short_string(raw, position)
        if flags & _HAS_CONTENT_ENCODING:
            content_encoding, position = _short_string(raw, position)
    except IndexError:
        return None, None
    return content_type, content_encoding


def parse_close(arguments: bytes) -> tuple[int, str]:
    """Return reply code and text of connection.close or channel.close; (0, "") if malformed."""
    try:
        return int.from_bytes(arguments[:2], "big"), _short_string(arguments, 2)[0]
    except IndexError:
        return 0, ""


def method_frame(channel: int, class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    """Build the frame of a method to be sent."""
    payload = Struct(">HH").pack(class_id, method_id) + arguments
    return Struct(">BHI").pack(_METHOD, channel, len(payload)) + payload + b"\xce"


def _short_string(raw: bytes, position: int) -> tuple[str, int]:
    end = position + 1 + raw[position]
    if end > len(raw):
        raise IndexError(end)
    return raw[position + 1 : end].decode("utf-8", "replace"), end


def _out_of_step(what: str) -> SourceLostError:
    return SourceLostError(f"the broker sent what is not AMQP 0-9-1: {what}")
