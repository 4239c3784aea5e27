"""What is asked of the engine: one request in plain fields, and its hash. Pure."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args

from z4j_exporter.actions.model import Actor, Verb

#: States of a task, as the exporter's tracker has them; "unknown": nobody knows of it.
TaskState = Literal[
    "waiting",
    "reserved",
    "running",
    "succeeded",
    "failed",
    "rejected",
    "revoked",
    "lost",
    "unseen",
    "unknown",
]
TASK_STATES: Final[tuple[TaskState, ...]] = get_args(TaskState)
#: States from which the task may yet end by itself: sending it again would run it twice.
ACTIVE_STATES: Final = frozenset({"waiting", "reserved", "running"})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which remembered tasks a bulk retry is about; None: any. All that are given must fit."""

    #: Glob on the task's name.
    task: str | None = None
    queue: str | None = None
    state: TaskState = "failed"
    #: Class of the exception, as the metrics name it.
    exception: str | None = None
    #: When the task ended, epoch seconds: from ``since`` to before ``until``.
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """How tasks are sent again; None keeps what was."""

    queue: str | None = None
    #: On Redis: send also to a queue that nobody is known to use.
    new_queue: bool = False
    eta: datetime | None = None
    priority: int | None = None
    #: Seconds.
    time_limit: float | None = None
    soft_time_limit: float | None = None
    #: Take the backend's arguments even where nobody can tell whether the task changed them.
    unverified: bool = False
    #: Send also what was sent again before.
    again: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller says that a task was sent with."""

    name: str | None = None
    args: tuple[Any, ...] | None = field(default=None, repr=False)
    kwargs: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One action that somebody asks for. Only the fields that its verb needs are looked at."""

    verb: Verb
    actor: Actor
    task_id: str | None = None
    group_id: str | None = None
    queue: str | None = None
    #: Of a bulk retry: either these or ``filter``.
    task_ids: tuple[str, ...] = ()
    filter: Filter | None = None
    dry_run: bool = False
    idempotency_key: str | None = None
    #: States that the task must be in (one of them).
    from_state: tuple[TaskState, ...] = ()
    sending: Sending = field(default_factory=Sending)
    given: Given | None = None
    #: Of a purge: the token of the dry run.
    confirm: str | None = field(default=None, repr=False)
    #: Of a group: the whole chord under a new id, not its failed members alone.
    whole: bool = False
    #: Tasks of a bulk retry at most, and how many are sent in a second.
    limit: int | None = None
    rate: float | None = None

    def arguments(self) -> bytes | None:
        """Return the caller's arguments in a fixed encoding, for the audit log's keyed hash."""
        if self.given is None:
            return None
        return canonical([self.given.name, self.given.args, self.given.kwargs])

    def digest(self) -> str:
        """Return the hash by which a repeated idempotency key is told from a misused one."""
        asked = {
            "verb": self.verb,
            "task_id": self.task_id,
            "group_id": self.group_id,
            "queue": self.queue,
            "task_ids": self.task_ids,
            "filter": self.filter and _plain(self.filter),
            "from_state": sorted(self.from_state),
            "sending": _plain(self.sending),
            "given": self.given and [self.given.name, self.given.args, self.given.kwargs],
            "confirm": self.confirm,
            "whole": self.whole,
            "limit": self.limit,
            "rate": self.rate,
        }
        return hashlib.sha256(canonical(asked)).hexdigest()


def canonical(value: Any) -> bytes:
    """Return a JSON-able value in the one encoding that equal values share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _plain(part: Filter | Sending) -> dict[str, Any]:
    values = {name: getattr(part, name) for name in part.__slots__}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }
