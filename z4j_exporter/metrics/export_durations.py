"""Counts how long OTLP requests took: written by the threads that send, read by a scrape."""

import threading
from collections.abc import Iterable
from typing import Literal

from z4j_exporter.metrics.catalogue.exporter import OTLP_EXPORT_DURATION
from z4j_exporter.metrics.store import FamilySnapshot, HistogramCell, HistogramValue, label_text

Signal = Literal["traces", "metrics"]
#: ``failed`` may be tried again, ``refused`` may not.
ExportOutcome = Literal["ok", "failed", "refused"]
_OUTCOMES: tuple[ExportOutcome, ...] = ("ok", "failed", "refused")


class ExportDurations:
    """One histogram with a lock: a few requests a second write it, from several threads."""

    def __init__(self, signals: Iterable[Signal]) -> None:
        self._lock = threading.Lock()
        # All there from the start, at 0: the first failure is to be seen as an increase.
        self._cells = {
            (signal, outcome): HistogramCell(
                label_text(OTLP_EXPORT_DURATION.labels, (signal, outcome)),
                0,
                OTLP_EXPORT_DURATION.buckets,
            )
            for signal in signals
            for outcome in _OUTCOMES
        }

    def observe(self, signal: Signal, outcome: ExportOutcome, seconds: float) -> None:
        """Count one request. Raises KeyError for a signal that was not announced."""
        with self._lock:
            self._cells[signal, outcome].observe(seconds)

    def snapshot(self) -> FamilySnapshot:
        """Copy the values."""
        with self._lock:
            return FamilySnapshot(
                OTLP_EXPORT_DURATION,
                [
                    (cell.labels, HistogramValue(cell.counts.copy(), cell.sum))
                    for cell in self._cells.values()
                ],
            )
