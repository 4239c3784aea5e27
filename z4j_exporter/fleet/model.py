"""What workers answered when they were asked."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class WorkerFacts:
    """One worker's answers; None for what it did not answer (or an old Celery does not know)."""

    name: str
    #: prefork, threads, solo, gevent, eventlet, … (the pool's own word, shortened).
    pool: str | None = None
    #: Tasks it can run at one time.
    pool_size: int | None = None
    prefetch_count: int | None = None
    #: Names of the queues it consumes.
    queues: tuple[str, ...] | None = None
    #: Names of the tasks it knows.
    registered: frozenset[str] | None = None


@dataclass(frozen=True)
class HeldTask:
    """A task that a worker has, by its own account (inspect active, reserved, scheduled)."""

    uuid: str
    name: str
    worker: str
    state: Literal["running", "reserved"]
    queue: str | None = None
    #: When it started, epoch seconds.
    started: float | None = None
    eta: float | None = None


@dataclass(frozen=True)
class FleetReading:
    """One round of questions."""

    #: Epoch seconds.
    finished_at: float
    duration_seconds: float
    success: bool
    workers: tuple[WorkerFacts, ...] = ()
    tasks: tuple[HeldTask, ...] = ()
    error: str = ""
    #: Names of workers that answered some question.
    answered: frozenset[str] = field(default=frozenset())
