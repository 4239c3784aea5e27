"""What one look at the queues found."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class QueueReading:
    """One queue at one moment. What could not be read is None: it is absent, never 0."""

    name: str
    #: Messages ready to be taken, by priority; "" where the broker tells no priorities apart.
    ready: Mapping[str, int] | None = None
    #: Messages that consumers hold and have not acknowledged.
    unacked: int | None = None
    consumers: int | None = None
    memory_bytes: int | None = None
    #: Age of the oldest ready message, where it carries a timestamp.
    oldest_age_seconds: float | None = None
    #: Ids of the tasks in the oldest ready messages, where the message itself tells no age.
    oldest_task_ids: tuple[str, ...] = ()
    #: Counters of the broker since the queue was declared.
    published: int | None = None
    delivered: int | None = None
    acked: int | None = None


@dataclass(frozen=True)
class QueuePoll:
    """One look at all queues."""

    success: bool
    #: How the queues were read: redis, management, declare.
    method: str
    duration_seconds: float
    #: Epoch seconds.
    finished_at: float
    readings: tuple[QueueReading, ...] = ()
    #: Why it failed, for people; without secrets.
    error: str = ""
    #: What could be read only in part, for people (the unacked hash is too large, …).
    notes: tuple[str, ...] = field(default=())
    #: When the queues were last read with success, epoch seconds; None: never.
    last_success_at: float | None = None
