"""Holds the values of counters and histograms; the applier thread alone writes them.

A series that is born between two scrapes is shown as 0 to a known scraper's next scrape, and
with its value from then on: ``increase()`` sees nothing of a series whose first sample is 1
already, so the first failure of its kind would never show.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from z4j_exporter.metrics.exemplars import Exemplar, Exemplars, current
from z4j_exporter.metrics.labels import OVERFLOW, escape

#: Series that one family may have, unless told otherwise.
DEFAULT_MAX_SERIES = 10_000
#: The most that one observation adds to a histogram's sum, 31 years of seconds: a broken clock or a
#: hostile event must not make the sum infinite, which it would stay for ever.
MAX_OBSERVED = 1e9
#: Labels whose values this program chooses from a short list: they cannot overflow.
FIXED_LABELS = frozenset({"outcome", "reason", "requeued", "state", "type", "period", "signal"})
#: Labels that say what was left out, where a family has one of them.
_OVERFLOWING = ("task", "name")


@dataclass(frozen=True)
class Family:
    """One metric family, as data. ``name`` is what stands on the wire, with ``_total`` and unit."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    #: Upper bounds of a histogram, without +Inf.
    buckets: tuple[float, ...] = ()
    #: Labels, beside FIXED_LABELS, whose values are not from the wire: a user's static labels.
    fixed: frozenset[str] = frozenset()
    #: What one of it is, in the singular, where it counts something: ``task``, ``message``.
    counts: str = ""
    #: A counter that a worker or the broker keeps: it began before this process did.
    elsewhere: bool = False


def with_buckets(family: Family, buckets: tuple[float, ...] | None) -> Family:
    """Return a histogram family with other buckets, if any are given."""
    return family if buckets is None else replace(family, buckets=buckets)


class CounterCell:
    """The value of one counter series. ``overflow``: of all those beyond the cap."""

    __slots__ = ("born", "exemplar", "labels", "overflow", "value")

    def __init__(self, labels: str, born: int, overflow: bool = False) -> None:
        self.labels = labels
        self.born = born
        self.overflow = overflow
        self.value: float = 0
        self.exemplar: Exemplar | None = None


class HistogramCell:
    """The buckets of one histogram series: one count for each bound, and one for the rest."""

    __slots__ = ("born", "bounds", "counts", "exemplars", "labels", "overflow", "sum")

    def __init__(
        self, labels: str, born: int, bounds: tuple[float, ...], overflow: bool = False
    ) -> None:
        self.labels = labels
        self.born = born
        self.overflow = overflow
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        #: By the position of their bucket; None while there are none.
        self.exemplars: dict[int, Exemplar] | None = None

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value if value < MAX_OBSERVED else MAX_OBSERVED


@dataclass(frozen=True)
class HistogramValue:
    """A snapshot of a histogram: the count of each bucket by itself, not added up."""

    counts: Sequence[int]
    sum: float
    #: By the position of their bucket in ``counts``.
    exemplars: Mapping[int, Exemplar] | None = None


#: A series' labels as they stand between the braces, and its value.
Sample = tuple[str, float | HistogramValue]


@dataclass(frozen=True)
class FamilySnapshot:
    """A family with its samples at one moment."""

    family: Family
    samples: Sequence[Sample]
    #: Those of a counter family, by the labels of their sample.
    exemplars: Mapping[str, Exemplar] | None = None


def label_text(names: Sequence[str], values: Sequence[str]) -> str:
    """Return ``a="x",b="y"``; empty values are left out, as Prometheus treats them alike."""
    return ",".join(
        f'{name}="{escape(value)}"' for name, value in zip(names, values, strict=True) if value
    )


Cell = TypeVar("Cell", CounterCell, HistogramCell)


