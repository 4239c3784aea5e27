"""The format of a recording: one JSON object a line, each an event or a message with its time.

An event is kept as it was sent, ``received_at`` is the listener's clock in epoch seconds::

    {"received_at": 1795168692.913, "event": {"type": "task-started", "uuid": "…", …}}

Events of one message share ``received_at``. A message that cannot be taken apart is kept whole,
so that a replay refuses it as the exporter did: as the transport framed it
(``content_type``, ``content_encoding``, base64 ``body``), or with kombu's envelope around it
(base64 ``envelope``).
"""

import json
from base64 import b64encode
from typing import Any, NamedTuple

import msgspec
from msgspec import DecodeError, Struct, ValidationError

from z4j_exporter.events.message import Framed, Message
from z4j_exporter.events.model import Timestamp

#: Bytes of one line. The largest message that is decoded has 4 MiB, and base64 or escapes make
#: at most three times as much of it.
MAX_LINE_BYTES = 16 * 1024 * 1024


class Recorded(NamedTuple):
    """One line of a recording."""

    #: The listener's clock, epoch seconds.
    received_at: float
    message: Message


class LineError(ValueError):
    """A line is not one of a recording; the text says why."""


class _Line(Struct, gc=False):
    received_at: Timestamp
    event: msgspec.Raw = msgspec.Raw(b"")
    envelope: bytes | None = None
    body: bytes | None = None
    content_type: str | None = None
    content_encoding: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


def decode_line(line: bytes) -> Recorded:
    """Return what a line holds; the event itself is not looked at.

    Raises LineError when the line is not one of a recording.
    """
    try:
        parsed = _decode(line)
    except ValidationError as error:
        raise LineError(str(error)) from None
    except (DecodeError, RecursionError, UnicodeDecodeError):
        return _decode_slowly(line)
    if parsed.event:
        message: Message = Framed(bytes(parsed.event), "application/json", "utf-8")
    elif parsed.envelope is not None:
        message = parsed.envelope
    elif parsed.body is not None:
        message = Framed(parsed.body, parsed.content_type, parsed.content_encoding)
    else:
        raise LineError("it has neither `event` nor `body` nor `envelope`")
    return Recorded(parsed.received_at, message)


def _decode_slowly(line: bytes) -> Recorded:
    """Decode a line with the standard library, which reads half a surrogate pair and NaN."""
    try:
        parsed = json.loads(line)
        received_at, event = parsed["received_at"], parsed["event"]
        body = json.dumps(event).encode("ascii")
        return Recorded(
            msgspec.convert(received_at, Timestamp), Framed(body, "application/json", "utf-8")
        )
    except (ValueError, TypeError, LookupError, RecursionError):
        raise LineError("it is not JSON") from None


def encode_event(received_at: float, event: Any, *, ascii_only: bool = False) -> bytes:
    """Return the line of one event, given as the plain object that was sent.

    ``ascii_only`` escapes all that a terminal might obey. Raises ValueError when JSON cannot say
    the event (other content types can hold more than JSON).
    """
    line = {"received_at": round(received_at, 6), "event": event}
    try:
        text = json.dumps(line, ensure_ascii=ascii_only, allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError("JSON cannot say this event") from error
    if ascii_only:
        return text.replace("\x7f", "\\u007f").encode("ascii") + b"\n"
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair: only an escape can say it
        return json.dumps(line, allow_nan=False).encode("ascii") + b"\n"


def encode_message(received_at: float, message: Message) -> bytes:
    """Return the line of a message that is kept whole."""
    line: dict[str, Any] = {"received_at": round(received_at, 6)}
    if isinstance(message, bytes):
        line["envelope"] = b64encode(message).decode("ascii")
    else:
        line["content_type"] = message.content_type
        line["content_encoding"] = message.content_encoding
        line["body"] = b64encode(message.body).decode("ascii")
    return json.dumps(line).encode("ascii") + b"\n"


def encode(
    received_at: float, message: Message, objects: list[Any] | None, *, ascii_only: bool = False
) -> list[bytes]:
    """Return the lines of a message: one for each of its objects, as decode_objects gave them.

    Without objects, or with one that JSON cannot say, the message is kept whole.
    """
    if objects:
        try:
            return [encode_event(received_at, item, ascii_only=ascii_only) for item in objects]
        except ValueError:
            pass
    return [encode_message(received_at, message)]
