"""Where the events of ``events`` come from: a broker now, or a recording with its own time."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from z4j_exporter.events.recording import Recorded
from z4j_exporter.pipeline.buffer import Batch, Buffer
from z4j_exporter.pipeline.reader import READ_TIMEOUT_SECONDS, Reader
from z4j_exporter.sources.base import Source
from z4j_exporter.sources.recording import BadLine, RecordingReader, not_a_recording


class Feed(Protocol):
    """Batches of messages with the time they were received."""

    @property
    def connected(self) -> bool:
        """Whether events could come now."""

    @property
    def connections(self) -> int:
        """Connections made so far."""

    @property
    def dropped(self) -> int:
        """Messages that did not fit into the memory set aside for them."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def take(self, timeout_seconds: float) -> Batch | None:
        """Wait for a batch; None when none came in time.

        Raises EOFError when there will be no more, ExporterError when the source cannot be used.
        """

    def wake(self) -> None:
        """End a wait in ``take`` early. May be called by a signal handler."""

    def moment(self) -> tuple[float, float]:
        """Return the present moment, on the clock that never goes back and in epoch seconds."""


class LiveFeed:
    """Reads a source in a thread of its own, connecting again whenever it has to."""

    def __init__(
        self,
        source: Source,
        buffer_bytes: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._buffer = Buffer(buffer_bytes, monotonic=monotonic, wall=wall)
        self._reader = Reader(source, self._buffer)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.stop()
        self._reader.join(2 * READ_TIMEOUT_SECONDS)  # one that still connects ends as a daemon

    @property
    def connected(self) -> bool:
        """See Feed."""
        return self._reader.connected

    @property
    def connections(self) -> int:
        """See Feed."""
        return self._reader.connections

    @property
    def dropped(self) -> int:
        """See Feed."""
        return self._reader.dropped

    def take(self, timeout_seconds: float) -> Batch | None:
        """See Feed.take."""
        over = self._reader.ended or self._reader.fatal is not None
        batch = self._buffer.take()
        if batch is not None:
            return batch
        if self._reader.fatal is not None:
            raise self._reader.fatal
        if over:
            raise EOFError
        self._buffer.filled.wait(timeout_seconds)
        self._buffer.filled.clear()
        return self._buffer.take()

    def wake(self) -> None:
        """See Feed.wake."""
        self._buffer.filled.set()

    def moment(self) -> tuple[float, float]:
        """See Feed.moment."""
        return self._monotonic(), self._wall()


class RecordedFeed:
    """Reads a recording; its time is the recording's. ``on_bad_line`` is told of bad lines.

    Raises FileError when the file cannot be read, or has no good line.
    """

    connected = True
    connections = 1
    dropped = 0

    def __init__(self, path: Path, on_bad_line: Callable[[BadLine], None]) -> None:
        self._reader = RecordingReader(path)
        self._lines = iter(self._reader)
        self._on_bad_line = on_bad_line
        self._bad = False
        self._next = self._read()
        if self._next is None and self._bad:
            raise not_a_recording(self._reader.location)
        self._now = self._wall = 0.0 if self._next is None else self._next.received_at

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    def take(self, timeout_seconds: float) -> Batch | None:  # noqa: ARG002 - it never waits
        """See Feed.take."""
        line = self._next
        if line is None:
            raise EOFError
        self._next = self._read()
        self._wall = line.received_at
        self._now = max(self._now, self._wall)
        return Batch([line.message], 0, self._now, self._wall)

    def wake(self) -> None:
        """See Feed.wake; there are no waits."""

    def moment(self) -> tuple[float, float]:
        """See Feed.moment."""
        return self._now, self._wall

    def _read(self) -> Recorded | None:
        for line in self._lines:
            if isinstance(line, Recorded):
                return line
            self._bad = True
            self._on_bad_line(line)
        return None
