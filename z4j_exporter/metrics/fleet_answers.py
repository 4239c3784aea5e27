"""Remembers what workers answered last, since a busy one does not answer every time."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from z4j_exporter.fleet.model import FleetReading, WorkerFacts
from z4j_exporter.metrics.labels import OVERFLOW, clean
from z4j_exporter.track.cluster import Cluster

#: Intervals that the last answer of a worker stands for it, while its heartbeats come: a solo pool
#: that is busy does not answer.
KEEP_INTERVALS = 3


class LastAnswers:
    """Remembers what each worker answered last, for ``keep_seconds``."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._seen: FleetReading | None = None
        self._facts: dict[str, tuple[float, WorkerFacts]] = {}
        #: Epoch seconds of the end of the last round that worked.
        self.succeeded_at: float | None = None

    def update(self, reading: FleetReading | None, wall: float) -> None:
        """Take a reading, if it is a new one, and forget what is too old."""
        if reading is not None and reading is not self._seen:
            self._seen = reading
            at = reading.finished_at
            for facts in reading.workers:
                _, known = self._facts.get(facts.name, (at, facts))
                self._facts[facts.name] = (at, _merged(known, facts))
            if reading.success:
                self.succeeded_at = at
        self._facts = {
            name: (at, facts)
            for name, (at, facts) in self._facts.items()
            if self._is_fresh(at, wall)
        }

    def known(self, wall: float) -> bool:
        """Return whether it is known who is there: a round worked not too long ago."""
        return self.succeeded_at is not None and self._is_fresh(self.succeeded_at, wall)

    def succeeding(self, wall: float) -> bool:
        """Return whether the last round worked, and was not too long ago."""
        last = self._seen
        return last is not None and last.success and self._is_fresh(last.finished_at, wall)

    def current(self, cluster: Cluster) -> list[WorkerFacts]:
        """Return the facts that hold: of workers that are up, or just answered.

        A worker without heartbeats (``--without-heartbeat``) counts by its last answer alone.
        """
        last = self._seen.finished_at if self._seen is not None else 0.0
        current = []
        for name, (at, facts) in self._facts.items():
            worker = cluster.worker(name)
            if at >= last if worker is None else worker.up:
                current.append(facts)
        return current

    def _is_fresh(self, at: float, wall: float) -> bool:
        return wall - at <= self._keep_seconds


def _merged(known: WorkerFacts, told: WorkerFacts) -> WorkerFacts:
    """Fill in, from before, what a worker did not answer this time."""
    missing = {
        name: getattr(known, name)
        for name in ("pool", "pool_size", "prefetch_count", "queues", "registered")
        if getattr(told, name) is None
    }
    return replace(told, **missing) if missing else told


class SeenQueues:
    """Queues that some worker consumed: they show 0 when nobody does any more.

    ``forget_seconds`` after the last worker a queue goes (0: never); ``always`` never does.
    """

    def __init__(self, always: Sequence[str], forget_seconds: float, limit: int) -> None:
        self._always = {clean(queue) for queue in always}
        self._forget_seconds = forget_seconds
        self._limit = limit
        self._seen: dict[str, float] = {}
        #: Labels that the last ``group`` put together, since they are beyond the limit.
        self.beyond: frozenset[str] = frozenset()

    def group(self, workers: Iterable[WorkerFacts], wall: float) -> dict[str, list[WorkerFacts]]:
        """Return the workers by the label of each queue they consume, and queues without any."""
        groups: dict[str, list[WorkerFacts]] = {queue: [] for queue in sorted(self._always)}
        groups.update((queue, []) for queue in self._seen)
        beyond: set[str] = set()
        for facts in workers:
            labels = {clean(queue) for queue in facts.queues or ()}
            for label in sorted(labels):
                if label not in groups and len(groups) >= self._limit:
                    beyond.add(label)
                    label = OVERFLOW
                groups.setdefault(label, [])
                if facts not in groups[label][-1:]:
                    groups[label].append(facts)
        self.beyond = frozenset(beyond)
        for queue, members in groups.items():
            if members and queue != OVERFLOW:
                self._seen[queue] = wall
        for queue, at in list(self._seen.items()):
            if 0 < self._forget_seconds <= wall - at:
                del self._seen[queue]
        return groups
