"""What the status page shows, as data: one frozen picture of a moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Advice(NamedTuple):
    """Something that someone should look at."""

    #: problem or warning.
    severity: str
    title: str
    text: str


class Connection(NamedTuple):
    """Something that the exporter is connected to, or should be."""

    #: What it is, such as "Events (Redis)", "Queues", "Traces (OTLP)", "Actions", "Journal".
    what: str
    #: Where it is, without secrets.
    where: str
    #: None where it is not known yet.
    ok: bool | None
    #: Why not, or a word on how it is.
    detail: str = ""


class Rate(NamedTuple):
    """Events of one interval. A number that is not known is None, never 0."""

    #: End of the interval, seconds since the epoch.
    at: float
    seconds: float
    started: int | None
    succeeded: int | None
    failed: int | None
    retried: int | None


class WorkerRow(NamedTuple):
    """One worker."""

    name: str
    up: bool
    active: int | None
    pool_size: int | None
    #: prefork, threads, gevent, …; "" where it is not known.
    pool: str
    processed: int | None
    #: Load average of its host over a minute.
    load: float | None
    heartbeat_age_seconds: float | None
    #: Tasks that it started and whose events never came.
    missing_events: int | None
    version: str = ""


class QueueRow(NamedTuple):
    """One queue."""

    name: str
    ready: int | None
    unacked: int | None
    oldest_age_seconds: float | None
    #: Workers that say that they take from it.
    workers: int | None
    #: Tasks that these can run at a time.
    pool_size: int | None
    #: Consumers that the broker sees (RabbitMQ).
    consumers: int | None


class TaskRow(NamedTuple):
    """One task that is in progress, or that took long."""

    task_id: str
    #: "unknown" where no event told it.
    name: str
    #: waiting, reserved, running; or succeeded, failed, retried.
    state: str
    seconds: float
    worker: str
    queue: str
    #: Hexadecimal; "" where no trace of it is kept.
    trace_id: str = ""


class FailureRow(NamedTuple):
    """One failure. Never the exception's message: it may hold what must not be shown."""

    #: Seconds since the epoch.
    at: float
    task_id: str
    name: str
    #: The exception's class; or "lost".
    exception: str
    worker: str
    queue: str
    #: The failed attempt, from 1; None where it is not known.
    attempt: int | None
    #: Hexadecimal; "" where no trace of it is kept.
    trace_id: str = ""


class Loss(NamedTuple):
    """Something that was lost, refused or cut since the start, by its counter."""

    #: The metric that counts it.
    family: str
    #: What it means, a few words.
    meaning: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody asks a loss for


@dataclass(frozen=True, slots=True)
class Status:
    """All that the page shows. Lists are bounded by who makes them; `*_total` says of how many."""

    #: Seconds since the epoch.
    taken_at: float
    version: str
    #: Seconds since the process started.
    uptime_seconds: float
    ready: bool
    reason: str
    #: Where the events come from, without secrets.
    source: str
    connections: Sequence[Connection] = ()
    #: The doctor's findings, the worst first; only warnings and problems.
    findings: Sequence[Advice] = ()
    #: Whether the doctor has looked yet.
    examined: bool = False
    #: The latest, the oldest first, one step of time each (at most 60).
    rates: Sequence[Rate] = ()
    #: Tasks in progress by state; a state that is not known is absent.
    in_progress: Mapping[str, int] = field(default_factory=dict)
    #: Tasks in progress in all; known even where there was no time to look at each.
    in_progress_total: int | None = None
    #: Transitions since the start, by name: sent, received, started, succeeded, failed, …
    totals: Mapping[str, int] = field(default_factory=dict)
    #: Those that are down first, then the busiest.
    workers: Sequence[WorkerRow] = ()
    workers_total: int = 0
    workers_up: int = 0
    #: Those with the oldest message first, then the longest.
    queues: Sequence[QueueRow] = ()
    queues_total: int = 0
    #: None where queues are not polled.
    queues_ok: bool | None = None
    queues_age_seconds: float | None = None
    #: In progress, the longest in its state first.
    stuck: Sequence[TaskRow] = ()
    #: Ended within the time that `rates` spans, the longest run time first.
    slowest: Sequence[TaskRow] = ()
    #: The newest first.
    failures: Sequence[FailureRow] = ()
    #: Whether there is anything, and what; zeros are left out.
    losses: Sequence[Loss] = ()
    #: Seconds from an event's stamp to its receipt, at the median and the 99th percentile.
    lag_median_seconds: float | None = None
    lag_p99_seconds: float | None = None
    #: Whether /traces answers.
    traces: bool = False
    #: What this picture lacks and why, a sentence each; empty when it is whole.
    notes: Sequence[str] = ()
