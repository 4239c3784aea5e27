"""A source read by the real reader thread into the real buffer, emptied by a thread of its own."""

import base64
import json
import threading
import time
from types import TracebackType
from typing import Any, Self

from tests.support.process import wait_until
from z4j_exporter.config import Settings
from z4j_exporter.pipeline import reader as reader_module
from z4j_exporter.pipeline.buffer import Buffer
from z4j_exporter.pipeline.reader import Reader
from z4j_exporter.sources.base import Source

#: What the exporter takes unless told otherwise.
_BUFFER_BYTES = Settings().buffer_bytes


class Reading:
    """Use as a context manager: the reader runs inside. ``keep=False`` only counts messages."""

    def __init__(
        self, source: Source, *, buffer_bytes: int = _BUFFER_BYTES, keep: bool = True
    ) -> None:
        self.buffer = Buffer(buffer_bytes, monotonic=time.monotonic, wall=time.time)
        self.reader = Reader(source, self.buffer)
        self.events: list[dict[str, Any]] = []
        self.messages = 0
        self._keep = keep
        self._stop = threading.Event()
        self._taking = threading.Event()
        self._taking.set()
        self._thread = threading.Thread(target=self._take, name="taker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.reader.stop()
        self.reader.join(reader_module.READ_TIMEOUT_SECONDS + 15)
        self._stop.set()
        self._taking.set()
        self._thread.join(10)
        assert not self.reader.is_alive()

    @property
    def dropped(self) -> int:
        return self.reader.dropped

    def hold(self) -> None:
        """Leave everything in the buffer from now on."""
        self._taking.clear()

    def release(self) -> None:
        self._taking.set()

    def wait_connected(self, timeout: float = 20) -> None:
        wait_until(lambda: self.reader.connected, timeout, lambda: self.reader.reason)

    def wait_disconnected(self, timeout: float = 20) -> str:
        """Wait until a connection failed or ended; return the reason."""
        first = "not connected yet"
        wait_until(lambda: self.reader.reason not in ("", first), timeout)
        return self.reader.reason

    def wait_events(self, count: int, timeout: float = 20) -> None:
        """Wait until exactly so many events have come since the start."""
        wait_until(lambda: len(self.events) >= count, timeout, lambda: f"{len(self.events)} events")
        assert len(self.events) == count

    def _take(self) -> None:
        while not self._stop.is_set():
            self._taking.wait()
            self.buffer.filled.wait(0.05)
            self.buffer.filled.clear()
            while (batch := self.buffer.take()) is not None:
                for message in batch.messages():
                    self.messages += 1
                    if self._keep:
                        content = json.loads(base64.b64decode(json.loads(message)["body"]))
                        self.events += content if isinstance(content, list) else [content]
