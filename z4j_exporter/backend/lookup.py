"""Looks up the groups of tasks that ended in the result backend, in a thread, at a bounded rate."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from z4j_exporter.backend.base import ResultReader
from z4j_exporter.backend.metadata import task_group
from z4j_exporter.backend.open import open_result_reader
from z4j_exporter.config import Settings
from z4j_exporter.errors import ExporterError

logger = logging.getLogger(__name__)

#: What can become of a lookup. ``dropped``: the queue was full; ``failed``: no answer.
OUTCOMES = ("group", "no_group", "missing", "unreadable", "too_large", "failed", "dropped")
#: Tasks that may wait to be looked up.
MAX_WAITING = 20_000
#: Seconds between two rounds; many tasks are asked for at once, and seldom.
_ROUND_SECONDS = 0.5
#: Tasks of one round, whatever the rate.
_ROUND_TASKS = 1000
#: Seconds that one round may take.
_DEADLINE_SECONDS = 5.0
#: Seconds until the next attempt after a failure: the first, and the most.
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
#: Part by which pauses vary: several exporters shall not ask at the same moment.
_JITTER = 0.2

#: Takes uuid, group id and parent id; called in the lookup's thread.
Learned = Callable[[str, str, str | None], None]


class BackendLookup:
    """Takes ids of tasks, and hands on the groups of those that have one. Never waits to take."""

    def __init__(
        self,
        reader: ResultReader,
        learned: Learned,
        *,
        rate: int,
        monotonic: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._reader = reader
        self._learned = learned
        # Of a slow rate, the rounds are fewer: at least one task each.
        self._each = min(_ROUND_TASKS, max(1, int(rate * _ROUND_SECONDS)))
        self._interval = max(_ROUND_SECONDS, self._each / max(1, rate))
        self._monotonic = monotonic
        self._rand = rand
        # A dict, for its order: a task that is told twice is looked up once.
        self._waiting: dict[str, None] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._trouble = ""
        self._pause = _PAUSE_SECONDS
        self._thread = threading.Thread(target=self._run, name="backend-lookup", daemon=True)

    @property
    def location(self) -> str:
        """Where it looks, without secrets."""
        return self._reader.location

    @property
    def trouble(self) -> str:
        """Why it could not be read last time; "" where it could."""
        return self._trouble

    def look_up(self, uuid: str) -> None:
        """Ask for a task's group, soon. The applier's thread calls it."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                self._counts["dropped"] += 1
                return
            self._waiting[uuid] = None
            if len(self._waiting) == 1:
                self._changed.notify()

    def counts(self) -> dict[str, int]:
        """Return the lookups so far, by outcome."""
        with self._changed:
            return dict(self._counts)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End the thread, waiting for it so long; a backend that hangs is left to itself."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(max(0.0, timeout_seconds))

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def round(self) -> bool:
        """Look up the oldest that wait; returns whether the backend answered. Never raises."""
        with self._changed:
            uuids = [uuid for uuid, _ in zip(self._waiting, range(self._each), strict=False)]
            for uuid in uuids:
                del self._waiting[uuid]
        if not uuids:
            return True
        try:
            found = self._reader.read(uuids, self._monotonic() + _DEADLINE_SECONDS)
            outcomes = Counter(self._tell(uuid, found) for uuid in uuids)
        except ExporterError as error:
            return self._failed(error.message, len(uuids))
        except Exception as error:
            if not self._trouble:
                logger.exception("the lookup in the result backend failed (this is a bug)")
            return self._failed(f"unforeseen: {type(error).__name__}", len(uuids))
        self._succeeded()
        with self._changed:
            self._counts.update(outcomes)
        return True

    def _tell(self, uuid: str, found: dict[str, bytes | None]) -> str:
        if uuid not in found:
            return "missing"
        metadata = found[uuid]
        if metadata is None:
            return "too_large"
        read = task_group(metadata)
        if read is None:
            return "unreadable"
        if read.group_id is None:
            return "no_group"
        self._learned(uuid, read.group_id, read.parent_id)
        return "group"

    def _failed(self, why: str, count: int) -> bool:
        with self._changed:
            self._counts["failed"] += count
        if why != self._trouble:
            logger.warning("the result backend cannot be read: %s", why)
        self._trouble = why
        return False

    def _succeeded(self) -> None:
        if self._trouble:
            logger.info("the result backend can be read again")
        self._trouble = ""

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._stopping)
                # Not at once: a result may be written a moment after the event that tells of it.
                self._wait(self._interval)
                if self._stopping:
                    return
                if self.round():
                    self._pause = _PAUSE_SECONDS
                else:
                    self._wait(self._pause)
                    self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
        finally:
            self._reader.close()

    def _wait(self, seconds: float) -> None:
        varied = seconds * (1.0 + _JITTER * (2.0 * self._rand() - 1.0))
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, varied)


def make_backend_lookup(settings: Settings, learned: Learned) -> BackendLookup | None:
    """Return the lookup of the settings, None where there is nothing to ask; see open.py."""
    reader = open_result_reader(settings)
    if reader is None:
        return None
    return BackendLookup(reader, learned, rate=settings.result_backend_rate)
