"""Makes the ids of traces and spans: a pure function of a task's identity.

So two exporters, or one restarted, give a span the same id, and a trace is found by a task's id.
"""

from hashlib import blake2b
from typing import Literal

Operation = Literal["send", "process", "wait", "revoke"]

_TRACE_BYTES = 16
_SPAN_BYTES = 8
_CANONICAL_LENGTH = 36
_HEX_LENGTH = 32
#: What no id may be; and the first half of a literal parent (`literal_span`).
_NO_TRACE = bytes(_TRACE_BYTES)
_NO_SPAN = bytes(_SPAN_BYTES)


def trace_id(root_id: str) -> bytes:
    """Return the 16 bytes of a trace: the root's UUID itself, else a hash of the id.

    Canonical, without hyphens, in upper case: the same UUID is the same trace. Never all zero.
    """
    known = uuid_bytes(root_id)
    return known if known and known != _NO_TRACE else _hash(root_id, _TRACE_BYTES)


def span_id(uuid: str, operation: Operation, retries: int, ordinal: int) -> bytes:
    """Return the 8 bytes of a span. Never all zero.

    ``ordinal`` counts deliveries of the task with the same ``retries``: redeliveries and
    replacements. Normally 0.
    """
    return _hash(f"{uuid}|{operation}|{retries}|{ordinal}", _SPAN_BYTES)


def literal_span(parent_id: str) -> bytes | None:
    """Return the span id that a ``parent_id`` such as 00000000-0000-0000-xxxx-xxxxxxxxxxxx says.

    So an application hangs its tasks below its own span. None for any other id.
    """
    known = uuid_bytes(parent_id)
    if known is None or not known.startswith(_NO_SPAN):
        return None
    span = known[_TRACE_BYTES - _SPAN_BYTES :]
    return span if span != _NO_SPAN else None


def uuid_bytes(text: str) -> bytes | None:
    """Return the 16 bytes of a UUID, canonical or without hyphens; None for any other text."""
    if len(text) == _CANONICAL_LENGTH:
        if not text[8] == text[13] == text[18] == text[23] == "-":
            return None
        text = text.replace("-", "")
    if len(text) != _HEX_LENGTH:
        return None
    try:
        value = bytes.fromhex(text)
    except ValueError:
        return None
    # fromhex passes over spaces, which makes it shorter.
    return value if len(value) == _TRACE_BYTES else None


def _hash(text: str, size: int) -> bytes:
    # An id may hold half a surrogate pair: JSON allows it.
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
    return digest if digest != bytes(size) else b"\x01".rjust(size, b"\0")
