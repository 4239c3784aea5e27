"""The buffer between the reader and the applier: bounded in bytes, never blocks, counts drops.

Redis cuts a subscriber off that does not keep up (client-output-buffer-limit pubsub 32mb 8mb 60),
so a burst has to wait here rather than there.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from z4j_exporter.events.message import Message

#: Bytes. A burst of about 400 000 events; nothing is allocated before it is needed.
DEFAULT_BUFFER_BYTES = 256 * 1024 * 1024
#: Bytes that a message costs beyond its payload: the objects around it.
MESSAGE_OVERHEAD_BYTES = 64


class Batch(NamedTuple):
    """Messages that were read together."""

    messages: list[Message]
    size_bytes: int
    #: When they were read: on the clock that never goes back, and in epoch seconds.
    received: float
    received_wall: float


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
        #: Messages dropped because the buffer was full. Written by the putting thread.
        self.dropped = 0
        #: Messages put, dropped ones not included.
        self.messages = 0

    @property
    def size_bytes(self) -> int:
        """Bytes that wait to be applied."""
        return self._put_bytes - self._taken_bytes

    def put(self, messages: list[Message], size_bytes: int) -> bool:
        """Add messages; when they do not fit, drop and count them and return False."""
        size = size_bytes + MESSAGE_OVERHEAD_BYTES * len(messages)
        if self.size_bytes + size > self.max_bytes:
            self.dropped += len(messages)
            return False
        self._put_bytes += size
        self.messages += len(messages)
        self._batches.append(Batch(messages, size, self._monotonic(), self._wall()))
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
