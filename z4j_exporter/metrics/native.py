"""The native profile: task families by task and queue."""

from collections import defaultdict
from collections.abc import Mapping

from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.catalogue import tasks as c
from z4j_exporter.metrics.catalogue.workers import WORKER_FAMILIES
from z4j_exporter.metrics.labels import OVERFLOW, clean
from z4j_exporter.metrics.living import LivingWorkers
from z4j_exporter.metrics.rows import Rows
from z4j_exporter.metrics.store import (
    Cells,
    CounterCell,
    Family,
    FamilySnapshot,
    HistogramCell,
    Store,
    label_text,
    with_buckets,
)
from z4j_exporter.metrics.workers import WorkerMetrics
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import (
    UNKNOWN_TASK,
    TaskKind,
    TaskTransition,
    TraceRef,
    Transition,
    WorkerTransition,
)

_PLAIN: dict[TaskKind, Family] = {
    "sent": c.TASK_SENT,
    "received": c.TASK_RECEIVED,
    "started": c.TASK_STARTED,
    "succeeded": c.TASK_SUCCEEDED,
    "cancelled": c.TASK_CANCELLED,
    "unseen": c.TASK_UNSEEN,
}
#: Families with a detail label, and the values that are there from the start.
_DETAILED: dict[TaskKind, tuple[Family, tuple[str, ...]]] = {
    "failed": (c.TASK_FAILED, ("",)),
    "retried": (c.TASK_RETRIED, ("",)),
    "rejected": (c.TASK_REJECTED, ("false", "true")),
    "revoked": (c.TASK_REVOKED, ("revoked", "terminated", "expired")),
    "lost": (c.TASK_LOST, ("worker_lost", "timeout")),
}


class _Row:
    """The cells of one (task, queue[, worker]): found once, then written without a lookup."""

    __slots__ = (
        "attempts",
        "details",
        "end_to_end",
        "labels",
        "plain",
        "prefetch_wait",
        "queue_wait",
        "runtime",
    )

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.plain: dict[str, CounterCell] = {}
        self.details: dict[tuple[str, str], CounterCell] = {}
        # Made with their first observation; those with an outcome, by it.
        self.queue_wait: HistogramCell | None = None
        self.prefetch_wait: HistogramCell | None = None
        self.runtime: dict[str, HistogramCell] = {}
        self.end_to_end: dict[str, HistogramCell] = {}
        self.attempts: dict[str, HistogramCell] = {}


