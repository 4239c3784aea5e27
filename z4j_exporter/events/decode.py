"""Turns messages into events: envelope, content type, one event or a list of them.

Pure. A message that cannot be decoded becomes a counted refusal with a reason; it never takes
the rest of its batch with it.
"""

import binascii
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import DecodeError, Struct, field

from z4j_exporter.events.content import load
from z4j_exporter.events.message import Framed, Message
from z4j_exporter.events.model import (
    CAPTURE_EVENT_TYPES,
    KNOWN_EVENT_TYPES,
    TASK_EVENT_TYPES,
    WORKER_EVENT_TYPES,
    Event,
    EventHead,
)
from z4j_exporter.events.refusal import REFUSAL_REASONS, RefusedError

__all__ = [
    "DEFAULT_MAX_MESSAGE_BYTES",
    "MAX_EVENTS_PER_MESSAGE",
    "REFUSAL_REASONS",
    "Decoder",
    "RefusedError",
    "decode_objects",
    "event_from_object",
]

#: Bytes. Celery flushes at most 24 buffered events a message (celery/events/dispatcher.py
#: ``buffer_limit``) and cuts args at 1 KiB: real messages stay far below.
DEFAULT_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: Events in one message; beyond it the message is not from Celery.
MAX_EVENTS_PER_MESSAGE = 10_000

#: What msgspec raises on what it cannot read: UnicodeDecodeError, a ValueError, for bad UTF-8;
#: before 0.20 SystemError for integers of hundreds of digits.
_UNREADABLE = (DecodeError, ValueError, RecursionError, SystemError)


class _Properties(Struct, gc=False):
    body_encoding: str | None = None


class _Envelope(Struct, gc=False):
    """kombu's envelope with the usual base64 body, which msgspec decodes on the way."""

    body: bytes
    content_type: str | None = field(default=None, name="content-type")
    content_encoding: str | None = field(default=None, name="content-encoding")
    properties: _Properties | None = None


class _RawEnvelope(Struct, gc=False):
    """kombu's envelope whatever its body is (kombu/transport/virtual/base.py)."""

    body: str
    content_type: str | None = field(default=None, name="content-type")
    content_encoding: str | None = field(default=None, name="content-encoding")
    properties: _Properties | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_raw_envelope = msgspec.json.Decoder(_RawEnvelope).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_events = msgspec.json.Decoder(list[Event]).decode


