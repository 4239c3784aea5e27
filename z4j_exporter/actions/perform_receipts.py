"""What came of an action, and what is known of a task: the answers of perform.py."""

from dataclasses import dataclass
from typing import Any

from z4j_exporter.actions.locate import Held


@dataclass(frozen=True, slots=True)
class SendReceipt:
    """What was sent, and that the broker has it."""

    task_id: str
    #: The queue; None where it was sent to an exchange of the application's.
    queue: str | None
    exchange: str
    routing_key: str
    source: str
    dropped: tuple[str, ...]
    links: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevokeReceipt:
    """What came of a revocation. The metadata was read before it was sent."""

    workers: tuple[str, ...]
    #: The state that the backend had before; None where it cannot be read.
    state_before: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TerminateReceipt:
    """What came of a termination: the signal was sent by this worker to its child."""

    worker: str
    pool: str
    signal: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PurgeReceipt:
    """How many messages were ready: counted in a dry run, else removed."""

    messages: int
    #: By priority step, on Redis only.
    by_priority: dict[str, int]
    #: What stays: messages that workers hold are not in the queue.
    notes: tuple[str, ...] = ("messages that workers hold already are not touched",)


@dataclass(frozen=True, slots=True)
class TaskKnown:
    """What backend and workers say of a task."""

    #: Of the result backend; None where there is none, or it cannot be read.
    state: str | None
    metadata: dict[str, Any]
    held: tuple[Held, ...]
    #: Workers that answered; None where they could not be asked.
    answered: int | None
    notes: tuple[str, ...] = ()
