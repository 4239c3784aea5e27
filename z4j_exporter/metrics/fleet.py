"""Metrics of what workers answered when they were asked: pools, queues, registered tasks."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from z4j_exporter.config import Settings
from z4j_exporter.fleet.model import FleetReading, WorkerFacts
from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.cap import LeftOut
from z4j_exporter.metrics.catalogue import fleet as c
from z4j_exporter.metrics.fleet_answers import KEEP_INTERVALS, LastAnswers, SeenQueues
from z4j_exporter.metrics.labels import TaskLabel, WorkerLabel, clean
from z4j_exporter.metrics.store import Family, FamilySnapshot, Sample, Store, label_text
from z4j_exporter.track.cluster import Cluster


class FleetFamilies(Protocol):
    """The families of one profile about the fleet. The applier thread calls ``collect``."""

    def collect(
        self, reading: FleetReading | None, cluster: Cluster, wall: float
    ) -> list[FamilySnapshot]:
        """Return the families as of the last reading; None before the first."""

    def families(self) -> list[Family]:
        """Return their declarations, for the catalogue."""


class FleetMetrics:
    """The native profile's fleet families."""

    def __init__(
        self,
        answers: LastAnswers,
        queues: SeenQueues,
        store: Store,
        rules: LabelRules | None = None,
    ) -> None:
        self._answers = answers
        self._queues = queues
        self._rules = rules or LabelRules()
        self._left_out = LeftOut(store)
        self._drift: tuple[object, dict[str, int]] = (None, {})

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return list(c.FLEET_FAMILIES)

    def collect(
        self, reading: FleetReading | None, cluster: Cluster, wall: float
    ) -> list[FamilySnapshot]:
        """Read all families; what is not known is absent, never 0 and never old."""
        self._answers.update(reading, wall)
        workers = self._answers.current(cluster)
        groups = self._queues.group(workers, wall) if self._answers.known(wall) else {}
        self._left_out.note(c.QUEUE_WORKERS, self._queues.beyond if groups else ())
        return [
            self._by_worker(c.WORKER_POOL_SIZE, workers, lambda w: w.pool_size, sum),
            self._by_worker(c.WORKER_PREFETCH, workers, lambda w: w.prefetch_count, sum),
            self._by_worker(
                c.WORKER_REGISTERED,
                workers,
                lambda w: None if w.registered is None else len(w.registered),
                max,
            ),
            _by_queue(c.QUEUE_WORKERS, {q: len(ws) for q, ws in groups.items()}),
            _by_queue(c.QUEUE_POOL_SIZE, _pool_sizes(groups)),
            _by_queue(c.FLEET_DRIFT, self._drifts(groups)),
            *self._round(reading, wall),
        ]

    def _by_worker(
        self,
        family: Family,
        workers: Iterable[WorkerFacts],
        read: Callable[[WorkerFacts], int | None],
        join: Callable[[Iterable[int]], int],
    ) -> FamilySnapshot:
        """Read one value of each worker; those with one label are joined."""
        values: defaultdict[str, list[int]] = defaultdict(list)
        for facts in workers:
            value = read(facts)
            if value is not None:
                values[self._rules.worker(facts.name)].append(value)
        samples: list[Sample] = [
            (label_text(("worker",), (label,)), join(each)) for label, each in values.items()
        ]
        return self._left_out.cut(family, samples)

    def _drifts(self, groups: Mapping[str, list[WorkerFacts]]) -> dict[str, int]:
        """Return how many task names some workers of a queue know and others do not.

        Worked out anew only when the answers have changed: the sets may be large.
        """
        key = {
            q: [w.registered for w in ws if w.registered is not None] for q, ws in groups.items()
        }
        if self._drift[0] != key:
            self._drift = (key, {q: _drift(sets) for q, sets in key.items() if sets})
        return self._drift[1]

    def _round(self, reading: FleetReading | None, wall: float) -> list[FamilySnapshot]:
        success: list[tuple[str, float]] = []
        duration: list[tuple[str, float]] = []
        last: list[tuple[str, float]] = []
        if reading is not None:
            success.append(("", int(self._answers.succeeding(wall))))
            duration.append(("", reading.duration_seconds))
        if self._answers.succeeded_at is not None:
            last.append(("", self._answers.succeeded_at))
        return [
            FamilySnapshot(c.FLEET_SUCCESS, success),
            FamilySnapshot(c.FLEET_DURATION, duration),
            FamilySnapshot(c.FLEET_LAST_SUCCESS, last),
        ]


