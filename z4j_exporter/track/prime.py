"""Learns the names of tasks that began before anyone listened, from what their workers say.

A worker that is asked names every task it holds. Each that no event told of gets an entry with a
blank attempt, which the task's next event fills in exactly as it would fill a new one: priming
changes under which name something counts, never what counts, nor how often.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from z4j_exporter.track.attempts import Attempt, Claim
from z4j_exporter.track.naming import Naming
from z4j_exporter.track.table import Task, TaskTable

#: Seconds between a worker's first answer without a task that it held, and the end of the claim:
#: the event that ended the task may be on its way.
GONE_SECONDS = 30.0
#: Workers whose claims are followed, and tasks of one worker.
MAX_WORKERS = 10_000
MAX_TASKS_EACH = 50_000


class Held(Protocol):
    """A task that a worker holds, by its own account."""

    @property
    def uuid(self) -> str:
        """The task's uuid."""

    @property
    def name(self) -> str:
        """The task's name."""

    @property
    def state(self) -> str:
        """``running`` or ``reserved``."""

    @property
    def queue(self) -> str | None:
        """The queue it came from, where that is sure."""

    @property
    def started(self) -> float | None:
        """When it started, epoch seconds."""


class Priming:
    """Follows what workers claim to hold. ``share`` keeps one copy of each name."""

    def __init__(self, table: TaskTable, naming: Naming, share: Callable[[str, str], str]) -> None:
        self._table = table
        self._naming = naming
        self._share = share
        self._claimed: dict[str, set[str]] = {}

    def prime(self, worker: str, held: Iterable[Held], now: float) -> None:
        """Take all the tasks that a worker holds; what it held before and does not is let go."""
        worker = self._share(worker, worker)
        before = self._claimed.pop(worker, set())
        claimed: set[str] = set()
        for told in held:
            if len(claimed) >= MAX_TASKS_EACH:
                break
            if self._take(worker, told, now):
                claimed.add(told.uuid)
        claimed.update(uuid for uuid in before - claimed if self._keep(worker, uuid, now))
        if claimed:
            if len(self._claimed) >= MAX_WORKERS:
                del self._claimed[next(iter(self._claimed))]
            self._claimed[worker] = claimed

    def _take(self, worker: str, told: Held, now: float) -> bool:
        """Name a task; return whether its worker's claim is all that is known of its place."""
        task = self._table.get(told.uuid)
        if task is None:
            if not self._table.has_room():
                return False
            task = Task(told.uuid, (Attempt(),), now)
            self._table.add(task)
        if task.name is None:
            task.name = self._share(told.name, told.name)
        if task.queue is None and told.queue is not None:
            task.queue = self._share(told.queue, told.queue)
        self._naming.learned(task, now)
        attempt = _open(task)
        if attempt is None:
            return False
        attempt.claim = Claim(worker, told.state == "running", told.started)
        task.touched = now
        return True

    def _keep(self, worker: str, uuid: str, now: float) -> bool:
        """Return whether to go on following a claim that the worker did not repeat."""
        task = self._table.get(uuid)
        attempt = None if task is None else _open(task)
        claim = None if attempt is None else attempt.claim
        if task is None or attempt is None or claim is None or claim.worker != worker:
            return False  # events have told more, or another worker has it
        if claim.gone_at is None:
            attempt.claim = Claim(worker, claim.running, claim.since, now)
            return True
        if now - claim.gone_at < GONE_SECONDS:
            return True
        attempt.claim = None
        if len(task.attempts) == 1 and attempt.sent is None:
            self._table.drop(task)
        return False


def _open(task: Task) -> Attempt | None:
    """Return the newest attempt of which no worker's event told."""
    if task.outcome is not None:
        return None
    for attempt in reversed(task.attempts):
        if attempt.ended is None and attempt.worker is None:
            return attempt
    return None
