"""The task state machine: task events in, transitions out. Deterministic, no I/O, no clock."""

from z4j_exporter.events.model import Event
from z4j_exporter.track import attempts as match
from z4j_exporter.track.attempts import Attempt
from z4j_exporter.track.conclusions import (
    CONCLUDED,
    DEFAULT_GIVE_UP_SECONDS,
    Conclusions,
)
from z4j_exporter.track.exceptions import exception_class
from z4j_exporter.track.naming import Naming
from z4j_exporter.track.observer import Observer, note
from z4j_exporter.track.prime import Priming
from z4j_exporter.track.table import DEFAULT_MAX_TASKS, Task, TaskTable
from z4j_exporter.track.transitions import Emit, TaskKind, TaskTransition

#: Ends without an attempt that one task remembers, to know them again.
_MAX_EXTRA_ENDS = 8
#: Ends of an attempt whose duration is a run time.
_RUNS = frozenset({"succeeded", "failed", "retried"})
#: Names of tasks, queues and workers of which one copy is kept.
_MAX_SHARED_NAMES = 20_000


class TaskTracker:
    """Follows every task by its uuid, bounded in tasks.

    ``now`` is a clock that never goes back (seconds); only differences of it are used. Events'
    own timestamps are compared with each other only, never with ``now``.
    """

    def __init__(
        self,
        emit: Emit,
        *,
        max_tasks: int = DEFAULT_MAX_TASKS,
        give_up_seconds: float = DEFAULT_GIVE_UP_SECONDS,
        observer: Observer | None = None,
    ) -> None:
        self._naming = Naming(emit, observer)
        self._noting = observer is not None
        # One copy of each name, as sys.intern keeps it; but what CPython 3.12 interns stays for
        # ever, and names come from the wire.
        self._names: dict[str, str] = {}
        self.table = TaskTable(max_tasks, on_forget=self._naming.release)
        self.conclusions = Conclusions(self.table, self._naming, give_up_seconds)
        self.priming = Priming(self.table, self._naming, self._names.setdefault)
        #: Exact repetitions of an event, dropped.
        self.duplicates = 0
        #: Events that came after one which must have followed them.
        self.late = 0
        self.handlers = {
            "task-sent": self._sent,
            "task-received": self._received,
            "task-started": self._started,
            "task-succeeded": self._ended,
            "task-failed": self._ended,
            "task-retried": self._retried,
            "task-rejected": self._ended,
            "task-revoked": self._ended,
            "task-cancelled": self._ended,
        }

    # -- events: each needs a uuid, which decode made sure of ----------------------------------

    def _sent(self, event: Event, now: float) -> None:
        share = self._names.setdefault
        uuid: str = event.uuid  # type: ignore[assignment]  # checked by decode
        timestamp = event.timestamp
        retries = event.retries or 0
        name = share(event.name, event.name) if event.name else None
        queue = share(event.queue, event.queue) if event.queue else None
        self._naming.routes.learn(name, queue, now)
        task = self.table.get(uuid)
        if task is None:
            attempt = Attempt(retries)
            task = self._new(uuid, attempt, now)
        else:
            if match.sent_at(task.attempts, timestamp):
                self.duplicates += 1
                return
            found = match.for_sent(task.attempts, retries, name, timestamp)
            attempt = found or self._deliver(task, timestamp, retries, name)
            task.touched = now
            # Being overtaken by received is usual, and no sign of anything.
            self.late += attempt.started is not None or attempt.ended is not None
        attempt.retries = retries
        attempt.name = name or attempt.name
        attempt.queue = queue or attempt.queue
        attempt.sent = timestamp
        if event.eta is not None:
            attempt.eta = match.epoch(event.eta)
        self._learn(task, event, attempt)
        if self._noting:
            note(attempt, event)
        step = TaskTransition(
            kind="sent", uuid=task.uuid, worker=event.hostname, timestamp=timestamp
        )
        if attempt.started is not None:
            step.queue_wait = _wait(timestamp, attempt.eta, attempt.started)
        if retries == 0 and task.first_sent is None:
            task.first_sent = max(timestamp, attempt.eta or timestamp)
            if task.ended_at is not None and task.outcome not in CONCLUDED:
                step.end_to_end = max(0.0, task.ended_at - task.first_sent)
                step.outcome = task.outcome or ""
        self._naming.tell(task, attempt, step, now)

    def _received(self, event: Event, now: float) -> None:
        share = self._names.setdefault
        uuid: str = event.uuid  # type: ignore[assignment]  # checked by decode
        timestamp = event.timestamp
        retries = event.retries or 0
        name = share(event.name, event.name) if event.name else None
        worker = share(event.hostname, event.hostname)
        task = self.table.get(uuid)
        if task is None:
            attempt = Attempt(retries)
            task = self._new(uuid, attempt, now)
        else:
            if match.received_at(task.attempts, timestamp):
                self.duplicates += 1
                return
            found = match.for_received(task.attempts, retries, name, worker, timestamp)
            attempt = found or self._deliver(task, timestamp, retries, name)
            task.touched = now
            self.late += attempt.started is not None or attempt.ended is not None
        attempt.retries = retries
        attempt.name = name or attempt.name
        attempt.worker = worker
        attempt.received = timestamp
        if event.eta is not None and attempt.eta is None:
            attempt.eta = match.epoch(event.eta)
        self._learn(task, event, attempt)
        if self._noting:
            note(attempt, event)
        step = TaskTransition(kind="received", uuid=task.uuid, worker=worker, timestamp=timestamp)
        if attempt.started is not None:
            step.prefetch_wait = _wait(timestamp, attempt.eta, attempt.started)
        self._naming.tell(task, attempt, step, now)

    def _started(self, event: Event, now: float) -> None:
        share = self._names.setdefault
        uuid: str = event.uuid  # type: ignore[assignment]  # checked by decode
        timestamp = event.timestamp
        worker = share(event.hostname, event.hostname)
        task = self.table.get(uuid)
        if task is None:
            attempt = Attempt()
            task = self._new(uuid, attempt, now)
        else:
            if match.started_at(task.attempts, timestamp):
                self.duplicates += 1
                return
            found = match.for_started(task.attempts, worker, timestamp)
            attempt = found or self._deliver(task, timestamp, task.attempts[-1].retries, None)
            task.touched = now
            self.late += attempt.ended is not None
        attempt.worker = worker
        attempt.started = timestamp
        if self._noting:
            note(attempt, event)
        step = TaskTransition(kind="started", uuid=task.uuid, worker=worker, timestamp=timestamp)
        if attempt.received is not None:
            step.prefetch_wait = _wait(attempt.received, attempt.eta, timestamp)
        if attempt.sent is not None:
            step.queue_wait = _wait(attempt.sent, attempt.eta, timestamp)
        if attempt.ended is not None and attempt.end in ("failed", "retried"):
            step.runtime = max(0.0, attempt.ended - timestamp)
            step.runtime_outcome = attempt.end
        self._naming.tell(task, attempt, step, now)

    def _retried(self, event: Event, now: float) -> None:
        closed = self._close(event, "retried", match.for_retried, now)
        if closed is None:
            return
        task, attempt, _ = closed
        if self._noting:
            note(attempt, event)
        step = TaskTransition(
            kind="retried",
            uuid=task.uuid,
            worker=event.hostname,
            timestamp=event.timestamp,
            detail=exception_class(event.exception, event.traceback),
        )
        _add_runtime(step, event, attempt)
        self._naming.tell(task, attempt, step, now)

    def _ended(self, event: Event, now: float) -> None:
        kind: TaskKind = event.type[5:]  # type: ignore[assignment]  # the handlers' own types
        closed = self._close(event, kind, match.for_end, now)
        if closed is None:
            return
        task, attempt, repeat = closed
        if self._noting:
            note(attempt, event)
        step = TaskTransition(
            kind=kind,
            uuid=task.uuid,
            worker=event.hostname,
            timestamp=event.timestamp,
            repeat=repeat,
            detail=_detail(kind, event),
        )
        if not repeat:
            _add_runtime(step, event, attempt)
        goes_back = kind == "cancelled" or (kind == "rejected" and step.detail == "true")
        if task.outcome is None and not goes_back:
            step.final = True
            step.outcome = kind
            if task.first_sent is not None:
                step.end_to_end = max(0.0, event.timestamp - task.first_sent)
            if attempt.retries is not None:
                step.attempts = attempt.retries + 1
            self.table.finish(task, kind, event.timestamp)
        self._naming.tell(task, attempt, step, now)

    def tick(self, now: float) -> None:
        """Let time pass: tell what waited for its name long enough, give up what is stuck."""
        self._naming.tick(now)
        if len(self._names) > _MAX_SHARED_NAMES:
            self._names.clear()
        self.conclusions.tick(now)

    def flush(self) -> None:
        """Tell all that is still held back."""
        self._naming.flush()

    # -- parts -------------------------------------------------------------------------------

    def _new(self, uuid: str, attempt: Attempt, now: float) -> Task:
        task = Task(uuid, (attempt,), now)
        self.table.add(task)
        return task

    def _deliver(
        self, task: Task, timestamp: float, retries: int | None, name: str | None
    ) -> Attempt:
        """Add an attempt to a known task: a retry, a redelivery or a replacement.

        It reopens a finished task when it is newer than its end; else it comes late.
        """
        attempt = Attempt(retries, name or task.name, task.queue)
        if name is not None:
            for other in task.attempts:
                if other.ended is None and other.name not in (None, name):
                    # Task.replace() keeps uuid and retries: the later name is the replacement.
                    if other.first_seen() <= timestamp:
                        other.ended, other.end = timestamp, "replaced"
                    elif attempt.ended is None:
                        attempt.ended, attempt.end = other.first_seen(), "replaced"
        if task.outcome is not None:
            if task.outcome in CONCLUDED or timestamp > (task.ended_at or 0.0):
                self.table.reopen(task)
            elif attempt.ended is None:
                attempt.ended, attempt.end = task.ended_at, "late"
        task.attempts = match.append(task.attempts, attempt)
        return attempt

    def _close(
        self, event: Event, kind: TaskKind, find: match.Finder, now: float
    ) -> tuple[Task, Attempt, bool] | None:
        """Close the attempt that an end speaks of; the last value says: told already.

        Returns None for an exact duplicate.
        """
        uuid: str = event.uuid  # type: ignore[assignment]  # checked by decode
        timestamp = event.timestamp
        worker = self._names.setdefault(event.hostname, event.hostname)
        task = self.table.get(uuid)
        if task is None:
            attempt = Attempt(worker=worker, ended=timestamp, end=kind)
            return self._new(uuid, attempt, now), attempt, False
        if match.ended_at(task.attempts, timestamp, kind) or (
            task.extra_ends and (kind, timestamp) in task.extra_ends
        ):
            self.duplicates += 1
            return None
        task.touched = now
        found = find(task.attempts, worker, timestamp)
        if found is None:
            if task.outcome is not None and kind != "retried":
                task.extra_ends = (*task.extra_ends[-_MAX_EXTRA_ENDS:], (kind, timestamp))
                return task, task.attempts[-1], kind == task.outcome
            # Its own sent, received and started are late or lost: they will find it here.
            found = Attempt(name=task.name, queue=task.queue)
            if kind == "retried":
                found.retries = match.number_before(task.attempts, timestamp)
            task.attempts = match.append(task.attempts, found)
        found.worker = worker
        found.ended = timestamp
        found.end = kind
        # A revocation goes to all workers: each that holds a delivery of the task reports it.
        return task, found, kind == "revoked" == task.outcome

    def _learn(self, task: Task, event: Event, attempt: Attempt) -> None:
        """Take name, queue and relatives over; strings are shared where they are equal."""
        if attempt.name is not None and attempt.end != "replaced":
            task.name = attempt.name
        if attempt.queue is not None:
            task.queue = attempt.queue
        if task.root_id is None and event.root_id is not None:
            task.root_id = self.table.shared(event.root_id, task)
        # A retry and a replacement name the task itself as parent: that is no parent.
        parent_id = event.parent_id
        if task.parent_id is None and parent_id is not None and parent_id != task.uuid:
            task.parent_id = self.table.shared(parent_id, task)


def _add_runtime(step: TaskTransition, event: Event, attempt: Attempt) -> None:
    if step.kind not in _RUNS:
        return
    if event.runtime is not None:
        step.runtime = max(0.0, event.runtime)
    elif attempt.started is not None and attempt.ended is not None:
        step.runtime = max(0.0, attempt.ended - attempt.started)
    else:
        return
    step.runtime_outcome = step.kind


def _wait(since: float, eta: float | None, until: float) -> float:
    """Return the seconds from ``since``, or from the eta if that is later; never negative."""
    return max(0.0, until - (since if eta is None else max(since, eta)))


def _detail(kind: TaskKind, event: Event) -> str:
    if kind == "failed":
        return exception_class(event.exception, event.traceback)
    if kind == "rejected":
        # Celery sends requeue (celery/worker/request.py), its manual says requeued.
        return "true" if (event.requeue or event.requeued) else "false"
    if kind == "revoked":
        return "terminated" if event.terminated else "expired" if event.expired else "revoked"
    return ""
