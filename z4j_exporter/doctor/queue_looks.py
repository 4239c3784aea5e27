"""Looks at the queues twice: while the doctor listens, and after it knows who consumes what."""

import time

from z4j_exporter.config import Settings
from z4j_exporter.doctor.application import queue_names
from z4j_exporter.doctor.background import Background
from z4j_exporter.fleet.model import FleetReading
from z4j_exporter.queues.model import QueuePoll
from z4j_exporter.queues.open import open_queue_reader
from z4j_exporter.queues.poller import QueuePoller
from z4j_exporter.queues.select import KnownNames


class QueueLooks:
    """The looks at the queues of one examination; the first begins at once.

    Celery's default queue and the application's are asked for by name: where a broker cannot
    list its queues, a consumer there is the only sign of a worker that is busy.

    Raises AppImportError, ConfigError, BrokerUrlError or FileError for what cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._expected = {settings.default_queue_name, *queue_names(settings.app)}
        self._known = KnownNames(sent=self._expected)
        self._timeout_seconds = settings.queue_poll_timeout
        self._first: Background[QueuePoll] | None = None
        self._reader = open_queue_reader(settings)
        if self._reader is None:
            return
        self._poller = QueuePoller(self._reader, settings, lambda: self._known)
        self._first = Background("queues-first", self._poller.poll_once)

    def finish(self, fleet: FleetReading | None, sent: set[str]) -> tuple[QueuePoll, ...]:
        """Look again, with the queues that are known now; return what the looks found.

        ``sent`` are the queues of task-sent events.
        """
        if self._first is None:
            return ()
        workers = fleet.workers if fleet is not None else ()
        consumed = {name for worker in workers for name in worker.queues or ()}
        self._known = KnownNames(sent=sent | self._expected, consumed=consumed)
        deadline = time.monotonic() + 2 * self._timeout_seconds
        first = self._first.answer(deadline)
        last = Background("queues-again", self._poller.poll_once).answer(deadline)
        return tuple(poll for poll in (first, last) if poll is not None)

    def close(self) -> None:
        """Close the connection; never raises."""
        if self._reader is not None:
            self._reader.close()
