"""Finds an attempt's place: its number among its task's, what sent it, and what it hangs under."""

from collections.abc import Callable

from z4j_exporter.tracing.ids import literal_span, span_id, trace_id
from z4j_exporter.tracing.traces import Traces
from z4j_exporter.track.attempts import Attempt, Notes
from z4j_exporter.track.table import Task

#: Tasks looked at upwards for a loop. What is beyond is taken for a chain, if it is one in time.
_MAX_CLIMB = 32

Lookup = Callable[[str], Task | None]


def notes_of(attempt: Attempt) -> Notes:
    """Return an attempt's notes; an attempt that no event told of gets its first."""
    notes = attempt.notes
    if notes is None:
        notes = attempt.notes = Notes()
    return notes


def retries_of(task: Task, attempt: Attempt) -> int:
    """Return an attempt's number of retries, by the attempts before it where none was told."""
    if attempt.retries is not None:
        return attempt.retries
    known = 0
    for other in task.attempts:
        if other is attempt:
            return known
        known = (known if other.retries is None else other.retries) + (other.end == "retried")
    return 0


def place(task: Task, attempt: Attempt) -> tuple[int, int]:
    """Return (retries, ordinal) of an attempt, as far as is known by now."""
    notes = notes_of(attempt)
    if notes.ordinal >= 0:
        return notes.number, notes.ordinal
    number = retries_of(task, attempt)
    if len(task.attempts) == 1:
        return number, 0
    first, waiting = _unplaced(task, attempt, number)
    return number, first + len(waiting)


def fix_place(task: Task, attempt: Attempt) -> Notes:
    """Give an attempt its (retries, ordinal) for good; return its notes, which hold them.

    Deliveries with the same retries are counted by the time they were first seen: those that
    came before it get theirs too.
    """
    notes = notes_of(attempt)
    if notes.ordinal >= 0:
        return notes
    number = retries_of(task, attempt)
    if len(task.attempts) == 1 and task.attempts[0] is attempt:
        notes.number, notes.ordinal = number, 0
        return notes
    first, waiting = _unplaced(task, attempt, number)
    for ordinal, other in enumerate([*waiting, attempt], first):
        known = notes_of(other)
        known.number, known.ordinal = number, ordinal
    return notes


def _unplaced(task: Task, attempt: Attempt, number: int) -> tuple[int, list[Attempt]]:
    """Return the next ordinal, and the attempts that come before this one and have none."""
    following = 0
    seen = attempt.first_seen()
    waiting = []
    for other in task.attempts:
        if other is attempt:
            continue
        notes = other.notes
        if notes is not None and notes.ordinal >= 0:
            if notes.number == number:
                following = max(following, notes.ordinal + 1)
        elif (
            other.first_seen() < seen
            and retries_of(task, other) == number
            and not doubtful(task, other)
        ):
            waiting.append(other)
    waiting.sort(key=Attempt.first_seen)
    return following, waiting


def doubtful(task: Task, attempt: Attempt) -> bool:
    """Return whether it cannot be told which attempt this is: the task was joined late.

    Who joins while a task is being retried sees a start or an end without its task-received, and
    the tracker can but give it to the attempt that it knows, or number it like the one before.
    """
    if attempt.retries == 0 or _is_sound(attempt):
        return False
    for other in task.attempts:
        if other.retries == 0 and (other.received is not None or other.sent is not None):
            return False  # it was there from the beginning
    return True


def _is_sound(attempt: Attempt) -> bool:
    """Return whether an event of its own told its number, and its run followed that."""
    told = attempt.received if attempt.received is not None else attempt.sent
    if told is None:
        return False
    if attempt.started is None:
        return attempt.end is None or attempt.end == "revoked"
    return told <= attempt.started


def placed(task: Task, number: int, ordinal: int) -> Attempt | None:
    """Return the attempt at a place, if it is remembered."""
    for attempt in task.attempts:
        notes = attempt.notes
        if notes is not None and notes.ordinal == ordinal and notes.number == number:
            return attempt
    return None


def ran(attempt: Attempt) -> bool:
    """Return whether an attempt has, or will have, a span of its run."""
    return attempt.started is not None or (
        attempt.end is not None and attempt.end not in ("revoked", "returned", "late")
    )


class Parent:
    """What a task-sent hangs under: a span, and the worker that ran it."""

    __slots__ = ("span_id", "worker")

    def __init__(self, span_id: bytes = b"", worker: str | None = None) -> None:
        self.span_id = span_id
        self.worker = worker


_NONE = Parent()