class NativeProfile:
    """Counts transitions under the project's own names."""

    name = "native"

    def __init__(
        self,
        store: Store,
        rules: LabelRules | None = None,
        *,
        task_worker_label: bool = False,
        buckets: Mapping[str, tuple[float, ...]] | None = None,
    ) -> None:
        self.store = store
        self._rules = rules or LabelRules()
        self._with_worker = task_worker_label
        buckets = buckets or {}

        def declared(family: Family) -> Family:
            family = with_buckets(family, buckets.get(family.name))
            return c.with_worker(family) if task_worker_label else family

        self._plain: dict[str, Cells[CounterCell]] = {
            kind: store.counter(declared(family)) for kind, family in _PLAIN.items()
        }
        self._detailed: dict[str, Cells[CounterCell]] = {
            kind: store.counter(declared(family)) for kind, (family, _) in _DETAILED.items()
        }
        self._runtime = store.histogram(declared(c.TASK_RUNTIME))
        self._queue_wait = store.histogram(declared(c.TASK_QUEUE_WAIT))
        self._prefetch_wait = store.histogram(declared(c.TASK_PREFETCH_WAIT))
        self._end_to_end = store.histogram(declared(c.TASK_END_TO_END))
        self._attempts = store.histogram(declared(c.TASK_ATTEMPTS))
        self._histograms: tuple[Cells[HistogramCell], ...] = (
            self._runtime,
            self._queue_wait,
            self._prefetch_wait,
            self._end_to_end,
            self._attempts,
        )
        self._in_progress = declared(c.TASKS_IN_PROGRESS)
        self._oldest = declared(c.TASK_OLDEST)
        self._rows: Rows[tuple[str, ...], _Row] = Rows(store.max_series, self._label, self._row)
        self._overflow: _Row | None = None
        self._workers = WorkerMetrics(store, self._rules)
        self._living = LivingWorkers(self._rules.worker)

    def take(self, transition: Transition) -> None:
        """Count one transition."""
        if isinstance(transition, WorkerTransition):
            if self._living.take(transition):
                self._purge()
            return
        step = transition
        kind = step.kind
        if kind != "sent":
            self._workers.count(step.worker, kind)
        if step.repeat:
            return
        key: tuple[str, ...] = (step.name, step.queue)
        if self._with_worker:
            # A client has a new nodename with every process: it would be a series each.
            key = (*key, "" if kind == "sent" else step.worker)
        row = self._rows.get(key) or self._overflowing()
        cell = row.plain.get(kind)
        if cell is None:
            cell = row.details.get((kind, step.detail)) or self._detail(row, kind, step.detail)
        cell.value += 1
        if step.queue_wait is not None:
            if row.queue_wait is None:
                row.queue_wait = self._queue_wait.child(*row.labels)
            row.queue_wait.observe(step.queue_wait)
        if step.prefetch_wait is not None:
            if row.prefetch_wait is None:
                row.prefetch_wait = self._prefetch_wait.child(*row.labels)
            row.prefetch_wait.observe(step.prefetch_wait)
        if step.runtime is not None:
            outcome = step.runtime_outcome
            by_outcome = row.runtime.get(outcome) or self._add(
                row, row.runtime, self._runtime, outcome
            )
            by_outcome.observe(step.runtime)
        if step.end_to_end is not None:
            outcome = step.outcome
            by_outcome = row.end_to_end.get(outcome) or self._add(
                row, row.end_to_end, self._end_to_end, outcome
            )
            by_outcome.observe(step.end_to_end)
        if step.attempts is not None:
            outcome = step.outcome
            by_outcome = row.attempts.get(outcome) or self._add(
                row, row.attempts, self._attempts, outcome
            )
            by_outcome.observe(step.attempts)
        if step.trace is not None:
            self._point(row, cell, step, step.trace)

    def _point(self, row: _Row, cell: CounterCell, step: TaskTransition, span: TraceRef) -> None:
        """Let what this step was counted in point to its span: failures, and all durations."""
        keep, at = self.store.exemplars, step.timestamp
        if step.kind in _DETAILED:
            keep.count(cell, at, span)
        if step.queue_wait is not None and row.queue_wait is not None:
            keep.observe(row.queue_wait, step.queue_wait, at, span)
        if step.prefetch_wait is not None and row.prefetch_wait is not None:
            keep.observe(row.prefetch_wait, step.prefetch_wait, at, span)
        if step.runtime is not None:
            keep.observe(row.runtime[step.runtime_outcome], step.runtime, at, span)
        if step.end_to_end is not None:
            keep.observe(row.end_to_end[step.outcome], step.end_to_end, at, span)

    def _add(
        self,
        row: _Row,
        cells: dict[str, HistogramCell],
        family: Cells[HistogramCell],
        outcome: str,
    ) -> HistogramCell:
        """Make the cell of an outcome."""
        cell = cells[outcome] = family.child(*row.labels, outcome)
        return cell

    def _label(self, key: tuple[str, ...]) -> tuple[str, ...]:
        labels = (self._rules.task(key[0]), clean(key[1]))
        return (*labels, self._rules.worker(key[2])) if self._with_worker else labels

    def _overflowing(self) -> _Row:
        """Return the row of all combinations beyond the cap."""
        self.store.dropped[c.TASK_RECEIVED.name] += 1
        if self._overflow is None:
            self._overflow = self._row((OVERFLOW, *("" for _ in self._in_progress.labels[1:-1])))
        return self._overflow

    def _row(self, labels: tuple[str, ...]) -> _Row:
        """Make the row of a new combination, its counters at 0."""
        row = _Row(labels)
        for kind, cells in self._plain.items():
            row.plain[kind] = cells.child(*labels)
        for kind, (_, details) in _DETAILED.items():
            for detail in details:
                row.details[kind, detail] = self._detailed[kind].child(*labels, detail)
        return row

    def _detail(self, row: _Row, kind: TaskKind, detail: str) -> CounterCell:
        """Make a detail's cell; what made one attempt retry may make the last one fail."""
        label = clean(detail)
        cell = self._detailed[kind].child(*row.labels, label)
        if not cell.overflow:
            row.details[kind, detail] = cell
            if kind in ("failed", "retried"):
                other: TaskKind = "retried" if kind == "failed" else "failed"
                self._detailed[other].child(*row.labels, label)
        return cell

    def _purge(self) -> None:
        """Drop the series of workers that are long gone."""
        gone = self._living.gone()
        if not gone:
            return
        self._workers.remove(gone)
        if self._with_worker:
            for cells in (*self._plain.values(), *self._detailed.values()):
                cells.remove("worker", gone)
            for histogram in self._histograms:
                histogram.remove("worker", gone)
            self._rows.remove(lambda labels: labels[2] in gone)

    # -- collecting --------------------------------------------------------------------------

    def collect(self, cluster: Cluster, wall: float, floor: int) -> list[FamilySnapshot]:
        """Copy all families; those of tasks first."""
        self._purge()
        snapshots = [cells.snapshot(floor, wall) for cells in self._plain.values()]
        snapshots += [cells.snapshot(floor, wall) for cells in self._detailed.values()]
        snapshots += [cells.snapshot(floor, wall) for cells in self._histograms]
        snapshots += self._progress(cluster, wall)
        return snapshots + self._workers.collect(cluster, floor)

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return [
            *(cells.family for cells in self._plain.values()),
            *(cells.family for cells in self._detailed.values()),
            *(cells.family for cells in self._histograms),
            self._in_progress,
            self._oldest,
            *WORKER_FAMILIES,
        ]

    def _progress(self, cluster: Cluster, wall: float) -> list[FamilySnapshot]:
        """Count the tasks that have not ended, and find the oldest, by looking at each."""
        counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        oldest: dict[tuple[str, ...], float] = {}
        for task in cluster.tasks.table.active.values():
            key = (*self._labels_of(task), task.state())
            counts[key] += 1
            since = task.since()
            if since is not None:
                oldest[key] = min(since, oldest.get(key, since))
        # A state that emptied goes to 0, not away: the row's tasks may come back to it.
        overflow = [self._overflow] if self._overflow is not None else []
        for row in [*self._rows.values(), *overflow]:
            for state in ("waiting", "reserved", "running"):
                counts[(*row.labels, state)] += 0
        names = self._in_progress.labels
        return [
            FamilySnapshot(
                self._in_progress, [(label_text(names, key), n) for key, n in counts.items()]
            ),
            FamilySnapshot(
                self._oldest,
                [(label_text(names, key), max(0.0, wall - t)) for key, t in oldest.items()],
            ),
        ]

    def _labels_of(self, task: Task) -> tuple[str, ...]:
        worker = next((a.worker for a in reversed(task.attempts) if a.worker), "")
        name, queue = task.name or UNKNOWN_TASK, task.queue or ""
        key = (name, queue, worker) if self._with_worker else (name, queue)
        row = self._rows.known(key) or self._overflow
        return self._label(key) if row is None else row.labels
