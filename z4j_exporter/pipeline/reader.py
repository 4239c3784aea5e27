"""The reader thread: connects, reads into the buffer, connects again; nothing else."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from z4j_exporter.errors import EndOfStreamError, ExporterError, SourceLostError
from z4j_exporter.pipeline.buffer import Buffer
from z4j_exporter.sources.base import Session, Source

logger = logging.getLogger(__name__)

#: Seconds one read waits at the most: how soon the thread sees that it should stop.
READ_TIMEOUT_SECONDS = 0.5
#: Seconds before the first new attempt; it doubles with each one that fails.
FIRST_DELAY_SECONDS = 0.5
#: Seconds between attempts at the most.
MAX_DELAY_SECONDS = 15.0
#: Seconds a connection must have lasted for the delays to start anew.
STABLE_SECONDS = 10.0
#: Bytes: a read of less shows that the thread is ahead of the broker …
_SMALL_READ_BYTES = 32 * 1024
#: … so that it may pause for these seconds, for one wake-up to serve many messages.
#: (each wake-up finds cold caches, which cost more than the work).
_PAUSE_SECONDS = 0.05


#: Bytes: a read of so much leaves more behind.
_FULL_READ_BYTES = 1024 * 1024
#: Seconds after such a read during which the applier stands back.
BURST_SECONDS = 0.05


#: Seconds between looks for room in the buffer, while a file is read.
_ROOM_SECONDS = 0.02


class Reader(threading.Thread):
    """Keeps a source connected for ever, and its messages flowing into the buffer.

    ``on_connected`` is called, in this thread, after each connection. ``wait`` waits before a new
    attempt and returns at once when the thread is to end. Attributes are written by this thread
    only and may be read by any.
    """

    def __init__(
        self,
        source: Source,
        buffer: Buffer,
        *,
        on_connected: Callable[[], None] = lambda: None,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(name="reader", daemon=True)
        self.source = source
        self._buffer = buffer
        self._on_connected = on_connected
        self._jitter = jitter
        self._monotonic = monotonic
        self._stopping = threading.Event()
        self._wait: Callable[[float], object] = wait or self._stopping.wait
        self.connected = False
        #: Why it is not connected, for people.
        self.reason = "not connected yet"
        #: Connections made.
        self.connections = 0
        #: Times that events may have been missed: each loss of a connection.
        self.gaps = 0
        #: Messages dropped because the buffer was full.
        self.dropped = 0
        #: The recording has been read to its end.
        self.ended = False
        #: An error that no new attempt can mend.
        self.fatal: ExporterError | None = None

    def stop(self) -> None:
        """Ask the thread to end; it does within about READ_TIMEOUT_SECONDS."""
        self._stopping.set()

    def run(self) -> None:
        """Connect and read until stopped."""
        failures = 0
        while not self._stopping.is_set():
            session = self._connect()
            if session is not None:
                connected_at = self._monotonic()
                self._read(session)
                if self._monotonic() - connected_at >= STABLE_SECONDS:
                    failures = 0
            if self.ended or self.fatal is not None:
                return
            if self._stopping.is_set():
                break
            failures += 1
            self._wait(delay_seconds(failures, self._jitter()))
        self.reason = "stopped"

    def _connect(self) -> Session | None:
        try:
            return self.source.connect()
        except Exception as error:  # noqa: BLE001  # told and counted there
            self._failed(error)
        return None

    def _read(self, session: Session) -> None:
        self.connections += 1
        self.connected = True
        self.reason = ""
        logger.info("connected to %s", self.source.location)
        try:
            self._on_connected()
            was_full = False
            while not self._stopping.is_set():
                items, size = session.read(READ_TIMEOUT_SECONDS)
                if items:
                    self._put(session, items, size)
                    if size < _SMALL_READ_BYTES:
                        session.pause(_PAUSE_SECONDS)
                    # One full read may be what gathered in a pause; two in a row are a burst.
                    full = size >= _FULL_READ_BYTES
                    if full and was_full:
                        self._buffer.burst_until = time.monotonic() + BURST_SECONDS
                    was_full = full
        except Exception as error:  # noqa: BLE001  # told and counted there
            self._failed(error)
            # A connection that ends by itself leaves a gap; a recording that ends does not.
            self.gaps += not self.ended
        finally:
            self.connected = False
            session.close()

    def _put(self, session: Session, items: list[Any], size: int) -> None:
        while not self._buffer.put(items, size, session.unpack):
            if not session.can_wait:
                self.dropped += session.drop(items)
                return
            self._wait(_ROOM_SECONDS)
            if self._stopping.is_set():
                return

    def _failed(self, error: Exception) -> None:
        """Tell an error, and decide whether a new attempt may mend it."""
        location = self.source.location
        if isinstance(error, EndOfStreamError):
            self.ended = True
            self.reason = "the recording has ended"
            logger.info("%s: read to its end", location)
        elif isinstance(error, SourceLostError):
            self._lost(error)
        elif isinstance(error, ExporterError):
            self.fatal, self.reason = error, error.message
            logger.error("%s: %s", location, error.message)
        else:  # a driver's own surprise must not end the thread
            logger.error("%s: unexpected", location, exc_info=error)
            self._lost(SourceLostError(f"unexpected {type(error).__name__}"))

    def _lost(self, error: SourceLostError) -> None:
        self.connected = False
        if error.message != self.reason:  # say each state once, not at every attempt
            self.reason = error.message
            logger.warning("%s: %s; trying again", self.source.location, error.message)


def delay_seconds(failures: int, jitter: float) -> float:
    """Return how long to wait before an attempt, after this many failures.

    Doubles up to a cap; ``jitter`` (0 to 1) takes up to half of it away, so that exporters which
    lost one broker together do not come back together.
    """
    delay = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 10))
    return delay * (1.0 - jitter / 2.0)
