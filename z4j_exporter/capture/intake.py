"""The bounded queue between the signal handlers and the sender, and the counts."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Any


class Intake:
    """Takes what the handlers captured, and counts what becomes of it.

    Handlers never wait: what finds no room is dropped and counted.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._items: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        # Reentrant: a signal handler of the process, or a finalizer, may publish a task while
        # the same thread is inside of put().
        self._lock = threading.RLock()
        self.captured = 0
        self.sent = 0
        self.errors = 0
        self.dropped: Counter[str] = Counter()
        self.withheld: Counter[str] = Counter()

    def put(self, item: Any, size: int) -> bool:
        """Queue an item of about `size` bytes; False when there is no room."""
        with self._lock:
            self.captured += 1
            if len(self._items) >= self._max_items or self._bytes + size > self._max_bytes:
                self.dropped["queue_full"] += 1
                return False
            self._items.append((item, size))
            self._bytes += size
            return True

    def take(self, most: int) -> list[Any]:
        """Take the oldest items, `most` of them or fewer."""
        with self._lock:
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._bytes -= sum(size for _, size in taken)
        return [item for item, _ in taken]

    def drop(self, reason: str, count: int = 1) -> None:
        """Count items that are lost."""
        with self._lock:
            self.dropped[reason] += count

    def failed(self) -> None:
        """Count an error inside of the hook."""
        with self._lock:
            self.errors += 1

    def __len__(self) -> int:
        return len(self._items)

    def figures(self) -> dict[str, Any]:
        """Return all counts since the process began to capture, as z4j-report carries them."""
        with self._lock:
            return {
                "captured": self.captured,
                "sent": self.sent,
                "dropped": dict(self.dropped),
                "errors": self.errors,
                "payloads_withheld": dict(self.withheld),
                "queue": len(self._items),
            }
