"""The worker state machine: who is alive, by the time their heartbeats are received."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from heapq import nsmallest

from z4j_exporter.events.model import Event
from z4j_exporter.track.audit import Audit
from z4j_exporter.track.transitions import Emit, WorkerTransition

#: Seconds without a sign of life after which a worker counts as down. Heartbeats come every 2 s
#: (celery/worker/heartbeat.py); a busy solo pool sends none while a task runs.
DEFAULT_WORKER_TIMEOUT_SECONDS = 60.0
#: Seconds that a worker which is down keeps its series (at 0), so that alerts can fire.
DEFAULT_WORKER_FORGET_SECONDS = 1800.0
#: Seconds between worker-offline and the end of what it ran: events of its last tasks may come
#: after it, and a worker that lost its connection says offline, then online again.
OFFLINE_GRACE_SECONDS = 10.0
#: Seconds a worker must have reported that it runs nothing, before what seems to run there ends.
IDLE_SECONDS = 10.0
#: Workers remembered: one more than this and the one silent for longest is forgotten.
DEFAULT_MAX_WORKERS = 10_000
#: Seconds by which an event may be overtaken.
OVERTAKEN_SECONDS = 60.0
#: Heartbeats over which the clock skew is judged: the quickest of them was delayed least.
_SKEW_SAMPLES = 8


class Worker:
    """What is known of one worker, by its full nodename. Times are on the tracker's clock."""

    __slots__ = (
        "active",
        "audit",
        "down_since",
        "freq",
        "heartbeat_timestamp",
        "idle_since",
        "idle_timestamp",
        "last_seen",
        "left_idle",
        "loadavg",
        "missing_before",
        "name",
        "pid",
        "pool",
        "processed",
        "settled",
        "skews",
        "started_since_idle",
        "sw_ident",
        "sw_sys",
        "sw_ver",
        "up",
    )

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.last_seen = now
        self.up = True
        self.down_since: float | None = None
        #: Whether what it ran was ended, since it is down.
        self.settled = False
        self.pid: int | None = None
        self.freq: float | None = None
        self.active: int | None = None
        self.processed: int | None = None
        self.loadavg: list[float] | None = None
        self.sw_ident: str | None = None
        self.sw_ver: str | None = None
        self.sw_sys: str | None = None
        #: prefork, threads, …: from what it answers when asked, not from its events.
        self.pool: str | None = None
        #: Sender's clock, epoch seconds.
        self.heartbeat_timestamp: float | None = None
        self.skews: deque[float] = deque(maxlen=_SKEW_SAMPLES)
        self.idle_since: float | None = None
        #: Sender's clock, epoch seconds: the first heartbeat that said so.
        self.idle_timestamp = 0.0
        self.started_since_idle = True
        #: Its farewell said that it ran nothing.
        self.left_idle = False
        self.audit: Audit | None = None
        self.missing_before = 0

    @property
    def clock_skew(self) -> float | None:
        """Seconds that the worker's clock is ahead of ours; None before the first heartbeat.

        Delays only ever make a clock look slower, so the largest of the last samples is nearest.
        """
        return max(self.skews) if self.skews else None

    @property
    def missing_events(self) -> int | None:
        """task-started events that never arrived; None before the first heartbeat."""
        return None if self.audit is None else self.missing_before + self.audit.missing


