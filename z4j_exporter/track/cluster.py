"""The whole tracker: every event goes in here, every transition comes out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from z4j_exporter.config import Settings
from z4j_exporter.events.captured import Captured, captured
from z4j_exporter.events.model import (
    CAPTURE_EVENT_TYPES,
    KNOWN_EVENT_TYPES,
    WORKER_EVENT_TYPES,
    Event,
)
from z4j_exporter.events.refusal import RefusedError
from z4j_exporter.track.conclusions import DEFAULT_GIVE_UP_SECONDS
from z4j_exporter.track.observer import Observer
from z4j_exporter.track.prime import Held
from z4j_exporter.track.table import DEFAULT_MAX_TASKS, Task
from z4j_exporter.track.tasks import TaskTracker
from z4j_exporter.track.transitions import Emit
from z4j_exporter.track.workers import (
    DEFAULT_MAX_WORKERS,
    DEFAULT_WORKER_FORGET_SECONDS,
    DEFAULT_WORKER_TIMEOUT_SECONDS,
    Worker,
    WorkerTracker,
)

#: The label value for every type that neither Celery nor the capture hook sends.
OTHER_EVENT_TYPE = "other"


class NoteTaker(Protocol):
    """Takes the notes of capture hooks, and has its time pass with the tracker's."""

    def captured(self, note: Captured, event: Event, now: float) -> None:
        """Take one note."""

    def tick(self, now: float) -> None:
        """Let time pass."""


class Cluster:
    """Tasks and workers of one Celery installation, as its events tell.

    Deterministic: the same events with the same times give the same transitions. Not safe for
    use by several threads: the applier owns it. ``observer`` follows attempts, for spans;
    ``notes`` takes the notes of the capture hook, which are not read without it.
    """

    def __init__(
        self,
        emit: Emit,
        *,
        max_tasks: int = DEFAULT_MAX_TASKS,
        give_up_seconds: float = DEFAULT_GIVE_UP_SECONDS,
        worker_timeout_seconds: float = DEFAULT_WORKER_TIMEOUT_SECONDS,
        worker_forget_seconds: float = DEFAULT_WORKER_FORGET_SECONDS,
        max_workers: int = DEFAULT_MAX_WORKERS,
        observer: Observer | None = None,
        notes: NoteTaker | None = None,
    ) -> None:
        self.tasks = TaskTracker(
            emit, max_tasks=max_tasks, give_up_seconds=give_up_seconds, observer=observer
        )
        self._observer = observer
        self.workers = WorkerTracker(
            emit,
            on_gone=self.tasks.conclusions.lose_worker,
            on_idle=self.tasks.conclusions.idle_worker,
            timeout_seconds=worker_timeout_seconds,
            forget_seconds=worker_forget_seconds,
            max_workers=max_workers,
        )
        self._notes = notes
        #: Notes of the capture hook that could not be read, by reason (events/refusal.py).
        self.refused: Counter[str] = Counter()
        #: Events applied, by type; a custom type counts under OTHER_EVENT_TYPE, the capture
        #: hook's under their own names once they come.
        self.events: Counter[str] = Counter(dict.fromkeys(KNOWN_EVENT_TYPES, 0))
        self.events[OTHER_EVENT_TYPE] = 0
        self._task_handlers = self.tasks.handlers

    def apply(self, event: Event, now: float, wall: float) -> None:
        """Apply one event.

        ``now`` is when it was received on a clock that never goes back, ``wall`` the same moment
        in epoch seconds.
        """
        kind = event.type
        handler = self._task_handlers.get(kind)
        if handler is not None:
            self.events[kind] += 1
            handler(event, now)
            if kind == "task-started":
                self.workers.task_started(event, now)
        elif kind in WORKER_EVENT_TYPES:
            self.events[kind] += 1
            self.workers.apply(event, now, wall)
        elif kind in CAPTURE_EVENT_TYPES:
            self._apply_captured(event, now)
        else:
            self.events[OTHER_EVENT_TYPE] += 1

    def _apply_captured(self, event: Event, now: float) -> None:
        """Hand a note of the capture hook on, or count why not."""
        if self._notes is None:
            self.events[event.type] += 1
            return
        try:
            note = captured(event)
        except RefusedError as refusal:
            self.refused[refusal.reason] += 1
            return
        self.events[event.type] += 1
        self._notes.captured(note, event, now)

    def tick(self, now: float, *, connected: bool = True) -> None:
        """Let time pass. Workers are judged only while their heartbeats could be heard."""
        self.tasks.tick(now)
        if connected:
            self.workers.tick(now)
        if self._notes is not None:
            self._notes.tick(now)
        if self._observer is not None:
            self._observer.tick(now)

    def resume(self, now: float) -> None:
        """Note that the source is connected again."""
        self.workers.resume(now)

    def prime(self, worker: str, held: Iterable[Held], now: float) -> None:
        """Learn the names of the tasks a worker holds: all of them, by its own account.

        Emits no transition but those that waited for a name, and counts nothing.
        """
        self.tasks.priming.prime(worker, held, now)

    def learn_pools(self, pools: Mapping[str, str]) -> None:
        """Learn the kinds of the pools of workers, by nodename, that heartbeats told of."""
        self.workers.learn_pools(pools)

    def flush(self) -> None:
        """Tell all that is still held back: the end."""
        self.tasks.flush()
        if self._observer is not None:
            self._observer.flush()

    def task(self, uuid: str) -> Task | None:
        """Return what is known of a task."""
        return self.tasks.table.get(uuid)

    def worker(self, name: str) -> Worker | None:
        """Return what is known of a worker."""
        return self.workers.get(name)


def make_cluster(
    settings: Settings,
    emit: Emit,
    observer: Observer | None = None,
    notes: NoteTaker | None = None,
) -> Cluster:
    """Return the tracker that the settings ask for."""
    return Cluster(
        emit,
        max_tasks=settings.max_tasks,
        give_up_seconds=settings.task_give_up_seconds,
        worker_timeout_seconds=settings.worker_timeout,
        worker_forget_seconds=settings.purge_offline_worker_metrics,
        observer=observer,
        notes=notes,
    )
