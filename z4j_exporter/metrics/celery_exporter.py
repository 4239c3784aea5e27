"""The profile ``celery-exporter``: a drop-in for danihodovic/celery-exporter.

Names, labels, help texts, buckets and the counting of events are that exporter's, so that its
dashboards, alerts and recording rules work unchanged. Where it loses data, this does not:
docs/profiles.md lists each difference.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.cap import LeftOut
from z4j_exporter.metrics.labels import OVERFLOW, clean
from z4j_exporter.metrics.living import LivingWorkers
from z4j_exporter.metrics.rows import Rows
from z4j_exporter.metrics.static_labels import Declare, check_static
from z4j_exporter.metrics.store import (
    Cell,
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
from z4j_exporter.track.exceptions import UNKNOWN_EXCEPTION
from z4j_exporter.track.transitions import (
    UNKNOWN_TASK,
    TaskTransition,
    Transition,
    WorkerTransition,
)

#: prometheus_client's ``Histogram.DEFAULT_BUCKETS``, which the peer uses.
_RUNTIME_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_WAIT_BUCKETS = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
)  # fmt: skip
_LABELS = ("hostname", "name", "queue_name")
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
#: Kinds whose counters point to a span.
_FAILURES = frozenset({"failed", "rejected", "revoked", "retried"})
_GENERIC = "generic"
#: What the peer calls a task whose name it never saw; its dashboards leave it out.
_NO_NAME = "None"
_NO_EXCEPTION_CLASS = "UnknownException"
#: Nodenames whose host is remembered.
_MAX_NODENAMES = 10_000

#: A row as the wire tells it: name, host, whether it is for task-sent, queue.
_Key = tuple[str, str, bool, str]


class _Row:
    """The cells of one (hostname, name, queue_name)."""

    __slots__ = ("counters", "failed", "labels", "runtime", "wait")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.counters: dict[str, CounterCell] = {}
        self.failed: dict[str, CounterCell] = {}
        self.runtime: HistogramCell | None = None
        self.wait: HistogramCell | None = None


def _child(cells: Cells[Cell], row: _Row, exception: str = "") -> Cell:
    return cells.child(*(row.labels.get(name, exception) for name in cells.family.labels))


class CeleryExporterProfile:
    """Counts every event, as the peer does: two failures of one task at a hard limit are two.

    Raises ConfigError for a static label that the families have already.
    """

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
        self._default_queue = clean(default_queue)
        self._generic_sent = generic_sent_hostname
        self._generic_worker = generic_worker_hostname
        self._static = {name: clean(value) for name, value in (static_labels or {}).items()}
        check_static(self._static, (*_LABELS, "exception"))
        declare = Declare(prefix, frozenset(self._static))
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
        self._failures = self._counters["failed"]

        def histogram(name: str, text: str, bounds: tuple[float, ...]) -> Cells[HistogramCell]:
            family = with_buckets(declare(name, "histogram", text, *_LABELS), bounds)
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
        self._rows: Rows[_Key, _Row] = Rows(store.max_series, self._label, self._make)
        self._overflow = self._make(("", OVERFLOW, ""))
        self._hosts: dict[str, str] = {}
        self._hosts_alive = LivingWorkers(self._host)
        self._left_out = LeftOut(store)
        # The task that started last: its task-sent may follow, with the wait.
        self._last_start: tuple[str, _Row] = ("", self._overflow)

    def take(self, transition: Transition) -> None:
        """Count one event; the tracker's own conclusions are none."""
        if isinstance(transition, WorkerTransition):
            if self._hosts_alive.take(transition):
                self._purge()
            return
        step = transition
        kind = step.kind
        if kind not in _COUNTERS:
            return
        host = self._hosts.get(step.worker) or self._learn_host(step.worker)
        row = self._rows.get((step.name, host, kind == "sent", step.queue))
        if row is None:
            self.store.dropped[self._counters["received"].family.name] += 1
            row = self._overflow
        if kind != "sent" and not row.failed:
            self._zero(row)
        cell = self._failed(row, step.detail) if kind == "failed" else self._cell(row, kind)
        cell.value += 1
        if kind == "started":
            self._last_start = (step.uuid, row)
        if step.queue_wait is not None:
            self._observe_wait(step, row, step.queue_wait)
        if kind == "succeeded" and step.runtime is not None:
            if row.runtime is None:
                row.runtime = _child(self._runtime, row)
            row.runtime.observe(step.runtime)
            if step.trace is not None:
                self.store.exemplars.observe(row.runtime, step.runtime, step.timestamp, step.trace)
        if step.trace is not None and kind in _FAILURES:
            self.store.exemplars.count(cell, step.timestamp, step.trace)

    # -- rows --------------------------------------------------------------------------------

    def _label(self, key: _Key) -> tuple[str, ...]:
        name, host, sent, queue = key
        generic = self._generic_sent if sent else self._generic_worker
        return (
            _GENERIC if generic else host,
            _NO_NAME if name == UNKNOWN_TASK else self._rules.task(name),
            clean(queue) or self._default_queue,
        )

    def _make(self, labels: tuple[str, ...]) -> _Row:
        return _Row({**dict(zip(_LABELS, labels, strict=True)), **self._static})

    def _zero(self, row: _Row) -> None:
        """Create a row's seven counters at 0, when a worker's first event makes the row known.

        The dashboards' success rates have no value without the zeros. A client's host gets none
        of them: there are many, and no query asks for them.
        """
        for kind in _COUNTERS:
            if kind not in ("sent", "failed"):
                self._cell(row, kind)
        row.failed[""] = _child(self._failures, row)

    def _cell(self, row: _Row, kind: str) -> CounterCell:
        cell = row.counters.get(kind)
        if cell is None:
            cell = _child(self._counters[kind], row)
            if not cell.overflow:
                row.counters[kind] = cell
        return cell

    def _failed(self, row: _Row, detail: str) -> CounterCell:
        exception = _NO_EXCEPTION_CLASS if detail == UNKNOWN_EXCEPTION else clean(detail)
        cell = row.failed.get(exception)
        if cell is None:
            cell = _child(self._failures, row, exception)
            if not cell.overflow:
                row.failed[exception] = cell
        return cell

    def _observe_wait(self, step: TaskTransition, row: _Row, seconds: float) -> None:
        """Count a wait under the worker's host, though a late task-sent may have told it."""
        if step.kind != "started" and self._last_start[0] == step.uuid:
            row = self._last_start[1]
        if row.wait is None:
            row.wait = _child(self._wait, row)
        row.wait.observe(seconds)
        if step.trace is not None:
            self.store.exemplars.observe(row.wait, seconds, step.timestamp, step.trace)

    # -- workers -----------------------------------------------------------------------------

    def _learn_host(self, nodename: str) -> str:
        """Remember a nodename's host: clients have a new nodename with every process."""
        if len(self._hosts) >= _MAX_NODENAMES:
            self._hosts.clear()
        host = self._hosts[nodename] = self._host(nodename)
        return host

    def _host(self, nodename: str) -> str:
        label = self._rules.worker(nodename)
        return label.partition("@")[2] or label

    def _purge(self) -> None:
        """Drop the series of hosts without workers; not task-sent's, whose clients may live on."""
        gone = self._hosts_alive.gone()
        if not gone:
            return
        for kind, cells in self._counters.items():
            if kind != "sent":
                cells.remove("hostname", gone)
        self._runtime.remove("hostname", gone)
        self._wait.remove("hostname", gone)
        self._rows.remove(lambda labels: labels[0] in gone)

    # -- collecting --------------------------------------------------------------------------

    def collect(self, cluster: Cluster, wall: float, floor: int) -> list[FamilySnapshot]:
        """Copy all families, in the peer's order."""
        self._purge()
        up: defaultdict[str, int] = defaultdict(int)
        active: defaultdict[str, int] = defaultdict(int)
        for worker in cluster.workers:
            host = self._host(worker.name)
            up[host] |= worker.up
            active[host] += (worker.active or 0) if worker.up else 0
        return [
            *(cells.snapshot(floor, wall) for cells in self._counters.values()),
            self._gauge(self._up, up.items()),
            self._gauge(self._active, active.items()),
            self._runtime.snapshot(floor, wall),
            self._wait.snapshot(floor, wall),
        ]

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        counters = [cells.family for cells in self._counters.values()]
        return [*counters, self._up, self._active, self._runtime.family, self._wait.family]

    def _gauge(self, family: Family, values: Iterable[tuple[str, int]]) -> FamilySnapshot:
        def text(host: str) -> str:
            return label_text(family.labels, [self._static.get(n, host) for n in family.labels])

        return self._left_out.cut(family, [(text(host), value) for host, value in values])
