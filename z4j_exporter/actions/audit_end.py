"""Finds the last entry at the end of a log, and what a crash left behind it. Pure."""

from typing import Literal, NamedTuple

from z4j_exporter.actions.audit_chain import (
    MAX_LINE_BYTES,
    Chain,
    Head,
    looks_like_entry,
)

#: Bytes at the end of a file in which its last entry must be: one entry, and torn ones after it.
WINDOW_BYTES = 4 * MAX_LINE_BYTES

#: Pieces that crashes can leave: a torn entry, and torn attempts to tell of it.
_MOST_TORN_PIECES = 3


class End(NamedTuple):
    """How a file ends: its last entry (None when there is none), and what stands behind it."""

    head: Head | None
    left: bytes


def find_end(tail: bytes, chain: Chain) -> End:
    """Return the last entry made with the key within the last bytes of a file."""
    end = len(tail)
    while end > 0:
        newline = tail.rfind(b"\n", 0, end)
        if newline < 0:
            break
        start = tail.rfind(b"\n", 0, newline) + 1
        sealed = chain.open(tail[start : newline + 1])
        if sealed is not None:
            return End(sealed.head, tail[newline + 1 :])
        end = newline
    return End(None, tail)


def kind_of(left: bytes) -> Literal["torn", "altered"]:
    """Tell what a crash can leave ("torn") from what it cannot ("altered").

    Entries are written one at a time, so there is one torn piece, and perhaps a torn attempt
    to tell of it; a whole entry that the key did not make, or many pieces, had another cause.
    """
    *whole, last = left.split(b"\n")
    too_many = len(whole) + bool(last) > _MOST_TORN_PIECES
    if too_many or any(looks_like_entry(piece + b"\n") for piece in whole):
        return "altered"
    return "torn"


def lacks_only_its_end(left: bytes, head: Head, chain: Chain) -> Head | None:
    """Return the head that follows when a crash tore off no more than a line's end."""
    sealed = chain.open(left + b"\n")
    if sealed is None or sealed.head.seq != head.seq + 1 or sealed.prev != head.mac:
        return None
    return sealed.head
