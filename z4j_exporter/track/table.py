"""The tasks remembered: bounded, the oldest finished ones forgotten first."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

from msgspec import Struct

from z4j_exporter.track.attempts import Attempt, Attempts
from z4j_exporter.track.transitions import TaskTransition

#: Tasks remembered, unless told otherwise.
DEFAULT_MAX_TASKS = 100_000
#: The states of a task that has not ended.
UNFINISHED = ("waiting", "reserved", "running")


class Task(Struct, gc=False):
    """What is known of one task. Hidden from the garbage collector: it never forms a cycle."""

    uuid: str
    attempts: Attempts
    #: When the last event came, on the tracker's clock.
    touched: float
    name: str | None = None
    queue: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    #: max(sent, eta) of the first attempt, epoch seconds.
    first_sent: float | None = None
    ended_at: float | None = None
    #: The kind of transition that ended the task; None while it has not ended.
    outcome: str | None = None
    #: (kind, timestamp) of ends that belong to no attempt of their own: a second failure, …
    extra_ends: tuple[tuple[str, float], ...] = ()
    #: Transitions that wait for the task's name and queue (see naming.py).
    held: list[tuple[TaskTransition, Attempt]] | None = None

    def state(self) -> str:
        """Return waiting, reserved, running, or the outcome."""
        if self.outcome is not None:
            return self.outcome
        state = "waiting"
        for attempt in self.attempts:
            if attempt.ended is None:
                if attempt.started is not None:
                    return "running"
                if attempt.received is not None:
                    state = "reserved"
                elif (claim := attempt.claimed()) is not None:
                    if claim.running:
                        return "running"
                    state = "reserved"
        return state

    def since(self) -> float | None:
        """Return since when it is in its state (epoch seconds); None for a finished task."""
        if self.outcome is not None:
            return None
        times = [
            attempt.started
            or attempt.received
            or ((claim := attempt.claimed()) and claim.since)
            or (attempt.sent and max(attempt.sent, attempt.eta or 0.0))
            for attempt in self.attempts
            if attempt.ended is None
        ]
        known = [time for time in times if time]
        if known:
            return min(known)
        return self.attempts[-1].ended


class TaskTable:
    """Tasks by uuid, at most ``max_tasks``. ``on_forget`` is called before a task is forgotten."""

    def __init__(self, max_tasks: int, on_forget: Callable[[Task], None]) -> None:
        self._max_tasks = max_tasks
        self._on_forget = on_forget
        # Both in order of insertion: the first is the oldest.
        self.active: dict[str, Task] = {}
        self.finished: dict[str, Task] = {}
        #: Tasks forgotten to make room, by their state at that time; and those given up.
        self.evictions: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.active) + len(self.finished)

    def __iter__(self) -> Iterator[Task]:
        yield from self.finished.values()
        yield from self.active.values()

    def get(self, uuid: str) -> Task | None:
        """Return a task, if it is remembered."""
        return self.active.get(uuid) or self.finished.get(uuid)

    def add(self, task: Task) -> None:
        """Remember a new task, making room where there is none."""
        if len(self.active) + len(self.finished) >= self._max_tasks:
            self._make_room()
        self.active[task.uuid] = task

    def finish(self, task: Task, outcome: str, ended_at: float) -> None:
        """Move a task to the finished ones, as the newest of them."""
        task.outcome = outcome
        task.ended_at = ended_at
        if self.active.pop(task.uuid, None) is not None:
            self.finished[task.uuid] = task

    def reopen(self, task: Task) -> None:
        """Take a finished task back: it was delivered again."""
        task.outcome = task.ended_at = None
        if self.finished.pop(task.uuid, None) is not None:
            self.active[task.uuid] = task

    def forget(self, task: Task, counted_as: str | None = None) -> None:
        """Forget one task; counted by its state, unless told otherwise."""
        self._on_forget(task)
        self.evictions[counted_as or task.state()] += 1
        self.active.pop(task.uuid, None)
        self.finished.pop(task.uuid, None)

    def drop(self, task: Task) -> None:
        """Forget a task that no event ever told of; not counted, as it never was."""
        self.active.pop(task.uuid, None)

    def has_room(self) -> bool:
        """Return whether one more task costs no task that has not ended."""
        return bool(self.finished) or len(self.active) < self._max_tasks

    def shared(self, uuid: str, task: Task) -> str:
        """Return an equal string that is in memory already, where there is one."""
        if uuid == task.uuid:
            return task.uuid
        other = self.get(uuid)
        return uuid if other is None else other.uuid

    def _make_room(self) -> None:
        # One in a hundred at once, since to take the first item of a dict again and again walks
        # each time over all that was taken before.
        count = max(1, self._max_tasks // 100)
        for task in list(islice(self.finished.values(), count)) or list(
            islice(self.active.values(), count)
        ):
            self.forget(task)
