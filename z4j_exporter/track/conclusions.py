"""Ends that no event tells: the worker died, or is idle, or all is silent for too long."""

from z4j_exporter.track.attempts import Attempt
from z4j_exporter.track.naming import Naming
from z4j_exporter.track.table import Task, TaskTable
from z4j_exporter.track.transitions import TaskKind, TaskTransition

#: Seconds without any event after which a task is given up.
DEFAULT_GIVE_UP_SECONDS = 24 * 3600.0
#: Seconds between looks for tasks to give up.
_GIVE_UP_EVERY_SECONDS = 60.0
#: The outcomes concluded here: a new delivery of the task proves them wrong.
CONCLUDED = frozenset({"lost", "unseen"})


class Conclusions:
    """Closes attempts, and with them tasks, for want of an event."""

    def __init__(self, table: TaskTable, naming: Naming, give_up_seconds: float) -> None:
        self._table = table
        self._naming = naming
        self._give_up_seconds = give_up_seconds
        self._give_up_at: float | None = None

    def lose_worker(self, worker: str, at: float, now: float) -> int:
        """End what ran on a worker that is gone; return how many attempts that were.

        ``at`` is the epoch time the ends get. What the worker had not started goes back to the
        broker, and waits again.
        """
        ended = 0
        # Finished tasks too: what ran here may have been delivered again, and ended elsewhere.
        for task in list(self._table):
            for attempt in task.attempts:
                if _runs_on(attempt, worker):
                    self._conclude(task, attempt, "lost", "worker_lost", at, now)
                    ended += 1
                elif attempt.ended is None and attempt.worker == worker:
                    attempt.ended, attempt.end = at, "returned"
                elif attempt.claim is not None and attempt.claim.worker == worker:
                    attempt.claim = None
        return ended

    def idle_worker(self, worker: str, at: float, now: float) -> int:
        """End what seems to run on a worker that says it runs nothing; return how many.

        ``Ignore`` ends a task without an event (celery/worker/request.py), and an event may have
        been lost.
        """
        ended = 0
        for task in list(self._table.active.values()):
            for attempt in task.attempts:
                if _runs_on(attempt, worker):
                    self._conclude(task, attempt, "unseen", "", at, now)
                    ended += 1
        return ended

    def tick(self, now: float) -> None:
        """Give up tasks of which nothing was heard for too long."""
        if self._give_up_at is None or now >= self._give_up_at:
            self._give_up_at = now + _GIVE_UP_EVERY_SECONDS
            for task in list(self._table.active.values()):
                if now - task.touched >= self._give_up_seconds:
                    self._give_up(task, now)

    def _give_up(self, task: Task, now: float) -> None:
        for attempt in task.attempts:
            if attempt.ended is None and attempt.started is not None:
                self._conclude(task, attempt, "lost", "timeout", attempt.started, now)
        if task.outcome is None:
            self._table.forget(task, "given_up")

    def _conclude(
        self, task: Task, attempt: Attempt, kind: TaskKind, detail: str, at: float, now: float
    ) -> None:
        attempt.ended = max(at, attempt.started or at)
        attempt.end = kind
        step = TaskTransition(
            kind=kind,
            uuid=task.uuid,
            worker=attempt.worker or "",
            timestamp=attempt.ended,
            detail=detail,
        )
        if task.outcome is None and all(a.ended is not None for a in task.attempts):
            step.final = True
            self._table.finish(task, kind, attempt.ended)
        self._naming.tell(task, attempt, step, now)


def _runs_on(attempt: Attempt, worker: str) -> bool:
    """Return whether it runs there, by events or by the worker's claim, which then holds."""
    if attempt.ended is not None:
        return False
    if attempt.worker == worker:
        return attempt.started is not None
    claim = attempt.claimed()
    if claim is None or claim.worker != worker or not claim.running:
        return False
    attempt.worker = worker
    return True
