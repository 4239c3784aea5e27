"""The buffer between the reader and the applier: bounded in bytes, never blocks.

Redis cuts a subscriber off that does not keep up (client-output-buffer-limit pubsub 32mb 8mb 60),
so a burst has to wait here rather than there.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from z4j_exporter.events.message import Message

#: Bytes that an item costs beyond its payload: the objects around it.
ITEM_OVERHEAD_BYTES = 64

#: Makes messages of what a source read (see sources/base.py ``Session.unpack``).
Unpack = Callable[[list[Any]], list[Message]]


def _as_they_are(items: list[Any]) -> list[Message]:
    return items


class Batch(NamedTuple):
    """What was read at one go, and how to make messages of it."""

    items: list[Any]
    size_bytes: int
    #: When it was read: on the clock that never goes back, and in epoch seconds.
    received: float
    received_wall: float
    unpack: Unpack = _as_they_are

    def messages(self) -> list[Message]:
        """Return the messages; to be called once, in the order of the batches."""
        return self.unpack(self.items)


class Buffer:
    """One thread puts, one thread takes; neither waits for the other.

    The lengths on both sides are written by one thread each, so that no lock is needed.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.max_bytes = max_bytes
        self._monotonic = monotonic
        self._wall = wall
        self._batches: deque[Batch] = deque()
        self._put_bytes = 0
        self._taken_bytes = 0
        #: Set when there is something to take; cleared by the taker.
        self.filled = threading.Event()

        #: Until when the broker sends more than can be read with the applier at work, on the clock
        #: that never goes back. Written by the putting thread.
        self.burst_until = 0.0

    @property
    def size_bytes(self) -> int:
        """Bytes that wait to be applied."""
        return self._put_bytes - self._taken_bytes

    def put(self, items: list[Any], size_bytes: int, unpack: Unpack) -> bool:
        """Add what was read; return False, and keep nothing of it, when it does not fit."""
        size = size_bytes + ITEM_OVERHEAD_BYTES * len(items)
        if self.size_bytes + size > self.max_bytes:
            return False
        self._put_bytes += size
        self._batches.append(Batch(items, size, self._monotonic(), self._wall(), unpack))
        if not self.filled.is_set():
            self.filled.set()
        return True

    def take(self) -> Batch | None:
        """Return the oldest batch, or None."""
        try:
            batch = self._batches.popleft()
        except IndexError:
            return None
        self._taken_bytes += batch.size_bytes
        return batch
