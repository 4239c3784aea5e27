"""The native profile's worker families, by full nodename."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.cap import LeftOut
from z4j_exporter.metrics.catalogue import workers as c
from z4j_exporter.metrics.labels import clean
from z4j_exporter.metrics.store import (
    Cells,
    CounterCell,
    Family,
    FamilySnapshot,
    Sample,
    Store,
    label_text,
)
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.workers import Worker

_PERIODS = ("1m", "5m", "15m")

_Read = tuple[Family, list[Sample]]


class WorkerMetrics:
    """Counts task transitions by worker, and reads the rest from the tracker when collected.

    Where a rewriting rule gives several workers one label, their values are joined.
    """

    def __init__(self, store: Store, rules: LabelRules) -> None:
        self._rules = rules
        self._events: Cells[CounterCell] = store.counter(c.WORKER_TASK_EVENTS)
        self._cells: dict[tuple[str, str], CounterCell] = {}
        self._max = store.max_series
        self._left_out = LeftOut(store)

    def count(self, worker: str, state: str) -> None:
        """Count one task transition of a worker."""
        cell = self._cells.get((worker, state))
        if cell is None:
            cell = self._events.child(self._rules.worker(worker), state)
            if len(self._cells) >= self._max:
                self._cells.clear()
            if not cell.overflow:
                self._cells[worker, state] = cell
        cell.value += 1

    def remove(self, gone: Collection[str]) -> None:
        """Drop the series of worker labels that nobody has any more."""
        self._events.remove("worker", gone)
        self._cells.clear()

    def collect(self, cluster: Cluster, floor: int) -> list[FamilySnapshot]:
        """Copy all worker families: of the workers that are known longest, up to the cap."""
        groups: defaultdict[str, list[Worker]] = defaultdict(list)
        for worker in cluster.workers:
            groups[self._rules.worker(worker.name)].append(worker)
        read = [
            _gauge(c.WORKER_UP, groups, lambda w: int(w.up), max),
            _gauge(c.WORKER_LAST_HEARTBEAT, groups, lambda w: w.heartbeat_timestamp, max),
            _gauge(c.WORKER_ACTIVE, groups, lambda w: w.active, sum),
            _gauge(c.WORKER_PROCESSED, groups, lambda w: w.processed, sum),
            _load(groups),
            _gauge(c.WORKER_CLOCK_SKEW, groups, lambda w: w.clock_skew, _farthest),
            _info(groups),
            _gauge(c.WORKER_MISSING, groups, lambda w: w.missing_events, sum),
        ]
        up, *others = [self._left_out.cut(family, samples) for family, samples in read]
        return [up, self._events.snapshot(floor), *others]


def _gauge(
    family: Family,
    groups: dict[str, list[Worker]],
    read: Callable[[Worker], float | None],
    join: Callable[[Iterable[float]], float],
) -> _Read:
    """Read one value of each worker; what a worker never told is absent."""
    samples: list[Sample] = []
    for label, workers in groups.items():
        values = [value for value in map(read, workers) if value is not None]
        if values:
            samples.append((label_text(("worker",), (label,)), join(values)))
    return family, samples


def _load(groups: dict[str, list[Worker]]) -> _Read:
    samples: list[Sample] = []
    for label, workers in groups.items():
        for position, period in enumerate(_PERIODS):
            values = [
                w.loadavg[position] for w in workers if w.loadavg and len(w.loadavg) > position
            ]
            if values:
                text = label_text(c.WORKER_LOAD.labels, (label, period))
                samples.append((text, max(values)))
    return c.WORKER_LOAD, samples


def _info(groups: dict[str, list[Worker]]) -> _Read:
    """Say what each worker is: one series for each label, or a join on it would fail."""
    samples: list[Sample] = []
    for label, workers in groups.items():
        alive = [w for w in workers if w.up] or workers
        told = (
            _host(label, workers),
            _agreed(w.sw_ident for w in alive),
            _agreed(w.sw_ver for w in alive),
            _agreed(w.sw_sys for w in alive),
            _agreed(w.pool for w in alive),
        )
        samples.append((label_text(c.WORKER_INFO.labels, (label, *told)), 1))
    return c.WORKER_INFO, samples


def _host(label: str, workers: list[Worker]) -> str:
    """Return the host part of a label; of a rewritten one that has none, nothing."""
    _, at, host = label.rpartition("@")
    return host if at or any(clean(w.name) == label for w in workers) else ""


def _agreed(values: Iterable[str | None]) -> str:
    """Return what all who told say, cleaned; nothing where they differ."""
    told = {clean(value) for value in values if value}
    return told.pop() if len(told) == 1 else ""


def _farthest(values: Iterable[float]) -> float:
    return max(values, key=abs)
