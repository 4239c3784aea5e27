"""Turns messages into events: envelope, content type, one event or a list of them.

Pure. A message that cannot be decoded becomes a counted refusal with a reason; it never takes
the rest of its batch with it.
"""

import binascii
import json
import math
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import yaml
from msgspec import DecodeError, Struct, ValidationError, field

from z4j_exporter.events.message import OVERSIZED_CONTENT_TYPE, Framed, Message
from z4j_exporter.events.model import (
    KNOWN_EVENT_TYPES,
    TASK_EVENT_TYPES,
    WORKER_EVENT_TYPES,
    Event,
    EventHead,
)

#: Bytes. Celery flushes at most 24 buffered events a message (celery/events/dispatcher.py
#: ``buffer_limit``) and cuts args at 1 KiB: real messages stay far below.
DEFAULT_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: YAML can name far more objects than it has bytes, and is slow: a tighter limit.
MAX_YAML_BYTES = 64 * 1024
#: Events in one message; beyond it the message is not from Celery.
MAX_EVENTS_PER_MESSAGE = 10_000

#: Why a message or an event in it was refused: the values of the ``reason`` label.
REFUSAL_REASONS = {
    "too_large": "the message is larger than the limit",
    "bad_envelope": "the transport's envelope is not the JSON object kombu writes",
    "unsafe_content_type": "pickle or another content type that can run code",
    "unknown_content_type": "a content type this program does not know",
    "bad_encoding": "the body is not base64, or not text in the encoding it names",
    "malformed": "the body cannot be parsed as its content type",
    "not_an_event": "not an object with type and timestamp",
    "bad_field": "a field has the wrong type or is out of range",
    "missing_field": "a task event without uuid, or a worker event without hostname",
    "too_many": "more events in one message than Celery ever sends",
}

#: Content types that rebuild arbitrary objects (kombu/serialization.py): never loaded.
_UNSAFE = frozenset(
    {
        "application/x-python-serialize",
        "application/x-python",
        "application/x-pickle",
        "application/x-python-pickle",
    }
)
_JSON = frozenset({"application/json", "text/json"})
_MSGPACK = frozenset({"application/x-msgpack", "application/msgpack"})
_YAML = frozenset({"application/x-yaml", "application/yaml", "text/yaml"})


class RefusedError(Exception):
    """This message or event is refused; ``reason`` is a key of REFUSAL_REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Properties(Struct, gc=False):
    body_encoding: str | None = None


class _Envelope(Struct, gc=False, rename={"content_type": "content-type"}):
    """kombu's envelope with the usual base64 body, which msgspec decodes on the way."""

    body: bytes
    content_type: str | None = None
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
                if event.uuid is None and (event.type in TASK_EVENT_TYPES or not event.hostname):
                    return self._decode_slowly(message)
        except RefusedError as refusal:
            self._refuse(refusal.reason)
            return []
        except (DecodeError, RecursionError):
            return self._decode_slowly(message)
        if len(events) > MAX_EVENTS_PER_MESSAGE:
            self._refuse("too_many")
            return []
        return events

    def _decode_slowly(self, message: Message) -> list[Event]:
        """Decode a message one event at a time, telling each refusal."""
        try:
            objects = decode_objects(message, self.max_message_bytes)
        except RefusedError as refusal:
            self._refuse(refusal.reason)
            return []
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
        value = _load(framed)
    except RefusedError:
        raise
    except RecursionError:
        raise RefusedError("malformed") from None
    except (ValueError, DecodeError, yaml.YAMLError, AttributeError, TypeError):
        # AttributeError and TypeError: PyYAML on odd but well-formed documents.
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
    except (ValidationError, RecursionError):
        present = "type" in item and "timestamp" in item
        raise RefusedError("bad_field" if present else "not_an_event") from None
    hostname = head.hostname if isinstance(head.hostname, str) else ""
    if head.type not in KNOWN_EVENT_TYPES:
        return Event(type=head.type, timestamp=head.timestamp, hostname=hostname[:1024])
    try:
        event = msgspec.convert(item, Event)
    except (ValidationError, RecursionError):
        raise RefusedError("bad_field") from None
    if event.uuid is None and event.type in TASK_EVENT_TYPES:
        raise RefusedError("missing_field")
    if not event.hostname and event.type in WORKER_EVENT_TYPES:
        raise RefusedError("missing_field")
    return event


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
    except (DecodeError, RecursionError):
        raise RefusedError("bad_envelope") from None
    encoding = envelope.content_encoding
    properties = envelope.properties
    if properties is not None and properties.body_encoding == "base64":
        try:
            body = b64decode(envelope.body, validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError("bad_encoding") from None
    else:
        body = envelope.body.encode("utf-8", "surrogatepass")
        encoding = "utf-8"  # it stood in the envelope as text
    return Framed(body, envelope.content_type, encoding)


def _load(framed: Framed) -> Any:
    """Parse a body by its content type."""
    content_type = (framed.content_type or "").partition(";")[0].strip().lower()
    if content_type in _UNSAFE:
        raise RefusedError("unsafe_content_type")
    if content_type in _MSGPACK:
        return msgspec.msgpack.decode(framed.body, strict=False)
    if content_type in _JSON or content_type == "":
        # json of the standard library, since it takes what kombu's writes: NaN, lone surrogates.
        return json.loads(_text(framed), parse_constant=_no_number, parse_float=_finite)
    if content_type in _YAML:
        if len(framed.body) > MAX_YAML_BYTES:
            raise RefusedError("too_large")
        text = _text(framed)
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise RefusedError("malformed")  # aliases expand without bound, and Celery sends none
        return yaml.safe_load(text)
    raise RefusedError(
        "too_large" if content_type == OVERSIZED_CONTENT_TYPE else "unknown_content_type"
    )


def _text(framed: Framed) -> str:
    encoding = framed.content_encoding or "utf-8"
    if encoding.lower() in ("binary", "ascii-8bit"):
        encoding = "utf-8"
    try:
        return framed.body.decode(encoding)
    except (LookupError, UnicodeError, ValueError):
        raise RefusedError("bad_encoding") from None


def _no_number(_literal: str) -> None:
    """NaN and Infinity stand for no value."""


def _finite(literal: str) -> float | None:
    value = float(literal)
    return value if math.isfinite(value) else None