class Lineage:
    """Finds parents. ``lookup`` finds a task by its uuid, ``traces`` its trace."""

    def __init__(self, lookup: Lookup, traces: Traces) -> None:
        self.lookup = lookup
        self._traces = traces

    def parent(self, task: Task, attempt: Attempt) -> Parent:
        """Return what the task-sent of an attempt hangs under, whether there was one or not."""
        notes = fix_place(task, attempt)
        ordinal = notes.ordinal
        while ordinal > 0:
            # A replacement and what was sent once more hang under the run before them; a
            # redelivery hangs where the first delivery does.
            before = placed(task, notes.number, ordinal - 1)
            again = attempt.sent is not None or (before is not None and renamed(before, attempt))
            if again and (before is None or ran(before)):  # else it was sent before it ever ran
                span = span_id(task.uuid, "process", notes.number, ordinal - 1)
                return Parent(span, None if before is None else before.worker)
            if before is None:
                break
            attempt, ordinal = before, ordinal - 1
        if notes.number > 0:
            return self._run_before(task, notes.number - 1)
        return self._parent_task(task, attempt)

    def last_run(self, uuid: str, task: Task, trace: bytes) -> tuple[bytes, bytes]:
        """Return trace and span of another task's last run; of its revocation if it never ran.

        ``task`` repeats that one, and is in ``trace``: what is forgotten is looked for there when
        the two have a root in common, and ran once, as most do.
        """
        other = self.lookup(uuid)
        if other is None:
            own = task.root_id in (None, task.uuid)
            return trace_id(uuid) if own else trace, span_id(uuid, "process", 0, 0)
        last: Attempt | None = None
        for attempt in other.attempts:
            if not doubtful(other, attempt) and (
                last is None
                or (ran(attempt), place(other, attempt)) > (ran(last), place(other, last))
            ):
                last = attempt
        number, ordinal = (0, 0) if last is None else place(other, last)
        revoked = last is not None and not ran(last) and last.end == "revoked"
        span = span_id(uuid, "revoke" if revoked else "process", number, ordinal)
        return self._traces.of(other), span

    def _run_before(self, task: Task, number: int) -> Parent:
        """Return the last run with this number of retries."""
        ordinal, worker = 0, None
        for other in task.attempts:
            if retries_of(task, other) == number and not doubtful(task, other):
                known = fix_place(task, other)
                if known.ordinal >= ordinal and ran(other):
                    ordinal, worker = known.ordinal, other.worker
        return Parent(span_id(task.uuid, "process", number, ordinal), worker)

    def _parent_task(self, task: Task, attempt: Attempt) -> Parent:
        parent_id = task.parent_id
        if parent_id is None or parent_id == task.uuid:
            above = self._traces.span_above(task)
            return Parent(above) if above else _NONE
        literal = literal_span(parent_id)
        if literal is not None:
            return Parent(literal)
        parent = self.lookup(parent_id)
        if parent is None:
            # Any exporter that does not know it says the same: most tasks run once.
            return Parent(span_id(parent_id, "process", 0, 0))
        height = self._climb(task, parent)
        if height is None:
            return _NONE
        run = _running(parent, _moment(attempt))
        if height >= _MAX_CLIMB and not _in_time(run, attempt):
            return _NONE
        if doubtful(parent, run):
            number = max(0, retries_of(parent, run) - 1)  # it was given the next one's
            return Parent(span_id(parent.uuid, "process", number, 0), run.worker)
        known = fix_place(parent, run)
        span = span_id(parent.uuid, "process", known.number, known.ordinal)
        return Parent(span, run.worker)

    def _climb(self, task: Task, parent: Task) -> int | None:
        """Return the known tasks above a task, at most _MAX_CLIMB; None if it is its own."""
        above: Task | None = parent
        for height in range(_MAX_CLIMB):
            if above is None:
                return height
            if above is task or above.uuid == task.uuid:
                return None
            above = None if above.parent_id is None else self.lookup(above.parent_id)
        return _MAX_CLIMB


def renamed(before: Attempt, attempt: Attempt) -> bool:
    """Return whether ``attempt`` replaced ``before``: the same uuid, another task."""
    return None not in (before.name, attempt.name) and before.name != attempt.name


def _moment(attempt: Attempt) -> float | None:
    """Return when an attempt was sent, or else the first that is known of it."""
    if attempt.sent is not None:
        return attempt.sent
    first = attempt.first_seen()
    return None if first == float("inf") else first


def _running(task: Task, moment: float | None) -> Attempt:
    """Return the attempt that ran at a moment of its worker's clock, else the latest known."""
    best: Attempt | None = None
    if moment is not None:
        for attempt in task.attempts:
            if (
                attempt.started is not None
                and attempt.started <= moment
                and (best is None or attempt.started >= (best.started or 0.0))
            ):
                best = attempt
    if best is not None:
        return best
    return max(task.attempts, key=lambda a: (a.started is not None, a.started or 0.0))


def _in_time(run: Attempt, attempt: Attempt) -> bool:
    moment = _moment(attempt)
    return moment is not None and run.started is not None and run.started <= moment