class Store:
    """All counter and histogram families of one registry.

    ``serial`` numbers series in the order of their birth; see the module's docstring.
    """

    def __init__(self, max_series: int = DEFAULT_MAX_SERIES) -> None:
        self.max_series = max_series
        self.serial = 0
        #: Updates that went to the overflow series, by family.
        self.dropped: Counter[str] = Counter()
        self.exemplars = Exemplars()

    def counter(self, family: Family) -> "Cells[CounterCell]":
        """Return the cells of a counter family."""
        return Cells(self, family, CounterCell)

    def histogram(self, family: Family) -> "Cells[HistogramCell]":
        """Return the cells of a histogram family."""

        def make(labels: str, born: int, overflow: bool) -> HistogramCell:
            return HistogramCell(labels, born, family.buckets, overflow)

        return Cells(self, family, make)


class Cells(Generic[Cell]):
    """The series of one family, at most ``max_series`` of them."""

    def __init__(
        self, store: Store, family: Family, make: Callable[[str, int, bool], Cell]
    ) -> None:
        self.family = family
        self._store = store
        self._make: Callable[[str, int, bool], Cell] = make
        self._cells: dict[tuple[str, ...], Cell] = {}

    def __len__(self) -> int:
        return len(self._cells)

    def child(self, *values: str) -> Cell:
        """Return the cell of these label values, or the overflow's beyond the cap.

        An overflow's cell is to be asked for each time, not to be kept: so each update that goes
        there is counted, and what hostile values there are is not remembered.
        """
        cell = self._cells.get(values)
        if cell is None:
            overflow = len(self._cells) >= self._store.max_series
            if overflow:
                self._store.dropped[self.family.name] += 1
                values = overflow_values(self.family, values)
                if values in self._cells:
                    return self._cells[values]
            self._store.serial += 1
            text = label_text(self.family.labels, values)
            cell = self._cells[values] = self._make(text, self._store.serial, overflow)
        return cell

    def remove(self, label: str, gone: Collection[str]) -> None:
        """Drop every series with one of these values of this label."""
        position = self.family.labels.index(label)
        for values in [v for v in self._cells if v[position] in gone]:
            self._store.exemplars.forget(_exemplars_of(self._cells.pop(values)))

    def snapshot(self, floor: int, wall: float = math.inf) -> FamilySnapshot:
        """Copy the values; series born after ``floor`` show as 0, and without exemplars.

        ``wall`` is the time, epoch seconds: exemplars from the future are left out.
        """
        samples: list[Sample] = []
        exemplars: dict[str, Exemplar] = {}
        for cell in self._cells.values():
            if isinstance(cell, CounterCell):
                samples.append((cell.labels, cell.value if cell.born <= floor else 0))
                exemplar = cell.exemplar
                if exemplar is not None and cell.born <= floor and current(exemplar, wall):
                    exemplars[cell.labels] = exemplar
            elif cell.born <= floor:
                kept = cell.exemplars and {
                    bucket: exemplar
                    for bucket, exemplar in cell.exemplars.items()
                    if current(exemplar, wall)
                }
                samples.append((cell.labels, HistogramValue(cell.counts.copy(), cell.sum, kept)))
            else:
                samples.append((cell.labels, HistogramValue([0] * len(cell.counts), 0.0)))
        return FamilySnapshot(self.family, samples, exemplars or None)


def _exemplars_of(cell: CounterCell | HistogramCell) -> int:
    if isinstance(cell, CounterCell):
        return int(cell.exemplar is not None)
    return len(cell.exemplars or ())


def overflow_values(family: Family, values: Sequence[str]) -> tuple[str, ...]:
    """Return the label values of the overflow series: only what is not from the wire stays."""
    fixed = FIXED_LABELS | family.fixed
    kept = {n: v if n in fixed else "" for n, v in zip(family.labels, values, strict=True)}
    free = [name for name in family.labels if name not in fixed]
    for name in [*(n for n in _OVERFLOWING if n in free), *free][:1]:
        kept[name] = OVERFLOW
    return tuple(kept.values())