class Decoder:
    """Decodes messages; one instance for each thread that decodes.

    ``refused`` counts what was not decoded, by reason; ``on_refused`` is told each reason.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self.max_message_bytes = max_message_bytes
        self.refused: Counter[str] = Counter()
        self._on_refused = on_refused

    def decode(self, message: Message) -> list[Event]:
        """Return the events of a message, without those refused. Never raises."""
        body: bytes
        try:
            # The fast path: a small JSON message of kombu's usual shape, every event sound.
            if isinstance(message, bytes):
                if len(message) > self.max_message_bytes:
                    raise RefusedError("too_large")
                envelope = _decode_envelope(message)
                properties = envelope.properties
                if (
                    envelope.content_type != "application/json"
                    or envelope.content_encoding != "utf-8"
                    or properties is None
                    or properties.body_encoding != "base64"
                ):
                    return self._decode_slowly(message)
                body = envelope.body
            else:
                body, content_type, content_encoding = message
                if len(body) > self.max_message_bytes:
                    raise RefusedError("too_large")
                if content_type != "application/json" or content_encoding != "utf-8":
                    return self._decode_slowly(message)
            events = _decode_events(body) if body[:1] == b"[" else [_decode_event(body)]
            for event in events:
                if not event.hostname or (event.uuid is None and event.type in TASK_EVENT_TYPES):
                    return self._decode_slowly(message)
        except RefusedError as refusal:
            self._refuse(refusal.reason)
            return []
        except _UNREADABLE:
            return self._decode_slowly(message)
        if not 0 < len(events) <= MAX_EVENTS_PER_MESSAGE:
            self._refuse("too_many" if events else "not_an_event")
            return []
        return events

    def _decode_slowly(self, message: Message) -> list[Event]:
        """Decode a message one event at a time, telling each refusal."""
        try:
            objects = decode_objects(message, self.max_message_bytes)
        except RefusedError as refusal:
            self._refuse(refusal.reason)
            return []
        if not objects:
            self._refuse("not_an_event")  # nothing that came goes by without being counted
        events = []
        for item in objects:
            try:
                events.append(event_from_object(item))
            except RefusedError as refusal:
                self._refuse(refusal.reason)
        return events

    def _refuse(self, reason: str) -> None:
        self.refused[reason] += 1
        if self._on_refused is not None:
            self._on_refused(reason)


def decode_objects(
    message: Message, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
) -> list[Any]:
    """Return what a message holds as plain objects, every field included, nothing checked.

    Raises RefusedError when the message as a whole cannot be read.
    """
    framed = _unwrap(message, max_message_bytes)
    try:
        value = load(framed)
    except RefusedError:
        raise
    except Exception:  # noqa: BLE001  # four parsers on hostile bytes: any error is a refusal
        raise RefusedError("malformed") from None
    objects = value if isinstance(value, list) else [value]
    if len(objects) > MAX_EVENTS_PER_MESSAGE:
        raise RefusedError("too_many")
    return objects


def event_from_object(item: Any) -> Event:
    """Return the typed event of a plain object.

    A custom type is read by its head alone: its other fields may carry any name and shape.
    Raises RefusedError when it is not an event, or one of Celery's with a field that is wrong.
    """
    if not isinstance(item, dict):
        raise RefusedError("not_an_event")
    try:
        head = msgspec.convert(item, EventHead)
    except _UNREADABLE:
        present = "type" in item and "timestamp" in item
        raise RefusedError("bad_field" if present else "not_an_event") from None
    hostname = head.hostname if isinstance(head.hostname, str) else ""
    if head.type in CAPTURE_EVENT_TYPES:
        return _capture_from_object(head, hostname, item)
    if head.type not in KNOWN_EVENT_TYPES:
        return Event(type=head.type, timestamp=head.timestamp, hostname=hostname[:1024])
    if "z4j" in item:  # what may stand there only passes as bytes
        item = {key: value for key, value in item.items() if key != "z4j"}
    try:
        event = msgspec.convert(item, Event)
    except _UNREADABLE:
        raise RefusedError("bad_field") from None
    if event.uuid is None and event.type in TASK_EVENT_TYPES:
        raise RefusedError("missing_field")
    if not event.hostname and event.type in WORKER_EVENT_TYPES:
        raise RefusedError("missing_field")
    return event


def _capture_from_object(head: EventHead, hostname: str, item: dict[Any, Any]) -> Event:
    """Return the hook's event of a plain object, its contents written as JSON again."""
    pid = item.get("pid")
    try:
        return msgspec.convert(
            {"type": head.type, "timestamp": head.timestamp, "hostname": hostname, "pid": pid}
            | {"z4j": msgspec.Raw(msgspec.json.encode(item.get("z4j")))},
            Event,
        )
    except (*_UNREADABLE, TypeError, msgspec.MsgspecError):
        raise RefusedError("bad_capture") from None


def _unwrap(message: Message, max_message_bytes: int) -> Framed:
    """Take kombu's envelope off; the result's body is the content's own bytes."""
    if not isinstance(message, bytes):
        if len(message.body) > max_message_bytes:
            raise RefusedError("too_large")
        return message
    if len(message) > max_message_bytes:
        raise RefusedError("too_large")
    try:
        envelope = _decode_raw_envelope(message)
    except _UNREADABLE:
        raise RefusedError("bad_envelope") from None
    body_encoding = envelope.properties.body_encoding if envelope.properties else None
    if body_encoding == "base64":
        try:
            body = b64decode(envelope.body, validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError("bad_encoding") from None
        return Framed(body, envelope.content_type, envelope.content_encoding)
    if body_encoding:
        raise RefusedError("bad_encoding")
    # It stood in the envelope as text: the encoding that it names is undone already.
    return Framed(envelope.body.encode(), envelope.content_type, "utf-8")
