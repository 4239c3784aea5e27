"""Keeps, for each counter and bucket, the newest span of a kept trace that added to it."""

from bisect import bisect_left
from typing import Protocol

from msgspec import Struct

from z4j_exporter.track.transitions import TraceRef

#: Exemplars of one store, at most 30 MB of them. Beyond it only those that are there are renewed.
MAX_EXEMPLARS = 100_000
#: Seconds that a sender's clock may be ahead. Prometheus takes no exemplar of a series that is
#: older than the last it took: one from far in the future would shut out all that follow.
MAX_AHEAD_SECONDS = 300.0


class Exemplar(Struct, frozen=True, gc=False):
    """One observation and its span. ``timestamp``: the event's own, epoch seconds."""

    value: float
    timestamp: float
    trace: TraceRef


class Countable(Protocol):
    """The cell of a counter, as far as exemplars go; see store.CounterCell."""

    exemplar: Exemplar | None


class Observable(Protocol):
    """The cell of a histogram, as far as exemplars go; see store.HistogramCell."""

    exemplars: dict[int, Exemplar] | None

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper bounds of the buckets, without +Inf."""


class Exemplars:
    """Writes exemplars into cells, at most ``limit`` of them. Owned by the applier's thread."""

    def __init__(self, limit: int = MAX_EXEMPLARS) -> None:
        self._limit = limit
        #: How many there are.
        self.held = 0

    def count(self, cell: Countable, timestamp: float, trace: TraceRef) -> None:
        """Keep the span that was counted, unless a newer one is there."""
        if self._wanted(cell.exemplar, timestamp):
            cell.exemplar = Exemplar(1.0, timestamp, trace)

    def observe(self, cell: Observable, value: float, timestamp: float, trace: TraceRef) -> None:
        """Keep the span of an observation for its bucket, unless a newer one is there."""
        kept = cell.exemplars
        if kept is None:
            kept = cell.exemplars = {}
        bucket = bisect_left(cell.bounds, value)
        if self._wanted(kept.get(bucket), timestamp):
            kept[bucket] = Exemplar(value, timestamp, trace)

    def forget(self, count: int) -> None:
        """Make room: so many went with their series."""
        self.held -= count

    def _wanted(self, old: Exemplar | None, timestamp: float) -> bool:
        if old is None:
            if self.held >= self._limit:
                return False
            self.held += 1
            return True
        # A straggler stays out; what came from far in the future does not keep others out.
        return not timestamp < old.timestamp <= timestamp + MAX_AHEAD_SECONDS


def current(exemplar: Exemplar, wall: float) -> bool:
    """Return whether an exemplar may be shown: its time is not too far in the future."""
    return exemplar.timestamp <= wall + MAX_AHEAD_SECONDS
