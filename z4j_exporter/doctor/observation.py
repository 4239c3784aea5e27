"""Counts, while the doctor listens, what each worker and client sends."""

from collections import Counter
from dataclasses import dataclass, field

from z4j_exporter.doctor.facts import HeardWorker, SentFacts
from z4j_exporter.events.model import TASK_EVENT_TYPES, Event
from z4j_exporter.track.cluster import Cluster

#: Seconds after a heartbeat in which the events of the tasks it counts may still be on their way:
#: a worker sends those in batches (celery/events/dispatcher.py ``buffer_group``).
SETTLE_SECONDS = 1.0
#: Workers and tasks that are counted one by one; hostile names must not fill the memory.
_MAX_WORKERS = 10_000
_MAX_TASKS = 200_000


@dataclass
class _Count:
    heartbeats: int = 0
    woken: int = 0
    task_events: int = 0
    pid: int | None = None
    processed: int | None = None
    ran: int = 0
    #: (when a heartbeat came, ``ran`` by then)
    told: list[tuple[float, int]] = field(default_factory=list)


class Observation:
    """What was heard so far. ``now`` is the tracker's clock, ``wall`` epoch seconds."""

    def __init__(self) -> None:
        self._workers: dict[str, _Count] = {}
        self._received: dict[str, float] = {}
        self._sent: set[str] = set()
        self._events: Counter[str] = Counter()

    def apply(self, event: Event, now: float, wall: float) -> None:
        """Count one event."""
        self._events[event.type if event.type in TASK_EVENT_TYPES else "other"] += 1
        if event.type == "task-sent":
            if event.uuid and len(self._sent) < _MAX_TASKS:
                self._sent.add(event.uuid)
            return
        is_task = event.type in TASK_EVENT_TYPES
        if not is_task and event.type not in ("worker-online", "worker-heartbeat"):
            return
        worker = self._workers.get(event.hostname)
        if worker is None:
            if len(self._workers) >= _MAX_WORKERS:
                return
            worker = self._workers[event.hostname] = _Count()
        if is_task:
            worker.task_events += 1
            self._note_received(event, wall)
        else:
            _note_heartbeat(worker, event, now)

    def workers(self, cluster: Cluster, now: float) -> tuple[HeardWorker, ...]:
        """Return every worker heard, with what the tracker knows of it."""
        heard = []
        for name, told in self._workers.items():
            known = cluster.worker(name)
            heard.append(
                HeardWorker(
                    name=name,
                    up=known is None or known.up,
                    heartbeats=told.heartbeats,
                    woken=told.woken,
                    ran=_settled(told, now),
                    task_events=told.task_events,
                    active=known.active if known is not None else None,
                    clock_skew=known.clock_skew if known is not None else None,
                    software=known.sw_ident or "" if known is not None else "",
                    version=known.sw_ver or "" if known is not None else "",
                )
            )
        return tuple(heard)

    def sent(self, since: float) -> SentFacts:
        """Return what is known of tasks received after ``since`` (epoch seconds)."""
        received = [uuid for uuid, at in self._received.items() if at > since]
        return SentFacts(
            received=len(received),
            matched=sum(uuid in self._sent for uuid in received),
            sent=self._events["task-sent"],
        )

    def _note_received(self, event: Event, wall: float) -> None:
        # A retry is sent by the worker: it says nothing of the clients.
        if event.type != "task-received" or event.retries or len(self._received) >= _MAX_TASKS:
            return
        if event.uuid:
            self._received.setdefault(event.uuid, wall)


def _settled(worker: _Count, now: float) -> int:
    """Return the tasks that ran long enough ago for their events to have come."""
    return max((ran for at, ran in worker.told if now - at >= SETTLE_SECONDS), default=0)


def _note_heartbeat(worker: _Count, event: Event, now: float) -> None:
    if event.processed is None:
        # The answer to a wake-up has no counts (celery/worker/control.py ``heartbeat``).
        worker.woken += 1
        return
    worker.heartbeats += 1  # a worker-online is one as well: whoever sends it sends heartbeats
    if worker.processed is not None and event.pid == worker.pid:
        worker.ran += max(0, event.processed - worker.processed)
    worker.pid = event.pid
    worker.processed = event.processed
    worker.told.append((now, worker.ran))
