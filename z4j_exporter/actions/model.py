"""The words of the actions: verbs, roles, who asks, what is asked, what came of it. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Role = Literal["viewer", "operator", "admin", "alert"]


class Verb(StrEnum):
    """What can be done."""

    RETRY = "retry"
    CANCEL = "cancel"
    TERMINATE = "terminate"
    RETRY_GROUP = "retry-group"
    BULK_RETRY = "bulk-retry"
    PURGE = "purge"


#: The least that each verb needs; ``alert`` may do what its rules say and nothing else.
NEEDED_ROLE: dict[Verb, Role] = {
    Verb.RETRY: "operator",
    Verb.CANCEL: "operator",
    Verb.TERMINATE: "operator",
    Verb.RETRY_GROUP: "operator",
    Verb.BULK_RETRY: "operator",
    Verb.PURGE: "admin",
}


class State(StrEnum):
    """Where an action is. PENDING is written before anything is sent."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    #: Some of it was done and some was not (bulk, group).
    PARTIAL = "partial"
    REFUSED = "refused"
    FAILED = "failed"
    #: It may have happened: the process died, or no worker answered.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a token's name, a client certificate's, or an alert's rule."""

    name: str
    role: Role
    via: Literal["token", "certificate", "alert"]
    #: Globs that the task name and the queue must match; empty: all.
    tasks: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What it is about; the fields that the verb does not need stay None."""

    task_id: str | None = None
    group_id: str | None = None
    queue: str | None = None
    #: Of a bulk retry: the ids, sealed when it was accepted.
    task_ids: tuple[str, ...] = ()
    #: As far as known when it was asked, for scopes and the audit log.
    task_name: str | None = None


@dataclass(slots=True)
class Action:
    """One action, as the journal keeps it. ``options`` and ``result`` are JSON-able.

    ``new_task_ids`` are chosen before anything is sent, in the order of the targets.
    """

    id: str
    verb: Verb
    target: Target
    actor: Actor
    #: Epoch seconds.
    requested_at: float
    dry_run: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    #: SHA-256 of the canonical request, to tell a repeated key from a misused one.
    request_hash: str = ""
    state: State = State.PENDING
    new_task_ids: tuple[str, ...] = ()
    finished_at: float | None = None
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Payload:
    """Everything needed to send a task again, and where it came from ("the honest order")."""

    name: str
    #: Exactly the bytes of the message body that Celery's protocol 2 expects (args, kwargs,
    #: embed), where the source had them; else args and kwargs are set.
    body: bytes | None
    content_type: str
    content_encoding: str
    args: tuple[Any, ...] | None
    kwargs: dict[str, Any] | None
    #: capture, backend, worker, queue or caller.
    source: Literal["capture", "backend", "worker", "queue", "caller"]
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    #: Signatures as JSON: what is sent along with a single retry (links), and what is not.
    callbacks: tuple[Any, ...] = ()
    errbacks: tuple[Any, ...] = ()
    chain: tuple[Any, ...] = ()
    group_id: str | None = None
    chord: dict[str, Any] | None = None
    #: What the source could not give: priority, links, …; told in the answer.
    absent: tuple[str, ...] = ()
    #: Of a retry of ours: the task that it repeats, and whose payload this is.
    of_task: str | None = None


class ActionError(Exception):
    """An action that is refused or failed: becomes problem+json and a line in the audit log.

    ``kind`` is the stable last part of the problem's type URI; ``status`` the HTTP status;
    ``detail`` one sentence that never echoes the input; ``hint`` what would help; ``unknown``:
    it may have happened all the same, and must not simply be tried again.
    """

    def __init__(
        self, kind: str, status: int, detail: str, *, hint: str = "", unknown: bool = False
    ) -> None:
        super().__init__(detail)
        self.kind, self.status, self.detail, self.hint = kind, status, detail, hint
        self.unknown = unknown