class WorkerTracker:
    """Follows every worker by its full nodename.

    ``on_gone`` is told of a worker that is gone for good, ``on_idle`` of one that runs nothing;
    both get (name, epoch time) and end what the task tracker thinks runs there.
    """

    def __init__(
        self,
        emit: Emit,
        *,
        on_gone: Callable[[str, float, float], object],
        on_idle: Callable[[str, float, float], object],
        timeout_seconds: float = DEFAULT_WORKER_TIMEOUT_SECONDS,
        forget_seconds: float = DEFAULT_WORKER_FORGET_SECONDS,
        max_workers: int = DEFAULT_MAX_WORKERS,
    ) -> None:
        self._emit = emit
        self._on_gone = on_gone
        self._on_idle = on_idle
        self._timeout_seconds = timeout_seconds
        self._forget_seconds = forget_seconds
        self._max_workers = max_workers
        self._workers: dict[str, Worker] = {}
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        yield from self._workers.values()

    def get(self, name: str) -> Worker | None:
        """Return a worker by its full nodename."""
        return self._workers.get(name)

    def learn_pools(self, pools: Mapping[str, str]) -> None:
        """Take note of the kind of each worker's pool; those of strangers are passed over."""
        for name, pool in pools.items():
            if name in self._workers:
                self._workers[name].pool = pool

    def apply(self, event: Event, now: float, wall: float) -> None:
        """Take a worker-online, -heartbeat or -offline; ``wall`` is when it was received."""
        name = event.hostname
        worker = self._workers.get(name)
        if worker is None:
            if event.type == "worker-offline":
                return  # it goes before it was known: nothing to tell
            worker = self._add(name, now)
        known = worker.heartbeat_timestamp
        # Overtaken by a later one, or a copy; by more than a minute it is a clock that was set
        # back (or was wrong for one event), which must not make a worker look dead until it has
        # caught up.
        newer = known is None or not 0 <= known - event.timestamp < OVERTAKEN_SECONDS
        worker.skews.append(event.timestamp - wall)
        if not newer:
            return  # overtaken by a later one
        self._count(worker, event, now)
        worker.heartbeat_timestamp = event.timestamp
        worker.freq = event.freq if event.freq is not None else worker.freq
        worker.active = event.active
        worker.loadavg = event.loadavg
        worker.sw_ident = event.sw_ident or worker.sw_ident
        worker.sw_ver = event.sw_ver or worker.sw_ver
        worker.sw_sys = event.sw_sys or worker.sw_sys
        if event.type == "worker-offline":
            worker.left_idle = event.active == 0
            self._down(worker, now)
            return
        self._alive(worker, now)
        if event.active != 0:
            worker.idle_since = None
        elif worker.idle_since is None:
            worker.idle_since = now
            worker.idle_timestamp = event.timestamp
        elif worker.started_since_idle and now - worker.idle_since >= IDLE_SECONDS:
            worker.started_since_idle = False
            self._on_idle(name, worker.idle_timestamp, now)

    def task_started(self, event: Event, now: float) -> None:
        """Take note of a task-started: a sign of life, and part of the account of events."""
        worker = self._workers.get(event.hostname)
        if worker is None:
            return
        worker.idle_since = None
        worker.started_since_idle = True
        if worker.audit is not None and event.pid in (None, worker.pid):
            worker.audit.started(event.timestamp)
        if worker.up:
            worker.last_seen = now

    def tick(self, now: float) -> None:
        """Let time pass: mark the silent down, end what the dead ran, forget the long gone."""
        for worker in list(self._workers.values()):
            if worker.up:
                if 0 < self._timeout_seconds <= now - worker.last_seen:
                    self._down(worker, now)
                    self._settle(worker, now)
                continue
            down_for = now - (worker.down_since or 0.0)
            if not worker.settled and down_for >= OFFLINE_GRACE_SECONDS:
                self._settle(worker, now)
            if 0 < self._forget_seconds <= down_for:
                self._forget(worker)

    def resume(self, now: float) -> None:
        """Start all timers anew: the source was deaf, so silence until now says nothing."""
        for worker in self._workers.values():
            worker.last_seen = now
            worker.idle_since = None

    # -- parts -------------------------------------------------------------------------------

    def _add(self, name: str, now: float) -> Worker:
        if len(self._workers) >= self._max_workers:
            # One in a hundred at once: to find them is to look at all.
            for oldest in nsmallest(
                max(1, self._max_workers // 100),
                self._workers.values(),
                key=lambda w: (w.up, w.last_seen),
            ):
                self.evictions += 1
                self._forget(oldest)
        worker = self._workers[name] = Worker(name, now)
        self._emit(WorkerTransition(kind="up", worker=name))
        return worker

    def _alive(self, worker: Worker, now: float) -> None:
        worker.last_seen = now
        if not worker.up:
            worker.up = True
            worker.down_since = None
            worker.settled = False
            worker.left_idle = False
            self._emit(WorkerTransition(kind="up", worker=worker.name))

    def _down(self, worker: Worker, now: float) -> None:
        if worker.up:
            worker.up = False
            worker.down_since = now
            worker.settled = False
            self._emit(WorkerTransition(kind="down", worker=worker.name))

    def _settle(self, worker: Worker, now: float) -> None:
        worker.settled = True
        worker.active = 0
        if worker.left_idle:
            # What seems to run there has ended without an event; it was not lost.
            self._on_idle(worker.name, worker.heartbeat_timestamp or 0.0, now)
        self._on_gone(worker.name, worker.heartbeat_timestamp or 0.0, now)

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.name]
        self._emit(WorkerTransition(kind="forgotten", worker=worker.name))

    def _count(self, worker: Worker, event: Event, now: float) -> None:
        """Keep the account of events (see audit.py) across restarts of the worker."""
        processed = event.processed
        if processed is None or processed < 0:
            return
        restarted = (
            worker.audit is not None
            and worker.processed is not None
            and (event.pid != worker.pid or processed < worker.processed)
        )
        if worker.audit is None or restarted:
            # What a process did before its first heartbeat here is not for us to count.
            worker.missing_before = worker.missing_events or 0
            worker.audit = Audit(processed=processed, timestamp=event.timestamp)
        worker.pid = event.pid
        worker.processed = processed
        worker.audit.heartbeat(processed, event.timestamp, now)
