"""Holds the spans that wait to be sent: bounded in number and in bytes, and never blocks."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from z4j_exporter.tracing.model import Attributes, Span

#: Bytes of a span's objects beside its texts: measured with tracemalloc on 16 attributes.
_BYTES_FIXED = 1800


class SpanQueue:
    """One thread offers, another takes. Sizes in bytes are an estimate (``size_bytes``)."""

    def __init__(
        self,
        max_spans: int,
        max_bytes: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_spans = max_spans
        self.max_bytes = max_bytes
        self.closed = False
        self._spans: deque[tuple[Span, int]] = deque()
        self._bytes = 0
        self._wanted = 1
        self._changed = threading.Condition()
        self._monotonic = monotonic

    def __len__(self) -> int:
        return len(self._spans)

    def offer(self, spans: Iterable[Span]) -> int:
        """Take as many as there is room for; returns how many there was none for."""
        sized = [(span, size_bytes(span)) for span in spans]
        refused = 0
        with self._changed:
            before = len(self._spans)
            for one in sized:
                if (
                    len(self._spans) >= self.max_spans
                    or self._bytes + one[1] > self.max_bytes
                    or self.closed
                ):
                    refused += 1
                    continue
                self._spans.append(one)
                self._bytes += one[1]
            # Few wake-ups: for the first span, from which a delay counts, and for a full batch.
            if before < self._wanted <= len(self._spans) or (not before and self._spans):
                self._changed.notify()
        return refused

    def take(self, count: int) -> list[Span]:
        """Return so many spans or fewer, at once; the oldest first."""
        with self._changed:
            taken = [self._spans.popleft() for _ in range(min(count, len(self._spans)))]
            self._bytes -= sum(size for _, size in taken)
        return [span for span, _ in taken]

    def wait(self, count: int, delay_seconds: float) -> None:
        """Wait until there are so many spans, or some and the delay is over, or it was closed."""
        with self._changed:
            self._wanted = count
            while not self._spans and not self.closed:
                self._changed.wait()
            until = self._monotonic() + delay_seconds
            while len(self._spans) < count and not self.closed:
                left = until - self._monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def close(self) -> None:
        """Take no more spans, and end every wait."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


def size_bytes(span: Span) -> int:
    """Return about how much memory a span takes: its texts differ, the rest hardly."""
    size = _BYTES_FIXED + len(span.name) + len(span.status_message) + _texts(span.attributes)
    for event in span.events:
        size += _texts(event.attributes)
    for link in span.links:
        size += _texts(link.attributes)
    return size


def _texts(attributes: Attributes) -> int:
    size = 0
    for _, value in attributes:
        if value.__class__ is str:
            size += len(value)
    return size
