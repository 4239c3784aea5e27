"""One task's attempts, and which of them an event speaks of.

task-started, -retried and the ends carry no attempt number, a retry keeps the uuid, a redelivery
repeats (uuid, retries), and events overtake each other: so every event is matched against the
attempts known so far, by retries where it has them, by worker and by what is still open.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

from z4j_exporter.track.transitions import TraceRef

#: Attempts remembered of one task; older closed ones are forgotten, so that a task which
#: retries for ever stays small.
MAX_ATTEMPTS = 12


class Claim(Struct, frozen=True, gc=False):
    """What a worker said of a task when it was asked (see prime.py)."""

    worker: str
    running: bool
    #: When it started, epoch seconds.
    since: float | None = None
    #: When the worker was asked again and did not name the task, on the tracker's clock.
    gone_at: float | None = None


class Notes(Struct, gc=False):
    """What only those who follow attempts (spans) want to know of one; see observer.py.

    ``exception`` and ``traceback`` are as the event had them, cut to MAX_EXCEPTION and
    MAX_TRACEBACK characters: they may hold secrets.
    """

    #: Full nodename and process of the client that sent it.
    client: str | None = None
    client_pid: int | None = None
    #: Process of the worker's event dispatcher: the parent's, not the pool child's.
    worker_pid: int | None = None
    #: ISO 8601, as sent.
    expires: str | None = None
    exception: str | None = None
    traceback: str | None = None
    #: As its worker measured it, seconds.
    runtime: float | None = None
    #: What the transition that closed it said: exception class, revoked, expired, worker_lost, …
    detail: str = ""
    # The observer's own from here on.
    #: How far it is with it; see tracing/tracer.py.
    fate: int = 0
    #: Whether its trace is kept by the ratio (None: not decided yet), and it by a rule.
    chosen: bool | None = None
    kept: bool = False
    #: Which attempt it is, for good: retries, and which of the deliveries with that many.
    number: int = -1
    ordinal: int = -1
    #: Its own span, as it was told to others.
    trace: TraceRef | None = None
    #: The ordinal of the delivery whose task-sent it came from (-1: none known), and the start
    #: of that one's span (0: not made yet).
    origin: int = -1
    send_ns: int = 0


#: Characters kept of an exception's repr and, from its end, of a traceback.
MAX_EXCEPTION = 4_000
MAX_TRACEBACK = 16_000


class Attempt(Struct, gc=False):
    """One delivery of a task to a worker. Times are the sender's clock, epoch seconds.

    ``retries`` is None while only events without it were seen. ``end`` is the kind of transition
    that closed it, or ``replaced``, ``returned``, ``late``, which close it without one.
    """

    retries: int | None = None
    name: str | None = None
    queue: str | None = None
    worker: str | None = None
    sent: float | None = None
    eta: float | None = None
    received: float | None = None
    started: float | None = None
    ended: float | None = None
    end: str | None = None
    #: Counts only until a worker's event tells more: see `claimed`.
    claim: Claim | None = None
    #: None unless someone follows attempts.
    notes: Notes | None = None

    def claimed(self) -> Claim | None:
        """Return what a worker claims of it, as long as no event of a worker told anything."""
        claim = self.claim
        if claim is None or self.ended is not None or self.worker is not None:
            return None
        return claim if claim.gone_at is None else None

    def first_seen(self) -> float:
        """Return the earliest time known of it, or infinity."""
        times = (self.sent, self.received, self.started, self.ended)
        return min((t for t in times if t is not None), default=float("inf"))


Attempts = tuple[Attempt, ...]
#: Finds the attempt that an end from this worker at this moment closes.
Finder = Callable[[Attempts, str, float], Attempt | None]


def sent_at(attempts: Attempts, timestamp: float) -> bool:
    """Return whether this very task-sent was seen before."""
    for attempt in attempts:  # noqa: SIM110  # any() costs twice as much, for each event
        if attempt.sent == timestamp:
            return True
    return False


def received_at(attempts: Attempts, timestamp: float) -> bool:
    """Return whether this very task-received was seen before."""
    for attempt in attempts:  # noqa: SIM110  # see sent_at
        if attempt.received == timestamp:
            return True
    return False


def started_at(attempts: Attempts, timestamp: float) -> bool:
    """Return whether this very task-started was seen before."""
    for attempt in attempts:  # noqa: SIM110  # see sent_at
        if attempt.started == timestamp:
            return True
    return False


def ended_at(attempts: Attempts, timestamp: float, end: str) -> bool:
    """Return whether this very end was seen before."""
    for attempt in attempts:  # noqa: SIM110  # see sent_at
        if attempt.ended == timestamp and attempt.end == end:
            return True
    return False


def for_sent(
    attempts: Attempts, retries: int, name: str | None, timestamp: float
) -> Attempt | None:
    """Return the oldest attempt that still lacks this task-sent.

    A retry is sent by the attempt before it: an attempt without number that had begun by then is
    that one.
    """
    for attempt in attempts:
        if (
            attempt.sent is None
            and (
                attempt.retries == retries
                or (attempt.retries is None and not (retries and _begun(attempt, timestamp)))
            )
            and (attempt.name is None or name is None or attempt.name == name)
        ):
            return attempt
    return None


def for_received(
    attempts: Attempts, retries: int, name: str | None, worker: str, timestamp: float
) -> Attempt | None:
    """Return the oldest attempt that still lacks this task-received.

    An attempt that another worker already has is another delivery; so is one without number that
    had begun before this was received, by the worker's own clock.
    """
    for attempt in attempts:
        if (
            attempt.received is None
            and (
                attempt.retries == retries
                or (attempt.retries is None and not _begun(attempt, timestamp))
            )
            and (attempt.name is None or name is None or attempt.name == name)
            and (attempt.worker is None or attempt.worker == worker)
        ):
            return attempt
    return None


def _begun(attempt: Attempt, timestamp: float) -> bool:
    """Return whether it had started, or ended, before a moment."""
    return (attempt.started is not None and attempt.started < timestamp) or (
        attempt.ended is not None and attempt.ended < timestamp
    )


def _is_to_come(attempt: Attempt, timestamp: float) -> bool:
    """Return whether it is a retry that was not due yet at a moment."""
    return (
        attempt.started is None
        and attempt.ended is None
        and bool(attempt.retries)
        and attempt.eta is not None
        and attempt.eta > timestamp
    )


def number_before(attempts: Attempts, timestamp: float) -> int | None:
    """Return the number of the attempt that ran at a moment, by the retry that it sent."""
    coming = [a.retries for a in attempts if a.retries and _is_to_come(a, timestamp)]
    return min(coming) - 1 if coming else None


def for_started(attempts: Attempts, worker: str, timestamp: float) -> Attempt | None:
    """Return the oldest attempt that waits to start, best one that this worker received.

    Else one that was closed later than ``timestamp`` without a start: this start came late.
    """
    best: Attempt | None = None
    best_rank = -1
    for attempt in attempts:
        if attempt.started is not None or attempt.worker not in (None, worker):
            continue  # another worker has it: this one's is a delivery of its own
        own = attempt.worker == worker
        if attempt.ended is None:
            rank = 3 if own else 1
        elif attempt.ended >= timestamp:
            # The task-sent of a replacement overtakes the start of what it replaces: the worker
            # gathers its events, the pool child sends its own at once.
            rank = 2 if own else 0
        else:
            continue
        if rank > best_rank:
            best, best_rank = attempt, rank
    return best


def for_retried(attempts: Attempts, worker: str, timestamp: float) -> Attempt | None:
    """Return the oldest open attempt, best one that runs on this worker.

    The oldest, since received and started of attempt k+1 may come before retried of attempt k.
    Not one that is not due yet: it is the retry, and what sent it was never seen.
    """
    best: Attempt | None = None
    best_rank = -1
    for attempt in attempts:
        if attempt.ended is not None or _is_to_come(attempt, timestamp):
            continue
        rank = (attempt.started is not None) * 2 + (attempt.worker == worker)
        if rank > best_rank:
            best, best_rank = attempt, rank
    return best


def for_end(attempts: Attempts, worker: str, _timestamp: float) -> Attempt | None:
    """Return the newest open attempt, best one that runs on this worker."""
    best: Attempt | None = None
    best_rank = -1
    for attempt in attempts:
        if attempt.ended is not None:
            continue
        rank = (attempt.started is not None) * 2 + (attempt.worker == worker)
        if rank >= best_rank:
            best, best_rank = attempt, rank
    return best


def append(attempts: Attempts, attempt: Attempt) -> Attempts:
    """Return the attempts with one more, forgetting closed ones beyond MAX_ATTEMPTS."""
    if len(attempts) >= MAX_ATTEMPTS:
        for index, old in enumerate(attempts):
            if old.ended is not None:
                attempts = attempts[:index] + attempts[index + 1 :]
                break
        else:
            attempts = attempts[1:]
    return (*attempts, attempt)


def epoch(moment: str | None) -> float | None:
    """Return epoch seconds of an ISO 8601 eta; None when it is absent or cannot be read.

    A moment without an offset is UTC, as Celery sends it with ``enable_utc``.
    """
    if not moment:
        return None
    try:
        parsed = datetime.fromisoformat(moment)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        return parsed.timestamp()
    except (ValueError, OverflowError):
        return None
