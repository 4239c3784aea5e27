"""Gathers the status: asks every part, the tracker in small pieces, and keeps it for a moment."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from z4j_exporter import __version__
from z4j_exporter.doctor.model import count
from z4j_exporter.metrics.catalogue.exporter import LAG_BUCKETS
from z4j_exporter.status.connections import Connections
from z4j_exporter.status.fleet import queue_rows
from z4j_exporter.status.lag import quantile
from z4j_exporter.status.parts import Parts
from z4j_exporter.status.tracked import Fields, Tracked
from z4j_exporter.web.status import Status

logger = logging.getLogger(__name__)

#: Seconds for which one picture serves all who ask; and, where making it took long, how many times
#: as long it serves: to be looked at must not become the work.
_FRESH_SECONDS, _FRESH_TIMES = 1.0, 4.0
#: Seconds that the tracker has to answer, in all.
_ANSWER_SECONDS = 1.0

_BUG = "A part of this could not be gathered; the exporter's log says why."

Answer = TypeVar("Answer")


class StatusGatherer:
    """Makes the status when asked, from any thread; one at a time, however many ask."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._began = parts.monotonic()
        self._tracked = Tracked(parts)
        self._connections = Connections(parts)
        self._gathering = threading.Lock()
        self._last: Status | None = None
        self._fresh_until = 0.0
        #: Lets time pass: for the tracker's thread, with the time on its clock.
        self.tick = self._tracked.tick

    def status(self) -> Status:
        """Return the status, not older than a moment; may take a second. Never raises."""
        monotonic = self._parts.monotonic
        with self._gathering:  # who comes meanwhile waits, and gets the same
            began = monotonic()
            if self._last is None or began >= self._fresh_until:
                self._last = self._gather()
                ended = monotonic()
                self._fresh_until = ended + max(_FRESH_SECONDS, _FRESH_TIMES * (ended - began))
            return self._last

    def _gather(self) -> Status:
        p = self._parts
        wall, ready, healthy = p.wall(), p.ready(), p.healthy()
        notes: list[str] = []
        fields: dict[str, Any] = {}
        for part in (
            partial(self._surroundings, wall),
            self._sampled,
            partial(self._from_tracker, wall, notes),
        ):
            try:
                fields |= part()
            except Exception:
                # Whatever it is, the page has to say the rest.
                logger.exception("a part of the status could not be gathered (this is a bug)")
                notes.append(_BUG)
        return Status(
            taken_at=wall,
            version=__version__,
            uptime_seconds=p.monotonic() - self._began,
            ready=ready.ready and healthy.ready,
            reason=healthy.reason if not healthy.ready else ready.reason,
            source=p.source.location,
            examined=p.background.examined,
            traces=p.telemetry.traces is not None,
            notes=tuple(dict.fromkeys(notes)),
            **fields,
        )

    def _surroundings(self, wall: float) -> Fields:
        """Return what the tracker need not be asked for. Its answers on queues tell more."""
        poll, fleet = self._parts.background.queues, self._parts.background.fleet
        facts = fleet.workers if fleet is not None and fleet.success else None
        rows, total = queue_rows(
            poll, facts, lambda r: None if r.oldest_task_ids else r.oldest_age_seconds
        )
        read_at = poll.last_success_at if poll is not None else None
        return {
            "connections": self._connections.all(wall),
            "findings": tuple(self._parts.advice()),
            "queues": rows,
            "queues_total": total,
            "queues_ok": None if poll is None else poll.success,
            "queues_age_seconds": None if read_at is None else max(0.0, wall - read_at),
        }

    def _sampled(self) -> Fields:
        sampler = self._tracked.sampler
        lags = sampler.lags()
        return {
            "rates": sampler.rates(),
            "lag_median_seconds": quantile(0.5, LAG_BUCKETS, lags),
            "lag_p99_seconds": quantile(0.99, LAG_BUCKETS, lags),
        }

    def _from_tracker(self, wall: float, notes: list[str]) -> Fields:
        """Return what the tracker answers in time; note what it does not."""
        tracked, applier = self._tracked, self._parts.applier
        until = self._parts.monotonic() + _ANSWER_SECONDS
        found: dict[str, Any] = {"in_progress_total": len(applier.cluster.tasks.table.active)}
        parts: tuple[Callable[[float], Fields], ...] = (
            partial(self._ask, tracked.figures),
            partial(self._ask, partial(tracked.workers, wall)),
            partial(self._queues, wall),
            partial(self._ask, tracked.ended),
            partial(self._in_progress, wall, notes),
        )
        for part in parts:
            try:
                found |= part(until)
            except TimeoutError:
                notes.append(self._too_late())
                return found
            except Exception:
                if not applier.is_alive():
                    notes.append("The tracker does not run: tasks and workers are not known.")
                    return found
                logger.exception(
                    "the tracker could not tell its part of the status (this is a bug)"
                )
                notes.append(_BUG)
        return found

    def _queues(self, wall: float, until: float) -> Fields:
        """Return the queues: the tracker dates their messages, the rows are made here."""
        poll, tracked = self._parts.background.queues, self._tracked
        facts = self._ask(partial(tracked.consumers, wall), until)
        ages = self._ask(partial(tracked.ages, poll), until) if poll is not None else {}
        rows, total = queue_rows(poll, facts, lambda reading: ages.get(reading.name))
        return {"queues": rows, "queues_total": total}

    def _in_progress(self, wall: float, notes: list[str], until: float) -> Fields:
        """Look at each task in progress, holding the tracker for a moment at a time."""
        tracked = self._tracked
        census = self._ask(partial(tracked.census, wall), until)
        whole = False
        with suppress(TimeoutError):
            while not whole:
                whole = self._ask(partial(census.go_on, self._parts.monotonic), until)
        # There is always time for this one: it is short.
        found = self._ask(
            partial(tracked.counted, census, whole), self._parts.monotonic() + _ANSWER_SECONDS
        )
        if not whole:
            notes.append(
                f"There was time to look at {count(census.looked_at, 'task')} in progress of "
                f"{census.total}, the oldest first."
            )
        return found

    def _ask(self, question: Callable[[], Answer], until: float) -> Answer:
        left = until - self._parts.monotonic()
        if left <= 0:
            raise TimeoutError
        return self._parts.applier.ask(question, left)

    def _too_late(self) -> str:
        waiting = count(self._parts.buffer.size_bytes, "byte")
        return (
            f"The tracker did not answer within {_ANSWER_SECONDS:.0f} s, so tasks and workers are "
            f"not all known: it is busy with events ({waiting} wait)."
        )
