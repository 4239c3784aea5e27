"""Turns the last look at the queues into metric families, native and of celery-exporter.

What a look did not find is absent: a failed look has no queues at all, and says so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from z4j_exporter.config import Settings
from z4j_exporter.metrics.cap import LeftOut
from z4j_exporter.metrics.catalogue import queues as c
from z4j_exporter.metrics.labels import clean
from z4j_exporter.metrics.store import Family, FamilySnapshot, Store, label_text, overflow_values
from z4j_exporter.queues.model import QueuePoll, QueueReading
from z4j_exporter.track.cluster import Cluster

#: Says which value stands where several queues have one label.
_Join = Callable[[float, float], float]


def _add(a: float, b: float) -> float:
    return a + b


class _Samples:
    """The samples of one family at one collection, at most ``store.max_series`` of them.

    Beyond the cap, values go to the overflow's series, joined, and their series are counted as
    left out. Counters beyond it are nowhere: their sum over queues that come and go would be no
    counter.
    """

    def __init__(self, store: Store, left_out: LeftOut, family: Family, join: _Join = _add) -> None:
        self._store = store
        self._left_out = left_out
        self._beyond: set[tuple[str, ...]] = set()
        self._family = family
        self._join = join
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], value: float | None) -> None:
        """Take one value, or None for one that is not known."""
        if value is None:
            return
        if labels not in self._values and len(self._values) >= self._store.max_series:
            self._beyond.add(labels)
            if self._family.type == "counter":
                return
            labels = overflow_values(self._family, labels)
        known = self._values.get(labels)
        self._values[labels] = value if known is None else self._join(known, value)

    def snapshot(self) -> FamilySnapshot:
        """Return the samples."""
        self._left_out.note(self._family, self._beyond)
        names = self._family.labels
        return FamilySnapshot(
            self._family, [(label_text(names, key), value) for key, value in self._values.items()]
        )


class _Order:
    """Keeps queues in the order in which they came: the cap is to cut off the same ones always."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def sort(self, readings: Sequence[QueueReading]) -> list[QueueReading]:
        """Return the readings, those of queues that were there before first.

        A failed look, which has none, changes nothing.
        """
        if not readings:
            return []
        by_name = {reading.name: reading for reading in readings}
        self._names = dict.fromkeys([*(n for n in self._names if n in by_name), *by_name])
        return [by_name[name] for name in self._names]


class QueueFamilies(Protocol):
    """The families of one profile about queues. The applier thread calls ``collect``."""

    def collect(
        self, poll: QueuePoll | None, cluster: Cluster, wall: float
    ) -> list[FamilySnapshot]:
        """Return the families as of the last look; None before the first."""

    def families(self) -> list[Family]:
        """Return their declarations, for the catalogue."""


