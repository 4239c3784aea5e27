"""Copies what the application may change after the signal: a message body, headers, signatures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from kombu import serialization

#: How many values a plain copy holds, and how deep it goes; the rest is left out.
_MOST_VALUES = 5_000
_DEEPEST = 64
_LONGEST_TEXT = 10_000
#: Stands for what is left out.
CUT = "…"

#: kombu ships no types.
_dumps: Any = serialization.dumps

_ATOMS = (str, int, float, bool, type(None))


class Body(NamedTuple):
    """A message body as kombu would send it, or the reason why there is none."""

    content_type: str = ""
    content_encoding: str = ""
    data: str | bytes | None = None
    withheld: str = ""


_TOO_LARGE = Body(withheld="too_large")
_UNSERIALISABLE = Body(withheld="unserialisable")
DISABLED = Body(withheld="disabled")


def take_body(body: Any, serializer: str, limit: int) -> Body:
    """Serialise a message body as kombu is about to; never raises an Exception.

    `limit` is in bytes. Values that alone are longer than that are not serialised for it.
    """
    if _surely_longer(body, limit):
        return _TOO_LARGE
    try:
        content_type, content_encoding, data = _dumps(body, serializer=serializer)
    except Exception:  # noqa: BLE001  # any serializer, and the application's own __json__
        return _UNSERIALISABLE
    # A text's length in characters is at most its length in bytes: encode only near the limit.
    size = len(data)
    if size > limit or (isinstance(data, str) and size * 4 > limit and _bytes_of(data) > limit):
        return _TOO_LARGE
    return Body(content_type, content_encoding, data)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _surely_longer(body: Any, limit: int) -> bool:
    """Whether one of the arguments has more characters or elements than `limit` bytes can hold."""
    if isinstance(body, tuple) and len(body) == 3:
        args, kwargs, _ = body
    elif isinstance(body, Mapping):
        args, kwargs = body.get("args") or (), body.get("kwargs") or {}
    else:
        return False
    for value in args:
        if isinstance(value, str | bytes | list | tuple | dict) and len(value) > limit:
            return True
    for value in kwargs.values():
        if isinstance(value, str | bytes | list | tuple | dict) and len(value) > limit:
            return True
    return False


def plain(value: Any) -> Any:
    """Copy a value as JSON types, bounded in size; what is of no such type becomes a text.

    An object becomes the name of its class: its repr could be long, slow, or hold a secret.
    """
    return Copy().of(value, _DEEPEST)


class Copy:
    """One plain copy, which knows whether it is whole."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES
        self.cut = False

    def of(self, value: Any, depth: int = _DEEPEST) -> Any:
        """Copy a value, at most `depth` levels of it."""
        self._left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return _number(value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(as_text(bytes(value[: _LONGEST_TEXT + 1])))
        if not isinstance(value, Mapping | list | tuple | set | frozenset):
            return _known(value)
        if depth == 0 or self._left < len(value):
            self.cut = True
            return CUT
        if isinstance(value, Mapping):
            return {_key(k): self.of(v, depth - 1) for k, v in list(value.items())}
        return [self.of(v, depth - 1) for v in list(value)]

    def _text(self, value: str) -> str:
        if len(value) > _LONGEST_TEXT:
            self.cut = True
        return str(value[:_LONGEST_TEXT])


def _number(value: float) -> float | str:
    """Keep what JSON can carry: neither NaN nor thousands of digits."""
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else "<int>"
    return float(value) if math.isfinite(value) else str(float(value))


def _key(key: Any) -> str:
    if isinstance(key, bytes):
        return as_text(key)
    return str(key)[:_LONGEST_TEXT] if isinstance(key, _ATOMS) else type(key).__name__


def _known(value: Any) -> str:
    """Dates, UUIDs and decimals tell themselves; other objects only their class."""
    kind = type(value)
    if kind.__module__ in {"datetime", "uuid", "decimal"}:
        return str(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"


def as_text(data: bytes) -> str:
    """Read bytes as text, so that one can look for secrets in them; never raises."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
