"""Turns the hook's notes into what is stored, and back into what a retry needs."""

import base64
import binascii
import json
import zlib
from typing import Any

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from z4j_exporter.events.captured import Envelope, captured
from z4j_exporter.events.model import NO_RAW, Event
from z4j_exporter.events.refusal import RefusedError
from z4j_exporter.journal.model import Body, JournalError, StoredPayload

#: How a note's bytes are stored.
PLAIN, DEFLATED = 0, 1
#: Bytes below which compression does not pay.
_LEAST_BYTES = 512
#: Bytes that a stored note may have: a file that somebody made could hold a bomb.
_MOST_BYTES = 256 * 1024 * 1024
#: kombu's names for an encoding that is none: such bodies come as base64 (capture/events.py).
_BINARY = frozenset({"binary", "ascii-8bit"})


class _More(Struct, gc=False):
    """What the hook says of its own note, and nobody else asks for."""

    omitted: list[str] = []
    headers_redacted: bool = False
    stamps_redacted: bool = False


_decode_more = Decoder(_More).decode


def envelope_of(note: bytes) -> Envelope | None:
    """Return the envelope of a note's bytes, None if they are none."""
    try:
        read = captured(Event(type="z4j-envelope", timestamp=0.0, z4j=Raw(note)))
    except RefusedError:
        return None
    return read if isinstance(read, Envelope) else None


def pack(note: bytes) -> tuple[int, bytes]:
    """Return format and bytes to store a note as."""
    if len(note) >= _LEAST_BYTES:
        small = zlib.compress(note, 1)
        if len(small) < len(note) * 0.9:
            return DEFLATED, small
    return PLAIN, note


def unpack(stored_as: int, stored: bytes) -> bytes:
    """Return a note's bytes; raises JournalError where they cannot be had."""
    if stored_as == PLAIN:
        return stored
    inflate = zlib.decompressobj()
    try:
        note = inflate.decompress(stored, _MOST_BYTES)
    except zlib.error:
        raise _unreadable() from None
    if stored_as != DEFLATED or not inflate.eof:
        raise _unreadable()
    return note


def payload_of(note: bytes, published_at: float, hostname: str) -> StoredPayload:
    """Return what a note's bytes tell. Raises JournalError where they cannot be read."""
    envelope = envelope_of(note)
    if envelope is None:
        raise _unreadable()
    parts = _Parts(note)
    return StoredPayload(
        envelope=envelope,
        published_at=published_at,
        hostname=hostname,
        body=_body(envelope, parts),
        headers=parts.mapping("headers", envelope.headers),
        stamps=parts.mapping("stamps", envelope.stamps),
        callbacks=parts.sequence("callbacks", envelope.callbacks),
        errbacks=parts.sequence("errbacks", envelope.errbacks),
        chain=parts.sequence("chain", envelope.chain),
        chord_body=parts.mapping("chord_body", envelope.chord_body) or None,
        redacted_args=parts.value("redacted_args", envelope.redacted_args),
        redacted_kwargs=parts.value("redacted_kwargs", envelope.redacted_kwargs),
        incomplete=frozenset(parts.incomplete),
    )


class _Parts:
    """Parses the parts of a note that are JSON; what cannot be parsed is named, never guessed.

    Not msgspec: Python's own parser keeps integers of any size, as the publisher had them.
    """

    def __init__(self, note: bytes) -> None:
        self.incomplete: set[str] = set()
        try:
            more = _decode_more(note)
        except (DecodeError, ValueError, RecursionError):
            more = _More()
        self.incomplete.update(more.omitted[:16])
        if more.headers_redacted:
            self.incomplete.add("headers")
        if more.stamps_redacted:
            self.incomplete.add("stamps")

    def value(self, name: str, raw: Raw) -> Any:
        if raw is NO_RAW or not bytes(raw):
            return None
        try:
            return json.loads(bytes(raw))
        except (ValueError, RecursionError):
            self.incomplete.add(name)
            return None

    def mapping(self, name: str, raw: Raw) -> dict[str, Any]:
        return self._of(name, raw, dict) or {}

    def sequence(self, name: str, raw: Raw) -> list[Any]:
        return self._of(name, raw, list) or []

    def _of(self, name: str, raw: Raw, kind: type[Any]) -> Any:
        value = self.value(name, raw)
        if value is not None and not isinstance(value, kind):
            self.incomplete.add(name)
            return None
        return value


def _body(envelope: Envelope, parts: _Parts) -> Body | None:
    payload = envelope.payload
    if payload is None:
        return None
    data = body_bytes(payload.body, payload.content_encoding)
    if data is None:
        parts.incomplete.add("payload")
        return None
    return Body(data, payload.content_type, payload.content_encoding)


def body_bytes(text: str, encoding: str) -> bytes | None:
    """Return a body's bytes from its wire form (capture/events.py); None where that is wrong."""
    try:
        if encoding.lower() in _BINARY:
            return base64.b64decode(text, validate=True)
        return text.encode(encoding or "utf-8")
    except (LookupError, UnicodeError, binascii.Error, ValueError):
        return None


def _unreadable() -> JournalError:
    return JournalError(
        "what the journal holds of this task cannot be read",
        hint="The file may be damaged: sqlite3 FILE 'PRAGMA integrity_check' tells.",
    )
