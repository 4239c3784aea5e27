"""Turns the moments of attempts into the nanoseconds of spans."""

from z4j_exporter.tracing.lineage import renamed
from z4j_exporter.track.attempts import Attempt
from z4j_exporter.track.table import Task

#: Backends keep nanoseconds in a signed 64-bit number: until the year 2262.
_MAX_NS = 2**63 - 1


def nanoseconds(moment: float) -> int:
    """Return epoch seconds as nanoseconds, as exact as events are: to the microsecond. Never 0."""
    value = round(moment * 1e6) * 1000
    return value if 0 < value <= _MAX_NS else 1 if value <= 0 else _MAX_NS


def ended_ns(task: Task, attempt: Attempt) -> int:
    """Return when an attempt ended, or the last that is known of it."""
    if attempt.end == "replaced":
        return nanoseconds(_replaced_at(task, attempt))
    if attempt.end == "late":
        # It was closed with its task, whose end is not its own.
        return nanoseconds(attempt.started or attempt.ended or 0.0)
    if attempt.ended is None and attempt.started is not None:
        return nanoseconds(_followed_at(task, attempt) or attempt.started)
    return nanoseconds(attempt.ended or attempt.started or 0.0)


def left_open(task: Task, attempt: Attempt) -> bool:
    """Return whether it started, nobody saw it end, and its task came to a worker once more."""
    return (
        attempt.started is not None
        and attempt.ended is None
        and _followed_at(task, attempt) is not None
    )


def started_ns(attempt: Attempt, end_ns: int) -> int:
    """Return when an attempt started: at its end, if nothing tells; never after it."""
    started = attempt.started
    if started is None:
        runtime = None if attempt.notes is None else attempt.notes.runtime
        if runtime is not None:
            started = (attempt.ended or 0.0) - runtime
        elif attempt.claim is not None and attempt.claim.running:
            started = attempt.claim.since
    return end_ns if started is None else min(nanoseconds(started), end_ns)


def _replaced_at(task: Task, attempt: Attempt) -> float:
    """Return when the replacement was first seen, whichever of its events came first."""
    own = attempt.first_seen()
    later = [
        other.first_seen()
        for other in task.attempts
        if other is not attempt and renamed(attempt, other) and other.first_seen() > own
    ]
    return min(later, default=attempt.ended or own)


def _followed_at(task: Task, attempt: Attempt) -> float | None:
    """Return when the first delivery after this one was seen."""
    own = attempt.started or 0.0
    later = [other.first_seen() for other in task.attempts if other is not attempt]
    return min((moment for moment in later if moment > own), default=None)