class DropInFleetMetrics:
    """The two fleet families of the profile ``celery-exporter``.

    Where the peer counts the processes a pool lists (none for threads, gevent and eventlet), this
    counts the tasks it can run; where it shows 0 for want of an answer, this shows nothing.
    """

    def __init__(
        self,
        answers: LastAnswers,
        queues: SeenQueues,
        *,
        prefix: str = "celery_",
        static_labels: Mapping[str, str] | None = None,
    ) -> None:
        self._answers = answers
        self._queues = queues
        self._static = {name: clean(value) for name, value in (static_labels or {}).items()}
        labels = tuple(sorted(("queue_name", *self._static)))
        fixed = frozenset(self._static)
        self._workers = Family(
            f"{prefix}active_worker_count",
            "gauge",
            "The number of active workers in broker queue.",
            labels,
            fixed=fixed,
        )
        self._processes = Family(
            f"{prefix}active_process_count",
            "gauge",
            "The number of active processes in broker queue.",
            labels,
            fixed=fixed,
        )

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return [self._workers, self._processes]

    def collect(
        self, reading: FleetReading | None, cluster: Cluster, wall: float
    ) -> list[FamilySnapshot]:
        """Read both families."""
        self._answers.update(reading, wall)
        groups: dict[str, list[WorkerFacts]] = {}
        if self._answers.known(wall):
            groups = self._queues.group(self._answers.current(cluster), wall)
        return [
            self._gauge(self._workers, {q: len(ws) for q, ws in groups.items()}),
            self._gauge(self._processes, _pool_sizes(groups)),
        ]

    def _gauge(self, family: Family, values: Mapping[str, int]) -> FamilySnapshot:
        def text(queue: str) -> str:
            return label_text(family.labels, [self._static.get(n, queue) for n in family.labels])

        return FamilySnapshot(family, [(text(queue), value) for queue, value in values.items()])


class NoFleetMetrics:
    """The profile ``flower`` has no fleet families."""

    def families(self) -> list[Family]:
        """Return none."""
        return []

    def collect(
        self,
        reading: FleetReading | None,  # noqa: ARG002  # FleetFamilies' signature
        cluster: Cluster,  # noqa: ARG002
        wall: float,  # noqa: ARG002
    ) -> list[FamilySnapshot]:
        """Return none."""
        return []


def make_fleet_metrics(settings: Settings, store: Store) -> FleetFamilies:
    """Return the fleet families of the profile that the settings name."""
    if settings.metrics_profile == "flower":
        return NoFleetMetrics()
    answers = LastAnswers(KEEP_INTERVALS * settings.inspect_interval + settings.inspect_timeout)
    if settings.metrics_profile == "celery-exporter":
        return DropInFleetMetrics(
            answers,
            SeenQueues(settings.queues, 0, settings.max_series),  # the peer never removes them
            prefix=settings.metric_prefix,
            static_labels=settings.static_labels,
        )
    return FleetMetrics(
        answers,
        SeenQueues(settings.queues, settings.purge_offline_worker_metrics, settings.max_series),
        store,
        LabelRules(task=TaskLabel(), worker=WorkerLabel(settings.worker_label_rewrite)),
    )


def _pool_sizes(groups: Mapping[str, Sequence[WorkerFacts]]) -> dict[str, int]:
    """Add up the pools of each queue's workers; none where no worker told its pool's."""
    sizes = {q: [w.pool_size for w in ws if w.pool_size is not None] for q, ws in groups.items()}
    return {queue: sum(told) for queue, told in sizes.items() if told or not groups[queue]}


def _drift(sets: Sequence[frozenset[str]]) -> int:
    distinct = set(sets)
    return len(frozenset().union(*distinct)) - len(frozenset.intersection(*distinct))


def _by_queue(family: Family, values: Mapping[str, int]) -> FamilySnapshot:
    return FamilySnapshot(
        family, [(label_text(("queue",), (queue,)), value) for queue, value in values.items()]
    )
