"""Copies a value without its secrets: arguments, keyword arguments, headers."""

import datetime
import decimal
import itertools
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from z4j_exporter.capture.redaction_keys import SecretKeys, is_measure
from z4j_exporter.capture.redaction_patterns import MARKER, is_card_number

#: Plain and immutable: they are passed on as they are, and hold no text of a user's.
_AS_IS = frozenset(
    (
        type(None),
        type(Ellipsis),
        bool,
        float,
        complex,
        datetime.datetime,
        datetime.date,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        decimal.Decimal,
        uuid.UUID,
    )
)
#: In dictionaries that name a header and give its value: {"name": "Cookie", "value": …}.
_NAMES = ("name", "key", "Name", "Key")
_VALUES = ("value", "Value")

_SIZED: tuple[type[Any], ...] = (str, bytes, list, tuple, dict, set)
_CYCLE = "<cycle>"
_TOO_DEEP = "<too deep>"
_CUT = "<cut>"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a value is copied; what is beyond is cut, and a placeholder says so."""

    #: Levels of containers within containers.
    depth: int = 20
    #: Items of all containers together.
    items: int = 10_000
    #: Characters and bytes of all texts together.
    characters: int = 100_000


class ValueRedaction:
    """One copy of one value; it is used once."""

    def __init__(
        self,
        keys: SecretKeys,
        redact_text: Callable[[str, int], str],
        bounds: Bounds,
        objects_by_repr: bool,
    ) -> None:
        self._keys = keys
        self._redact_text = redact_text
        self._items = bounds.items
        self._characters = bounds.characters
        self._depth = bounds.depth
        self._objects_by_repr = objects_by_repr
        self._path: set[int] = set()
        self._differs = False

    def redact(self, value: object) -> tuple[object, bool]:
        """Return the copy and whether it differs from the value."""
        try:
            copy = self._copy(value)
        except (RecursionError, MemoryError, RuntimeError):
            # A dictionary that another thread changes meanwhile; a stack already near its end.
            return MARKER, True
        return copy, self._differs

    def _copy(self, value: object) -> object:
        if type(value) in _AS_IS:
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            number = int.__int__(value)
            card = 10**12 <= number < 10**19 and is_card_number(str(number))
            return self._instead(MARKER) if card else number
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._bytes(value)
        if isinstance(value, (dict, list, tuple, set, frozenset, deque)):
            return self._container(value)
        return self._object(value)

    def _instead(self, placeholder: str) -> str:
        self._differs = True
        return placeholder

    def _text(self, value: str) -> str:
        text = value if type(value) is str else str.__str__(value)
        redacted = self._redact_text(text, max(0, self._characters))
        self._characters -= len(redacted)
        if redacted != text:
            self._differs = True
        return redacted

    def _bytes(self, value: bytes | bytearray | memoryview) -> bytes:
        size = memoryview(value).nbytes
        if size > 2 * self._characters + 10_000:
            return self._instead(_CUT).encode()
        # Latin-1 gives each byte a character, and back.
        return self._text(bytes(value).decode("latin-1")).encode("latin-1")

    def _container(self, value: object) -> object:
        if id(value) in self._path:
            return self._instead(_CYCLE)
        if len(self._path) >= self._depth:
            return self._instead(_TOO_DEEP)
        self._path.add(id(value))
        try:
            if isinstance(value, dict):
                return self._dict(value)
            if isinstance(value, list):
                return self._list(list.__iter__(value), list.__len__(value))
            if isinstance(value, tuple):
                return tuple(self._list(tuple.__iter__(value), tuple.__len__(value)))
            if isinstance(value, deque):
                return self._list(deque.__iter__(value), deque.__len__(value))
            if isinstance(value, set):
                return set(map(_hashable, self._list(set.__iter__(value), 0)))
            return frozenset(map(_hashable, self._list(frozenset.__iter__(value), 0)))  # type: ignore[arg-type]
        finally:
            self._path.discard(id(value))

    def _dict(self, value: dict[object, object]) -> dict[object, object]:
        copy: dict[object, object] = {}
        header = self._names_secret(value)
        for key, item in dict.items(value):
            if not self._take_item():
                copy[_CUT] = _CUT
                break
            plain = _plain_key(key)
            if (plain is not None and self._keys.holds_secret(plain)) or (
                header and key in _VALUES
            ):
                copied = self._secret(item, plain or "")
            else:
                copied = self._copy(item)
            copy[_free(copy, _hashable(self._copy(key)))] = copied
        return copy

    def _names_secret(self, value: dict[object, object]) -> bool:
        """Whether a dictionary names a key of a secret, and so gives its value beside it."""
        for name in _NAMES:
            plain = _plain_key(dict.get(value, name))
            if plain is not None and self._keys.holds_secret(plain):
                return True
        return False

    def _list(self, items: Iterable[object], size: int) -> list[object]:
        """Copy items; the second of ("password", x) and what follows "--password" are secrets."""
        copy: list[object] = []
        name: str | None = None
        for item in items:
            if not self._take_item():
                copy.append(_CUT)
                break
            secret = name is not None and isinstance(item, (str, bytes, int))
            copy.append(self._secret(item, name or "") if secret else self._copy(item))
            plain = _plain_key(item)
            name = None
            if plain is not None and not secret and (size == 2 or plain.startswith("--")):
                name = plain if self._keys.holds_secret(plain) else None
        return copy

    def _secret(self, value: object, name: str) -> object:
        """Replace the value of a secret's key; nothing, and a measure, are no secrets."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)) and is_measure(name):
            return self._copy(value)
        if _is_empty(value):
            return self._copy(value)
        if isinstance(value, bytes):
            return self._instead(MARKER).encode()
        return self._instead(MARKER)

    def _take_item(self) -> bool:
        self._items -= 1
        if self._items < 0:
            self._differs = True
        return self._items >= 0

    def _object(self, value: object) -> str:
        self._differs = True
        if self._objects_by_repr:
            try:
                return self._text(repr(value))
            except Exception:  # noqa: BLE001 - foreign code: whatever it raises, there is no repr
                return f"<{_class_name(value)}>"
        return f"<{_class_name(value)}>"


def _plain_key(key: object) -> str | None:
    if isinstance(key, str):
        return str.__str__(key) if str.__len__(key) <= 256 else None
    if isinstance(key, bytes) and bytes.__len__(key) <= 256:
        return bytes.decode(key, "latin-1")
    return None


def _free(copy: dict[object, object], key: object) -> object:
    """Find a key that is not taken: two keys may be the same when their secrets are gone."""
    if key not in copy:
        return key
    return next(k for n in itertools.count(2) if (k := f"{key} ({n})") not in copy)


def _hashable(value: object) -> object:
    try:
        hash(value)
    except TypeError:
        return MARKER
    return value


def _is_empty(value: object) -> bool:
    """Whether a text or container has nothing in it, without asking a subclass."""
    return any(isinstance(value, kind) and kind.__len__(value) == 0 for kind in _SIZED)


def _class_name(value: object) -> str:
    """Read the class's name without asking the class or its metaclass, which may run code."""
    cls = type(value)
    module = type.__dict__["__module__"].__get__(cls)
    name = type.__dict__["__qualname__"].__get__(cls)
    return f"{module}.{name}"[:200] if type(module) is str else str(name)[:200]
