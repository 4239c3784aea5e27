"""The profile ``celery-exporter``: a drop-in for danihodovic/celery-exporter.

Names, labels, help texts, buckets and the counting of events are that exporter's, so that its
dashboards, alerts and recording rules work unchanged. Where it loses data, this does not:
docs/profiles.md lists each difference.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.catalogue import with_buckets
from z4j_exporter.metrics.labels import OVERFLOW, clean
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
from z4j_exporter.track.exceptions import UNKNOWN_EXCEPTION
from z4j_exporter.track.transitions import Transition, WorkerTransition

#: prometheus_client's ``Histogram.DEFAULT_BUCKETS``, which the peer uses.
_RUNTIME_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_WAIT_BUCKETS = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
)  # fmt: skip
_LABELS = ("name", "hostname", "queue_name")
_COUNTERS = {
    "sent": "Sent when a task message is published.",
    "received": "Sent when the worker receives a task.",
    "started": "Sent just before the worker executes the task.",
    "succeeded": "Sent if the task executed successfully.",
    "failed": "Sent if the execution of the task failed.",
    "rejected": "The task was rejected by the worker, "
    "possibly to be re-queued or moved to a dead letter queue.",
    "revoked": "Sent if the task has been revoked.",
    "retried": "Sent if the task failed, but will be retried in the future.",
}
_GENERIC = "generic"
#: Nodenames whose host is remembered.
_MAX_NODENAMES = 10_000


class _Row:
    """The cells of one (name, hostname, queue_name)."""

    __slots__ = ("counters", "failed", "labels", "runtime", "wait")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.counters: dict[str, CounterCell] = {}
        self.failed: dict[str, CounterCell] = {}
        self.runtime: HistogramCell | None = None
        self.wait: HistogramCell | None = None


class CeleryExporterProfile:
    """Counts every event, as the peer does: two failures of one task at a hard limit are two."""

    name = "celery-exporter"

    def __init__(
        self,
        store: Store,
        rules: LabelRules | None = None,
        *,
        prefix: str = "celery_",
        default_queue: str = "celery",
        static_labels: Mapping[str, str] | None = None,
        generic_sent_hostname: bool = False,
        generic_worker_hostname: bool = False,
        buckets: Mapping[str, tuple[float, ...]] | None = None,
    ) -> None:
        self.store = store
        self._rules = rules or LabelRules()
        self._default_queue = default_queue
        self._static = tuple(clean(value) for value in (static_labels or {}).values())
        self._generic_sent = generic_sent_hostname
        self._generic_worker = generic_worker_hostname
        static_names = tuple(static_labels or ())

        def declare(name: str, kind: str, text: str, *labels: str) -> Family:
            return Family(f"{prefix}{name}", kind, text, (*labels, *static_names))  # type: ignore[arg-type]  # literals below

        self._counters: dict[str, Cells[CounterCell]] = {
            kind: store.counter(
                declare(
                    f"task_{kind}_total",
                    "counter",
                    text,
                    *((*_LABELS, "exception") if kind == "failed" else _LABELS),
                )
            )
            for kind, text in _COUNTERS.items()
        }

        def histogram(name: str, text: str, bounds: tuple[float, ...]) -> Cells[HistogramCell]:
            family = replace(declare(name, "histogram", text, *_LABELS), buckets=bounds)
            return store.histogram(with_buckets(family, (buckets or {}).get(family.name)))

        self._runtime = histogram(
            "task_runtime", "Histogram of task runtime measurements.", _RUNTIME_BUCKETS
        )
        self._wait = histogram(
            "task_queue_wait_time",
            "Histogram of the time tasks spend waiting in the queue before being executed, "
            "excluding deliberate ETA/countdown delay.",
            _WAIT_BUCKETS,
        )
        self._up = declare(
            "worker_up", "gauge", "Indicates if a worker has recently sent a heartbeat.", "hostname"
        )
        self._active = declare(
            "worker_tasks_active",
            "gauge",
            "The number of tasks the worker is currently processing",
            "hostname",
        )
        # By name, host, whether it is for task-sent, and queue.
        self._rows: dict[tuple[str, str, bool, str], _Row] = {}
        self._hosts: dict[str, str] = {}
        self._nodes: defaultdict[str, set[str]] = defaultdict(set)

    def take(self, transition: Transition) -> None:
        """Count one event; the tracker's own conclusions are none."""
        if isinstance(transition, WorkerTransition):
            self._worker(transition)
            return
        step = transition
        if step.kind not in _COUNTERS:
            return
        host = self._hosts.get(step.worker) or self._learn_host(step.worker)
        key = (step.name, host, step.kind == "sent", step.queue)
        row = self._rows.get(key) or self._row(key)
        if step.kind != "sent" and not row.failed:
            self._zero(row)
        if step.kind == "failed":
            self._failed(row, step.detail).value += 1
        else:
            self._cell(row, step.kind).value += 1
        if step.queue_wait is not None:
            if row.wait is None:
                row.wait = self._wait.child(*row.labels, *self._static)
            row.wait.observe(step.queue_wait)
        if step.kind == "succeeded" and step.runtime is not None:
            if row.runtime is None:
                row.runtime = self._runtime.child(*row.labels, *self._static)
            row.runtime.observe(step.runtime)

    def _row(self, key: tuple[str, str, bool, str]) -> _Row:
        name, host, sent, queue = key
        generic = self._generic_sent if sent else self._generic_worker
        labels = (
            self._rules.task(name),
            _GENERIC if generic else host,
            clean(queue) or self._default_queue,
        )
        overflow = len(self._rows) >= self.store.max_series
        if overflow:
            self.store.dropped[self._counters["received"].family.name] += 1
            labels = (OVERFLOW, "", "")
        row = _Row(labels)
        if not overflow:
            self._rows[key] = row
        return row

    def _zero(self, row: _Row) -> None:
        """Create a row's seven counters at 0, when a worker's first event makes the row known.

        The dashboards' success rates have no value without the zeros. A client's host gets none
        of them: there are many, and no query asks for them.
        """
        for kind in _COUNTERS:
            if kind not in ("sent", "failed"):
                self._cell(row, kind)
        row.failed[""] = self._counters["failed"].child(*row.labels, "", *self._static)

    def _cell(self, row: _Row, kind: str) -> CounterCell:
        cell = row.counters.get(kind)
        if cell is None:
            cell = row.counters[kind] = self._counters[kind].child(*row.labels, *self._static)
        return cell

    def _failed(self, row: _Row, detail: str) -> CounterCell:
        exception = "UnknownException" if detail == UNKNOWN_EXCEPTION else clean(detail)
        cell = row.failed.get(exception)
        if cell is None:
            cell = self._counters["failed"].child(*row.labels, exception, *self._static)
            row.failed[exception] = cell
        return cell

    def _learn_host(self, nodename: str) -> str:
        """Remember a nodename's host: clients have a new nodename with every process."""
        if len(self._hosts) >= _MAX_NODENAMES:
            self._hosts.clear()
        host = self._hosts[nodename] = self._host(nodename)
        return host

    def _host(self, nodename: str) -> str:
        label = self._rules.worker(nodename)
        return label.partition("@")[2] or label

    def _worker(self, transition: WorkerTransition) -> None:
        host = self._host(transition.worker)
        if transition.kind != "forgotten":
            self._nodes[host].add(transition.worker)
            return
        self._nodes[host].discard(transition.worker)
        if self._nodes[host]:
            return  # another worker of that host is known
        del self._nodes[host]
        for kind, cells in self._counters.items():
            if kind != "sent":  # its clients may live on
                cells.remove("hostname", host)
        self._runtime.remove("hostname", host)
        self._wait.remove("hostname", host)
        self._rows = {k: row for k, row in self._rows.items() if row.labels[1] != host}

    # -- collecting --------------------------------------------------------------------------

    def collect(self, cluster: Cluster, wall: float, floor: int) -> list[FamilySnapshot]:  # noqa: ARG002  # Profile's signature
        """Copy all families, in the peer's order."""
        hosts: defaultdict[str, list[tuple[bool, int | None]]] = defaultdict(list)
        for worker in cluster.workers:
            hosts[self._host(worker.name)].append((worker.up, worker.active))
        up = {host: int(any(u for u, _ in states)) for host, states in hosts.items()}
        active = {
            host: sum(a for _, a in states if a is not None)
            for host, states in hosts.items()
            if any(a is not None for _, a in states)
        }
        return [
            *(cells.snapshot(floor) for cells in self._counters.values()),
            self._gauge(self._up, up.items()),
            self._gauge(self._active, active.items()),
            self._runtime.snapshot(floor),
            self._wait.snapshot(floor),
        ]

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        counters = [cells.family for cells in self._counters.values()]
        return [*counters, self._up, self._active, self._runtime.family, self._wait.family]

    def _gauge(self, family: Family, values: Iterable[tuple[str, int]]) -> FamilySnapshot:
        return FamilySnapshot(
            family,
            [(label_text(family.labels, (host, *self._static)), value) for host, value in values],
        )
