"""Writes OTLP attributes in protobuf's wire format: as bytes, which can be cached and joined.

Direct messages of the protobuf library cost twice as much for each span, the SDK's encoder eight
times. Field numbers: opentelemetry/proto/common/v1/common.proto and resource/v1/resource.proto.
"""

import struct
from collections.abc import Iterable
from typing import Final

Value = str | int | float | bool

#: Encoded attributes of these many bytes or fewer are worth remembering.
_MAX_CACHED_BYTES: Final = 100
_double: Final = struct.Struct("<d").pack


def varint(number: int) -> bytes:
    """Return a number from 0 to 2**64 - 1 in base 128; raises ValueError for any other."""
    if not 0 <= number < 1 << 64:
        raise ValueError("the number does not fit into 64 bits")
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


#: The lengths that nearly everything has.
_LENGTHS: Final = tuple(varint(length) for length in range(2048))


def sized(data: bytes) -> bytes:
    """Return bytes with their length before them."""
    length = len(data)
    return (_LENGTHS[length] if length < 2048 else varint(length)) + data


def text(value: str) -> bytes:
    """Return a text with its length before it; what is not Unicode (lone surrogates) as ``?``."""
    return sized(value.encode("utf-8", "replace"))


def any_value(value: Value) -> bytes:
    """Return the body of an AnyValue; raises TypeError, or ValueError for an int beyond 64 bits."""
    if isinstance(value, str):
        return b"\x0a" + text(value)
    if isinstance(value, bool):  # before int, which it is too
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError("the number does not fit into 64 bits")
        return b"\x18" + varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return b"\x21" + _double(value)
    raise TypeError(f"an attribute cannot be {type(value).__name__}")


class AttributeEncoder:
    """Encodes attributes as repeated KeyValues of one field; remembers those with short texts.

    ``field`` is the number that the attributes have in the message they belong to (below 16).
    """

    def __init__(self, field: int, max_cached: int = 4096) -> None:
        self._tag = bytes([field << 3 | 2])
        self._max_cached = max_cached
        self._known: dict[tuple[str, Value], bytes] = {}
        self._keys: dict[str, bytes] = {}

    def encode(self, attributes: Iterable[tuple[str, Value]], parts: list[bytes]) -> None:
        """Append the attributes' bytes to ``parts``; raises TypeError or ValueError."""
        known = self._known
        for pair in attributes:
            # Only texts: True, 1 and 1.0 are one key of a dict.
            if pair[1].__class__ is str:
                encoded = known.get(pair)
                parts.append(self._remember(pair) if encoded is None else encoded)
            else:
                parts.append(self._pair(*pair))

    @property
    def remembered_bytes(self) -> int:
        """Return the bytes that are remembered, without those of the tables."""
        return sum(map(len, self._known.values())) + sum(map(len, self._keys.values()))

    def _remember(self, pair: tuple[str, Value]) -> bytes:
        encoded = self._pair(*pair)
        if len(encoded) <= _MAX_CACHED_BYTES:
            if len(self._known) >= self._max_cached:
                # Ids of tasks, which never come again, fill it; what does come again is few.
                self._known.clear()
            self._known[pair] = encoded
        return encoded

    def _pair(self, key: str, value: Value) -> bytes:
        head = self._keys.get(key)
        if head is None:
            if len(self._keys) >= self._max_cached:
                self._keys.clear()
            head = self._keys[key] = b"\x0a" + text(key)
        return self._tag + sized(head + b"\x12" + sized(any_value(value)))
