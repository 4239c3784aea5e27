"""Looks at the tasks in progress, a piece at a time: how many there are, and which are stuck."""

from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappush, heappushpop
from typing import NamedTuple

from z4j_exporter.metrics.labels import clean
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import UNKNOWN_TASK, TaskTransition
from z4j_exporter.web.status import FailureRow, TaskRow

#: Tasks that the page lists, and how many of these each state has for sure, if it has so many:
#: a long queue would hide the one task that hangs.
STUCK, EACH_STATE = 10, 3
#: Seconds in a state that are worth telling: below, work is only going on.
STUCK_AFTER_SECONDS = {"running": 5.0, "reserved": 30.0, "waiting": 30.0}
#: Seconds for which one piece of the work may hold the applier.
HOLD_SECONDS = 0.008
#: Tasks between two looks at the clock.
_LOOKS = 256

#: Returns the trace (hexadecimal) that is kept of what an id names; "" if none is.
TraceOf = Callable[[bytes | None], str]


class Stuck(NamedTuple):
    """A task that has been in its state for long; the order is by how long."""

    seconds: float
    serial: int
    state: str
    task: Task


class Census:
    """Goes through tasks in pieces. Each piece is for the thread that owns the tasks.

    ``wall`` is the time, epoch seconds.
    """

    def __init__(self, tasks: Sequence[Task], wall: float) -> None:
        self._tasks = tasks
        self._wall = wall
        self._next = 0
        #: Tasks looked at, by state.
        self.states: Counter[str] = Counter(dict.fromkeys(STUCK_AFTER_SECONDS, 0))
        self._longest: dict[str, list[Stuck]] = {state: [] for state in STUCK_AFTER_SECONDS}

    @property
    def total(self) -> int:
        """Tasks there are."""
        return len(self._tasks)

    @property
    def looked_at(self) -> int:
        """Tasks looked at."""
        return self._next

    def go_on(self, clock: Callable[[], float]) -> bool:
        """Look at some more, for about HOLD_SECONDS; return whether that was all."""
        until = clock() + HOLD_SECONDS
        while self._next < len(self._tasks):
            piece = self._tasks[self._next : self._next + _LOOKS]
            self._look_at(piece)
            self._next += len(piece)
            if clock() >= until:
                break
        return self._next >= len(self._tasks)

    def stuck(self) -> list[Stuck]:
        """Return those that are longest in their state, the longest first."""
        ranked = [
            (rank, each)
            for longest in self._longest.values()
            for rank, each in enumerate(sorted(longest, reverse=True))
        ]
        # The first few of each state, then whoever is longest there.
        ranked.sort(key=lambda r: (r[0] >= EACH_STATE, -r[1].seconds))
        return sorted((each for _, each in ranked[:STUCK]), reverse=True)

    def _look_at(self, piece: Sequence[Task]) -> None:
        states, wall = self.states, self._wall
        worth = {state: self._worth(state) for state in STUCK_AFTER_SECONDS}
        for serial, task in enumerate(piece, self._next):
            state, since = _state_of(task)
            if state not in worth:
                continue  # it has ended since the list was made
            states[state] += 1
            if since is not None and wall - since > worth[state]:
                self._keep(Stuck(wall - since, -serial, state, task))
                worth[state] = self._worth(state)

    def _worth(self, state: str) -> float:
        """Return how many seconds in a state are more than what is known already."""
        longest = self._longest[state]
        return longest[0].seconds if len(longest) >= STUCK else STUCK_AFTER_SECONDS[state]

    def _keep(self, entry: Stuck) -> None:
        longest = self._longest[entry.state]
        if entry.state != "running":
            # What waits for its time waits as it should.
            entry = entry._replace(seconds=min(entry.seconds, self._wall - _due(entry.task)))
            if entry.seconds < STUCK_AFTER_SECONDS[entry.state]:
                return
        if len(longest) < STUCK:
            heappush(longest, entry)
        else:
            heappushpop(longest, entry)


def _state_of(task: Task) -> tuple[str, float | None]:
    """Return a task's state and since when: what Task.state and Task.since say, but quickly.

    Most tasks have one delivery, and of that events told.
    """
    if len(task.attempts) == 1 and task.outcome is None:
        attempt = task.attempts[0]
        if attempt.ended is None and attempt.claim is None:
            if attempt.started:
                return "running", attempt.started
            if attempt.received:
                return "reserved", attempt.received
            if attempt.sent:
                return "waiting", max(attempt.sent, attempt.eta or 0.0)
    return task.state(), task.since()


def stuck_row(stuck: Stuck, trace_id: str) -> TaskRow:
    """Return the row of a task that is in progress."""
    task = stuck.task
    return TaskRow(
        task_id=clean(task.uuid),
        name=clean(task.name or UNKNOWN_TASK),
        state=stuck.state,
        seconds=stuck.seconds,
        worker=clean(_worker(task, stuck.state)),
        queue=clean(task.queue or ""),
        trace_id=trace_id,
    )


def run_row(end: TaskTransition, trace_of: TraceOf) -> TaskRow:
    """Return the row of an attempt that has run."""
    return TaskRow(
        task_id=clean(end.uuid),
        name=clean(end.name),
        state=end.kind,
        seconds=end.runtime or 0.0,
        worker=clean(end.worker),
        queue=clean(end.queue),
        trace_id=trace_of(end.trace.trace_id if end.trace is not None else None),
    )


def failure_row(end: TaskTransition, task: Task | None, trace_of: TraceOf) -> FailureRow:
    """Return the row of a failure; ``task`` is what is still known of its task."""
    return FailureRow(
        at=end.timestamp,
        task_id=clean(end.uuid),
        name=clean(end.name),
        exception=clean(end.detail) if end.kind == "failed" else end.kind,
        worker=clean(end.worker),
        queue=clean(end.queue),
        attempt=_attempt(end, task),
        trace_id=trace_of(end.trace.trace_id if end.trace is not None else None),
    )


def _attempt(end: TaskTransition, task: Task | None) -> int | None:
    """Return which attempt ended, from 1; None where it is not known."""
    if end.attempts is not None:
        return end.attempts
    for attempt in task.attempts if task is not None else ():
        if attempt.ended == end.timestamp and attempt.end == end.kind:
            return None if attempt.retries is None else attempt.retries + 1
    return None


def _due(task: Task) -> float:
    """Return when the first of its deliveries may start, epoch seconds; 0.0: at once."""
    return min((a.eta or 0.0 for a in task.attempts if a.ended is None), default=0.0)


def _worker(task: Task, state: str) -> str:
    """Return who has it; nobody has what waits."""
    if state == "waiting":
        return ""
    for attempt in reversed(task.attempts):
        if attempt.ended is None:
            if attempt.worker is not None:
                return attempt.worker
            if (claim := attempt.claimed()) is not None:
                return claim.worker
    return ""
