"""The chain of the audit log: how a line is sealed, opened again, and follows the one before. Pure.

A line is one JSON object with ``prev``, the MAC of the line before, and as its last member
``mac``: HMAC-SHA256 over the exact bytes of the line without ``,"mac":"…"`` and the line's end.
So every byte is covered, and no second way of writing the same entry is accepted.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from z4j_exporter.errors import ConfigError

#: What the first line of a log follows.
GENESIS = "0" * 64

#: No line is longer: readers need not hold more. Writers cut what is (audit.py).
MAX_LINE_BYTES = 262_144

#: Hexadecimal digits of a MAC that are enough to name a head: 64 bits.
LEAST_MAC_DIGITS = 16

_SEAL = re.compile(rb',"mac":"([0-9a-f]{64})"\}\n')
_SEAL_BYTES = len(',"mac":""}\n') + 64


class Head(NamedTuple):
    """The last entry of a log, or of a part of it: number 0 before the first."""

    seq: int
    mac: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.mac}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``SEQ:MAC``; of the MAC, the first 16 digits are enough.

        Raises ConfigError.
        """
        found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{16,64})", text.strip().lower())
        if found is None:
            raise ConfigError(
                "a head must look like 42:9f86d081884c7d65",
                hint="The number of an entry, a colon, and 16 to 64 digits of its mac.",
            )
        return cls(int(found[1]), found[2])

    def is_same(self, other: "Head") -> bool:
        """Whether both name the same entry, as far as the shorter MAC tells."""
        digits = min(len(self.mac), len(other.mac))
        same = hmac.compare_digest(self.mac[:digits], other.mac[:digits])
        return same and self.seq == other.seq and digits >= LEAST_MAC_DIGITS


#: Before the first entry.
START = Head(0, GENESIS)


class Sealed(NamedTuple):
    """A line that was made with the key: its members, and its place in the chain."""

    members: dict[str, Any]
    head: Head
    prev: str


class Chain:
    """Seals and opens lines with one key.

    The key itself seals nothing: chain, arguments and torn lines have keys of their own derived
    from it, so that none of the three can be passed off as another.
    """

    def __init__(self, key: bytes) -> None:
        self._seal_key = hmac.digest(key, b"z4j-exporter audit: chain", "sha256")
        self._arguments_key = hmac.digest(key, b"z4j-exporter audit: arguments", "sha256")
        self._torn_key = hmac.digest(key, b"z4j-exporter audit: torn", "sha256")

    def seal(self, seq: int, members: Mapping[str, Any], prev: str) -> tuple[bytes, Head]:
        """Return the line of an entry with its end, and the head that it makes."""
        text = json.dumps(
            {"seq": seq, **members, "prev": prev}, separators=(",", ":"), allow_nan=False
        )
        body = text.encode("ascii")
        mac = hmac.digest(self._seal_key, body, "sha256").hex()
        return body[:-1] + f',"mac":"{mac}"}}\n'.encode(), Head(seq, mac)

    def open(self, line: bytes) -> Sealed | None:
        """Return what a whole line holds; None when it was not made with this key, or changed."""
        found = _SEAL.fullmatch(line, max(0, len(line) - _SEAL_BYTES))
        if found is None:
            return None
        body = line[: found.start()] + b"}"
        mac = hmac.digest(self._seal_key, body, "sha256").hex()
        if not hmac.compare_digest(mac.encode(), found[1]):
            return None
        members: dict[str, Any] = json.loads(body)
        return Sealed(members, Head(members["seq"], mac), members["prev"])

    def arguments(self, data: bytes) -> str:
        """Return the keyed hash of a task's arguments: a bare hash of few bytes can be guessed."""
        return hmac.digest(self._arguments_key, data, "sha256").hex()

    def torn(self) -> "hmac.HMAC":
        """Return an empty keyed hash for what a crash left between two entries."""
        return hmac.new(self._torn_key, digestmod=hashlib.sha256)


def looks_like_entry(line: bytes) -> bool:
    """Whether a line could be an entry of some key: a whole object with a MAC.

    A torn write does not look like this: its end is missing, or its beginning.
    """
    if _SEAL.fullmatch(line, max(0, len(line) - _SEAL_BYTES)) is None:
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
