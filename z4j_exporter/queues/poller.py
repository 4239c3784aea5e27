"""Looks at the queues again and again, in a thread of its own; scrapes see the last look."""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from z4j_exporter.config import Settings
from z4j_exporter.errors import ExporterError
from z4j_exporter.queues.base import QueueReader
from z4j_exporter.queues.model import QueuePoll, QueueReading
from z4j_exporter.queues.select import KnownNames, QueueFilter, QueueSelection

logger = logging.getLogger(__name__)

#: The part of the interval by which a pause is longer or shorter, at random: several exporters
#: must not ask one broker at the same moment.
_JITTER: Final = 0.1
#: Intervals that a look may be late until its values count as lost.
_MISSED_INTERVALS: Final = 2


class QueuePoller:
    """Polls the queues every ``queue_poll_interval`` seconds; one look at a time.

    ``names`` tells what queues the rest of the program knows; it is called in the poller's
    thread and may raise: then the queues known before are watched. ``monotonic`` and ``wall`` are
    clocks, ``rand`` gives numbers from 0 to 1.

    Raises ConfigError for a pattern that is none.
    """

    def __init__(
        self,
        reader: QueueReader,
        settings: Settings,
        names: Callable[[], KnownNames],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._reader = reader
        self._names = names
        self._interval = settings.queue_poll_interval
        self._timeout = settings.queue_poll_timeout
        self._filter = QueueFilter(settings)
        self._selection = QueueSelection(self._filter, max_queues=settings.max_series)
        self._monotonic = monotonic
        self._wall = wall
        self._rand = rand
        self._polling = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queue-poller", daemon=True)
        # The last look and when it ended: one object, so that both change together.
        self._last: tuple[QueuePoll, float] | None = None
        self._last_success: float | None = None

    @property
    def latest(self) -> QueuePoll | None:
        """The last look; None before the first has ended.

        A look that is overdue is a failed one: old values are not shown for ever.
        """
        last = self._last
        if last is None:
            return None
        poll, ended = last
        late = self._monotonic() - ended - self._timeout
        if late <= max(self._interval, self._timeout) * _MISSED_INTERVALS:
            return poll
        return replace(
            poll, success=False, readings=(), notes=(), error="the look at the queues is overdue"
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End the thread, waiting for it up to ``timeout_seconds``; a look that hangs is left."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(max(0.0, timeout_seconds))

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def poll_once(self) -> QueuePoll:
        """Look at the queues now, publish what was found and return it; never raises."""
        with self._polling:
            poll = self._poll()
            before = self._last
            self._last = (poll, self._monotonic())
        self._tell(before[0] if before else None, poll)
        return poll

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = self._monotonic()
            self.poll_once()
            pause = self._interval * (1.0 + _JITTER * (2.0 * self._rand() - 1.0))
            # From beginning to beginning; a broker that is slow gets its pause nevertheless.
            took = self._monotonic() - began
            self._stopping.wait(max(pause - took, pause / 4))
        self._reader.close()

    def _poll(self) -> QueuePoll:
        began = self._monotonic()
        readings: tuple[QueueReading, ...] = ()
        notes: tuple[str, ...] = ()
        error = ""
        try:
            self._selection.learn(self._known(), began)
            found = self._reader.read(self._selection.names(), self._monotonic() + self._timeout)
            readings, notes = self._keep(found, self._monotonic()), self._notes()
        except ExporterError as failure:
            error = failure.message
        except Exception as failure:
            # The thread must live on, whatever a broker says.
            error = f"unforeseen: {type(failure).__name__}"
            if self._last is None or self._last[0].error != error:
                logger.exception("the look at the queues failed in a way that was not foreseen")
        finished = self._wall()
        if not error:
            self._last_success = finished
        return QueuePoll(
            success=not error,
            method=self._reader.method,
            duration_seconds=max(0.0, self._monotonic() - began),
            finished_at=finished,
            readings=readings,
            error=error,
            notes=notes,
            last_success_at=self._last_success,
        )

    def _known(self) -> KnownNames:
        try:
            return self._names()
        except Exception as error:  # noqa: BLE001  # what is known already is watched all the same
            logger.warning("the queues in use could not be asked for: %s", type(error).__name__)
            return KnownNames()

    def _keep(self, found: list[QueueReading], now: float) -> tuple[QueueReading, ...]:
        """Return the readings of queues to watch, and remember those queues."""
        asked = set(self._selection.names())
        # An empty queue that was asked for only because it was once known tells nothing new.
        self._selection.find((r.name for r in found if r.name not in asked or _in_use(r)), now)
        return tuple(reading for reading in found if reading.name in self._selection)

    def _notes(self) -> tuple[str, ...]:
        left_out = self._selection.left_out
        if not left_out:
            return tuple(self._reader.notes)
        return (*self._reader.notes, f"{left_out} queues are left out, beyond --max-series")

    def _tell(self, before: QueuePoll | None, poll: QueuePoll) -> None:
        """Log changes only: a broker that is away for a day is two lines."""
        if not poll.success and (before is None or before.error != poll.error):
            logger.warning("the queues cannot be read: %s", poll.error)
        elif poll.success and before is not None and not before.success:
            logger.info("the queues can be read again")
        for note in poll.notes:
            if before is None or note not in before.notes:
                logger.info("queues: %s", note)


def _in_use(reading: QueueReading) -> bool:
    """Return whether a reading shows that the queue is there: an absent one is all zeros."""
    ready = sum((reading.ready or {}).values())
    return bool(ready or reading.unacked or reading.consumers or reading.published)
