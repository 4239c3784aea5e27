"""Makes the rows of workers and of queues, of which a page lists the first few."""

from collections.abc import Callable, Sequence
from heapq import nsmallest

from z4j_exporter.fleet.model import WorkerFacts
from z4j_exporter.metrics.labels import clean
from z4j_exporter.queues.model import QueuePoll, QueueReading
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.workers import Worker
from z4j_exporter.web.status import QueueRow, WorkerRow

#: Workers that are listed, and how many of them may be down: where pods come and go, those that
#: went would hide all that are there.
WORKERS, WORKERS_DOWN = 50, 20
#: Queues that are listed.
QUEUES = 50


def worker_rows(cluster: Cluster, facts: Sequence[WorkerFacts], now: float) -> list[WorkerRow]:
    """Return those that are down first, the last to go first; then the busiest.

    ``facts`` are the last answers; ``now`` is the tracker's clock.
    """
    told = {each.name: each for each in facts}
    up = [worker for worker in cluster.workers if worker.up]
    down = [worker for worker in cluster.workers if not worker.up]
    gone = nsmallest(max(WORKERS_DOWN, WORKERS - len(up)), down, key=_gone_order)
    busiest = nsmallest(WORKERS - len(gone), up, key=_busy_order)
    return [_worker_row(worker, told.get(worker.name), now) for worker in [*gone, *busiest]]


def queue_rows(
    poll: QueuePoll | None,
    facts: Sequence[WorkerFacts] | None,
    age: Callable[[QueueReading], float | None],
) -> tuple[list[QueueRow], int]:
    """Return the rows, and how many queues there are in all.

    ``facts`` are the last answers of workers, None while it is not known who is there; ``age`` is
    how many seconds ago the oldest message of a queue was sent.
    """
    consumers: dict[str, list[WorkerFacts]] = {}
    for each in facts or ():
        for queue in {clean(name) for name in each.queues or ()}:
            consumers.setdefault(queue, []).append(each)
    rows = []
    for reading in poll.readings if poll is not None else ():
        name = clean(reading.name)
        takers = None if facts is None else consumers.pop(name, [])
        rows.append(_queue_row(name, reading, age(reading), takers))
    # Where no look told of them: what workers take from is there.
    rows += [_queue_row(name, None, None, takers) for name, takers in consumers.items()]
    return nsmallest(QUEUES, rows, key=_queue_order), len(rows)


def _gone_order(worker: Worker) -> tuple[float, str]:
    return (-(worker.down_since or 0.0), worker.name)


def _busy_order(worker: Worker) -> tuple[int, str]:
    return (0 if worker.active is None else -1 - worker.active, worker.name)


def _worker_row(worker: Worker, facts: WorkerFacts | None, now: float) -> WorkerRow:
    return WorkerRow(
        name=clean(worker.name),
        up=worker.up,
        active=worker.active,
        pool_size=facts.pool_size if facts is not None else None,
        pool=clean(worker.pool or (facts.pool if facts is not None else None) or ""),
        processed=worker.processed,
        load=worker.loadavg[0] if worker.loadavg else None,
        heartbeat_age_seconds=max(0.0, now - worker.last_seen),
        missing_events=worker.missing_events,
        version=clean(worker.sw_ver or ""),
    )


def _queue_row(
    name: str,
    reading: QueueReading | None,
    age: float | None,
    takers: Sequence[WorkerFacts] | None,
) -> QueueRow:
    ready = reading.ready if reading is not None else None
    sizes = [each.pool_size for each in takers or () if each.pool_size is not None]
    return QueueRow(
        name=name,
        ready=None if ready is None else sum(ready.values()),
        unacked=reading.unacked if reading is not None else None,
        oldest_age_seconds=age,
        workers=None if takers is None else len(takers),
        pool_size=sum(sizes) if sizes or takers == [] else None,
        consumers=reading.consumers if reading is not None else None,
    )


def _queue_order(row: QueueRow) -> tuple[float, int, str]:
    """Sort the oldest message first; then the longest queue; then by name."""
    age = row.oldest_age_seconds
    return (0.0 if age is None else -1.0 - age, -(row.ready or 0), row.name)