class QueueMetrics:
    """The native families; see QueueFamilies."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left_out = LeftOut(store)
        self._order = _Order()

    def collect(
        self,
        poll: QueuePoll | None,
        cluster: Cluster,
        wall: float,  # noqa: ARG002  # ages are those of the moment of the look
    ) -> list[FamilySnapshot]:
        """See QueueFamilies.collect."""
        readings = self._order.sort(poll.readings) if poll is not None else []
        messages = _Samples(self._store, self._left_out, c.QUEUE_MESSAGES)
        oldest = _Samples(self._store, self._left_out, c.QUEUE_OLDEST, max)
        for reading in readings:
            label = clean(reading.name)
            for priority, count in (reading.ready or {}).items():
                messages.add((label, "ready", clean(priority)), count)
            messages.add((label, "unacked", ""), reading.unacked)
            if poll is not None:
                oldest.add((label,), oldest_age(reading, cluster, poll.finished_at))
        return [
            messages.snapshot(),
            self._each(c.QUEUE_CONSUMERS, readings, lambda r: r.consumers),
            oldest.snapshot(),
            self._each(c.QUEUE_MEMORY, readings, lambda r: r.memory_bytes),
            self._each(c.QUEUE_PUBLISHED, readings, lambda r: r.published),
            self._each(c.QUEUE_DELIVERED, readings, lambda r: r.delivered),
            self._each(c.QUEUE_ACKED, readings, lambda r: r.acked),
            _one(c.QUEUE_POLL_SUCCESS, None if poll is None else int(poll.success)),
            _one(c.QUEUE_POLL_DURATION, None if poll is None else poll.duration_seconds),
            _one(c.QUEUE_POLL_LAST_SUCCESS, None if poll is None else poll.last_success_at),
        ]

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return list(c.QUEUE_FAMILIES)

    def _each(
        self,
        family: Family,
        readings: Sequence[QueueReading],
        value: Callable[[QueueReading], float | None],
    ) -> FamilySnapshot:
        samples = _Samples(self._store, self._left_out, family)
        for reading in readings:
            samples.add((clean(reading.name),), value(reading))
        return samples.snapshot()


class DropInQueueMetrics:
    """Families of celery-exporter: the length of each queue, and its consumers (RabbitMQ only).

    The length is that of all priorities (celery-exporter counts priority 0 only on Redis).
    """

    def __init__(
        self,
        store: Store,
        *,
        prefix: str = "celery_",
        static_labels: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._left_out = LeftOut(store)
        self._order = _Order()
        self._static = {name: clean(value) for name, value in (static_labels or {}).items()}
        # prometheus_client's order of labels.
        names = tuple(sorted(("queue_name", *self._static)))

        def declare(name: str, text: str) -> Family:
            return Family(prefix + name, "gauge", text, names, fixed=frozenset(self._static))

        self._length = declare("queue_length", "The number of message in broker queue.")
        self._consumers = declare(
            "active_consumer_count", "The number of active consumer in broker queue."
        )

    def collect(
        self,
        poll: QueuePoll | None,
        cluster: Cluster,  # noqa: ARG002  # QueueFamilies' signature
        wall: float,  # noqa: ARG002  # as above
    ) -> list[FamilySnapshot]:
        """Return both families; without samples where there was no look, or it failed."""
        readings = self._order.sort(poll.readings) if poll is not None else []
        lengths = _Samples(self._store, self._left_out, self._length)
        consumers = _Samples(self._store, self._left_out, self._consumers)
        for reading in readings:
            values = {"queue_name": clean(reading.name), **self._static}
            labels = tuple(values[name] for name in self._length.labels)
            lengths.add(labels, None if reading.ready is None else sum(reading.ready.values()))
            consumers.add(labels, reading.consumers)
        return [lengths.snapshot(), consumers.snapshot()]

    def families(self) -> list[Family]:
        """Return the declarations of both families."""
        return [self._length, self._consumers]


class NoQueueMetrics:
    """The profile ``flower`` has no queue families."""

    def families(self) -> list[Family]:
        """Return none."""
        return []

    def collect(
        self,
        poll: QueuePoll | None,  # noqa: ARG002  # QueueFamilies' signature
        cluster: Cluster,  # noqa: ARG002  # as above
        wall: float,  # noqa: ARG002  # as above
    ) -> list[FamilySnapshot]:
        """Return none."""
        return []


def make_queue_metrics(settings: Settings, store: Store) -> QueueFamilies:
    """Return the queue families of the profile that the settings name."""
    if settings.metrics_profile == "flower":
        return NoQueueMetrics()
    if settings.metrics_profile == "celery-exporter":
        return DropInQueueMetrics(
            store, prefix=settings.metric_prefix, static_labels=settings.static_labels
        )
    return QueueMetrics(store)


def oldest_age(reading: QueueReading, cluster: Cluster, at: float) -> float | None:
    """Return how many seconds the oldest ready message has waited; None where that is not known.

    By the message's own timestamp, or by the task-sent event of its task. Where one of several
    heads (a queue has one for each priority) cannot be dated, none is said to be the oldest.
    ``at``: when the queue was read, epoch seconds.
    """
    ages = [] if reading.oldest_age_seconds is None else [reading.oldest_age_seconds]
    for uuid in reading.oldest_task_ids:
        sent = _last_sent(cluster, uuid)
        if sent is None:
            return None
        ages.append(max(0.0, at - sent))
    return max(ages, default=None)


def _last_sent(cluster: Cluster, uuid: str) -> float | None:
    """Return when a task was last sent: with a retry under the same id, the retry."""
    task = cluster.task(uuid)
    times = [a.sent for a in task.attempts if a.sent is not None] if task is not None else []
    return max(times, default=None)


def _one(family: Family, value: float | None) -> FamilySnapshot:
    return FamilySnapshot(family, [] if value is None else [("", value)])
