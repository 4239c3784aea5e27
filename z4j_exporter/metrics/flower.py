"""The profile ``flower``: the six families of Flower's /metrics, so that its dashboard works.

docs/profiles.md says where this is right and Flower is not.
"""

from collections import defaultdict
from collections.abc import Mapping

from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.catalogue import with_buckets
from z4j_exporter.metrics.store import (
    Cells,
    CounterCell,
    Family,
    FamilySnapshot,
    HistogramCell,
    Store,
    label_text,
)
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.transitions import UNKNOWN_TASK, Transition, WorkerTransition

_EVENTS = Family("flower_events_total", "counter", "Number of events", ("worker", "type", "task"))
_RUNTIME = Family(
    "flower_task_runtime_seconds", "histogram", "Task runtime", ("worker", "task"), "seconds",
    (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)  # fmt: skip
_PREFETCH_TIME = Family(
    "flower_task_prefetch_time_seconds",
    "gauge",
    "The time the task spent waiting at the celery worker to be executed.",
    ("worker", "task"),
    "seconds",
)
_PREFETCHED = Family(
    "flower_worker_prefetched_tasks",
    "gauge",
    "Number of tasks of given type prefetched at a worker",
    ("worker", "task"),
)
_ONLINE = Family("flower_worker_online", "gauge", "Worker online status", ("worker",))
_EXECUTING = Family(
    "flower_worker_number_of_currently_executing_tasks",
    "gauge",
    "Number of tasks currently executing at a worker",
    ("worker",),
)
_FAMILIES = (_EVENTS, _RUNTIME, _PREFETCH_TIME, _PREFETCHED, _ONLINE, _EXECUTING)
#: The tracker's conclusions, which no event stands behind.
_CONCLUSIONS = frozenset({"lost", "unseen"})


class FlowerProfile:
    """Counts every task event by worker, type and task."""

    name = "flower"

    def __init__(
        self,
        store: Store,
        rules: LabelRules | None = None,
        *,
        buckets: Mapping[str, tuple[float, ...]] | None = None,
    ) -> None:
        self.store = store
        self._rules = rules or LabelRules()
        self._events: Cells[CounterCell] = store.counter(_EVENTS)
        self._runtime: Cells[HistogramCell] = store.histogram(
            with_buckets(_RUNTIME, (buckets or {}).get(_RUNTIME.name))
        )
        self._cells: dict[tuple[str, str, str], CounterCell] = {}
        # Seconds the last task waited at the worker; 0 when it has ended. By (worker, task) label.
        self._prefetch_time: dict[tuple[str, str], float] = {}
        self._seen: set[tuple[str, str]] = set()

    def take(self, transition: Transition) -> None:
        """Count one event."""
        if isinstance(transition, WorkerTransition):
            if transition.kind == "forgotten":
                self._forget(transition.worker)
            return
        step = transition
        if step.kind in _CONCLUSIONS:
            return
        key = (step.worker, step.kind, step.name)
        cell = self._cells.get(key)
        worker, task = self._labels(step.worker, step.name)
        if cell is None:
            cell = self._events.child(worker, f"task-{step.kind}", task)
            if len(self._cells) < self.store.max_series:
                self._cells[key] = cell
        cell.value += 1
        if step.runtime is not None and step.kind == "succeeded":
            self._runtime.child(worker, task).observe(step.runtime)
        pair = (worker, task)
        if step.kind == "received" and len(self._seen) < self.store.max_series:
            self._seen.add(pair)
        if step.prefetch_wait is not None and pair in self._seen:
            self._prefetch_time[pair] = step.prefetch_wait
        elif step.kind in ("succeeded", "failed") and pair in self._prefetch_time:
            self._prefetch_time[pair] = 0.0

    def _labels(self, worker: str, name: str) -> tuple[str, str]:
        return self._rules.worker(worker), "" if name == UNKNOWN_TASK else self._rules.task(name)

    def _forget(self, nodename: str) -> None:
        worker = self._rules.worker(nodename)
        self._events.remove("worker", worker)
        self._runtime.remove("worker", worker)
        self._cells = {k: cell for k, cell in self._cells.items() if k[0] != nodename}
        self._seen = {pair for pair in self._seen if pair[0] != worker}
        self._prefetch_time = {
            pair: time for pair, time in self._prefetch_time.items() if pair[0] != worker
        }

    def collect(self, cluster: Cluster, wall: float, floor: int) -> list[FamilySnapshot]:  # noqa: ARG002  # Profile's signature
        """Copy all families."""
        prefetched: defaultdict[tuple[str, str], int] = defaultdict(
            int, dict.fromkeys(self._seen, 0)
        )
        for task in cluster.tasks.table.active.values():
            for attempt in task.attempts:
                if (
                    attempt.ended is None
                    and attempt.received is not None
                    and attempt.started is None
                    and attempt.eta is None
                    and attempt.worker is not None
                ):
                    pair = self._labels(attempt.worker, attempt.name or task.name or UNKNOWN_TASK)
                    if pair in self._seen:
                        prefetched[pair] += 1
        online: dict[str, int] = {}
        executing: dict[str, int] = {}
        for worker in cluster.workers:
            label = self._rules.worker(worker.name)
            online[label] = max(online.get(label, 0), int(worker.up))
            if worker.active is not None:
                executing[label] = executing.get(label, 0) + worker.active
        return [
            self._events.snapshot(floor),
            self._runtime.snapshot(floor),
            _pairs(_PREFETCH_TIME, self._prefetch_time),
            _pairs(_PREFETCHED, prefetched),
            _singles(_ONLINE, online),
            _singles(_EXECUTING, executing),
        ]

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return [self._runtime.family if f is _RUNTIME else f for f in _FAMILIES]


def _pairs(family: Family, values: Mapping[tuple[str, str], float]) -> FamilySnapshot:
    return FamilySnapshot(family, [(label_text(family.labels, k), v) for k, v in values.items()])


def _singles(family: Family, values: Mapping[str, float]) -> FamilySnapshot:
    return FamilySnapshot(family, [(label_text(family.labels, (k,)), v) for k, v in values.items()])
