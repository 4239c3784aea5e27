"""The profile ``flower``: the six families of Flower's /metrics, so that its dashboard works.

docs/profiles.md says where this is right and Flower is not.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.cap import LeftOut
from z4j_exporter.metrics.labels import OVERFLOW
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
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import UNKNOWN_TASK, Transition, WorkerTransition

_PAIR = ("task", "worker")
_EVENTS = Family(
    "flower_events_total",
    "counter",
    "Number of events",
    ("task", "type", "worker"),
    counts="event",
)
_RUNTIME = Family(
    "flower_task_runtime_seconds", "histogram", "Task runtime", _PAIR, "seconds",
    (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)  # fmt: skip
_PREFETCH_TIME = Family(
    "flower_task_prefetch_time_seconds",
    "gauge",
    "The time the task spent waiting at the celery worker to be executed.",
    _PAIR,
    "seconds",
)
_PREFETCHED = Family(
    "flower_worker_prefetched_tasks",
    "gauge",
    "Number of tasks of given type prefetched at a worker",
    _PAIR,
    counts="task",
)
_ONLINE = Family("flower_worker_online", "gauge", "Worker online status", ("worker",))
_EXECUTING = Family(
    "flower_worker_number_of_currently_executing_tasks",
    "gauge",
    "Number of tasks currently executing at a worker",
    ("worker",),
    counts="task",
)
_FAMILIES = (_EVENTS, _RUNTIME, _PREFETCH_TIME, _PREFETCHED, _ONLINE, _EXECUTING)
#: The tracker's conclusions, which no event stands behind.
_CONCLUSIONS = frozenset({"lost", "unseen"})
#: Kinds that are there from a worker's first event of a task on: Flower's dashboard divides one
#: by the other, and has no line for a task that never failed where there is no 0.
_FROM_THE_START = ("succeeded", "failed")
#: Kinds whose counters point to a span.
_FAILURES = frozenset({"failed", "rejected", "revoked", "retried"})
#: Seconds after which the counters of a client that sends no more go: each process of an
#: application is a client with a nodename of its own.
CLIENT_FORGET_SECONDS = 1800.0


class _Row:
    """What is kept of one (task, worker)."""

    __slots__ = ("events", "labels", "prefetch_time", "received", "runtime")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.events: dict[str, CounterCell] = {}
        self.runtime: HistogramCell | None = None
        #: Seconds the last task waited at the worker; 0 when it has ended, None before any.
        self.prefetch_time: float | None = None
        self.received = False


class FlowerProfile:
    """Counts every task event by worker, type and task."""

    name = "flower"

    def __init__(
        self,
        store: Store,
        rules: LabelRules | None = None,
        *,
        buckets: Mapping[str, tuple[float, ...]] | None = None,
        client_forget_seconds: float = CLIENT_FORGET_SECONDS,
    ) -> None:
        self.store = store
        self._rules = rules or LabelRules()
        self._client_forget_seconds = client_forget_seconds
        self._events: Cells[CounterCell] = store.counter(_EVENTS)
        self._runtime: Cells[HistogramCell] = store.histogram(
            with_buckets(_RUNTIME, (buckets or {}).get(_RUNTIME.name))
        )
        # By name and full nodename, as they are on the wire.
        self._rows: Rows[tuple[str, str], _Row] = Rows(store.max_series, self._label, _Row)
        self._overflow = _Row((OVERFLOW, ""))
        self._workers = LivingWorkers(self._rules.worker)
        self._left_out = LeftOut(store)
        self._sending: set[str] = set()
        # When a client was last seen to send, by worker label; epoch seconds of our clock.
        self._sent_at: dict[str, float] = {}

    def take(self, transition: Transition) -> None:
        """Count one event."""
        if isinstance(transition, WorkerTransition):
            if self._workers.take(transition):
                self._remove(self._workers.gone())
            return
        step = transition
        kind = step.kind
        if kind in _CONCLUSIONS:
            return
        row = self._rows.get((step.name, step.worker))
        if row is None:
            self.store.dropped[_EVENTS.name] += 1
            row = self._overflow
        if kind == "sent":
            if row.labels[1]:
                self._sending.add(row.labels[1])
        elif "failed" not in row.events:
            for known in _FROM_THE_START:
                self._cell(row, known)
        cell = self._cell(row, kind)
        cell.value += 1
        if step.trace is not None and kind in _FAILURES:
            self.store.exemplars.count(cell, step.timestamp, step.trace)
        if kind == "received":
            row.received = True
        elif kind == "started":
            if step.prefetch_wait is not None:
                row.prefetch_time = step.prefetch_wait
        elif kind in ("succeeded", "failed"):
            if row.prefetch_time is not None:
                row.prefetch_time = 0.0
            if kind == "succeeded" and step.runtime is not None:
                if row.runtime is None:
                    row.runtime = self._runtime.child(*row.labels)
                row.runtime.observe(step.runtime)
                if step.trace is not None:
                    self.store.exemplars.observe(
                        row.runtime, step.runtime, step.timestamp, step.trace
                    )

    def _label(self, key: tuple[str, str]) -> tuple[str, ...]:
        name, worker = key
        task = "" if name == UNKNOWN_TASK else self._rules.task(name)
        return task, self._rules.worker(worker)

    def _cell(self, row: _Row, kind: str) -> CounterCell:
        cell = row.events.get(kind)
        if cell is None:
            task, worker = row.labels
            cell = self._events.child(task, f"task-{kind}", worker)
            if not cell.overflow:
                row.events[kind] = cell
        return cell

    def _remove(self, gone: set[str]) -> None:
        if not gone:
            return
        self._events.remove("worker", gone)
        self._runtime.remove("worker", gone)
        self._rows.remove(lambda labels: labels[1] in gone)

    def _silent_clients(self, wall: float) -> set[str]:
        """Return the clients that have not sent for long: they are not coming back."""
        for label in self._sending:
            self._sent_at[label] = wall
        self._sending.clear()
        silent = {
            label
            for label, sent_at in self._sent_at.items()
            if wall - sent_at >= self._client_forget_seconds
        }
        if not silent:
            return silent
        for label in silent:
            del self._sent_at[label]
        # Who does more than to send is a worker, though it may send no heartbeats.
        return silent - {
            row.labels[1] for row in self._rows.values() if row.events.keys() != {"sent"}
        }

    # -- collecting --------------------------------------------------------------------------

    def collect(self, cluster: Cluster, wall: float, floor: int) -> list[FamilySnapshot]:
        """Copy all families."""
        self._remove(self._workers.gone() | self._silent_clients(wall))
        rows = [*self._rows.values(), self._overflow]
        prefetched = {row.labels: 0 for row in rows if row.received}
        for task in cluster.tasks.table.active.values():
            for key in _prefetched(task):
                row = self._rows.known(key)
                if row is not None and row.received:
                    prefetched[row.labels] += 1
        online: defaultdict[str, int] = defaultdict(int)
        executing: dict[str, int] = {}
        for worker in cluster.workers:
            label = self._rules.worker(worker.name)
            online[label] |= worker.up
            if worker.active is not None:
                executing[label] = executing.get(label, 0) + (worker.active if worker.up else 0)
        times = ((row.labels, row.prefetch_time) for row in rows if row.prefetch_time is not None)
        return [
            self._events.snapshot(floor, wall),
            self._runtime.snapshot(floor, wall),
            _gauge(_PREFETCH_TIME, times),
            _gauge(_PREFETCHED, prefetched.items()),
            self._by_worker(_ONLINE, online),
            self._by_worker(_EXECUTING, executing),
        ]

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return [self._runtime.family if f is _RUNTIME else f for f in _FAMILIES]

    def _by_worker(self, family: Family, values: Mapping[str, int]) -> FamilySnapshot:
        samples = [(label_text(family.labels, (worker,)), n) for worker, n in values.items()]
        return self._left_out.cut(family, samples)


def _prefetched(task: Task) -> Iterable[tuple[str, str]]:
    """Return name and worker of each attempt that a worker holds and has not started."""
    return [
        (attempt.name or task.name or UNKNOWN_TASK, attempt.worker)
        for attempt in task.attempts
        if attempt.ended is None
        and attempt.received is not None
        and attempt.started is None
        and attempt.eta is None  # it waits for its time, not for a free process
        and attempt.worker is not None
    ]


def _gauge(family: Family, values: Iterable[tuple[tuple[str, ...], float]]) -> FamilySnapshot:
    return FamilySnapshot(family, [(label_text(family.labels, k), v) for k, v in values])
