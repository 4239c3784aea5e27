"""What the engine needs of the other parts, as narrow as it is; and the refusals of its own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from z4j_exporter.actions.engine_request import Given, Request, Sending
from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.messages import Options
from z4j_exporter.actions.model import Action, ActionError, Actor, Payload, Verb
from z4j_exporter.actions.payload import CallerPayload, Seen, Source

if TYPE_CHECKING:
    from z4j_exporter.actions.perform import (
        PurgeReceipt,
        RevokeReceipt,
        SendReceipt,
        TaskKnown,
        TerminateReceipt,
    )

#: Verbs whose work goes on after the answer.
JOBS: Final = frozenset({Verb.BULK_RETRY, Verb.RETRY_GROUP})
#: Called with a step's name when it is behind the engine; tests end the process there.
OnStep = Callable[[str], None]


class Performs(Protocol):
    """What is done to broker, workers and backend; see perform.Performer."""

    def find(
        self,
        task_id: str,
        caller: CallerPayload | None = None,
        *,
        seen: Seen = ...,
        queues: Iterable[str] = (),
        unverified: bool = False,
        others: Sequence[Source] = (),
        timeout_seconds: float = 10.0,
    ) -> Payload:
        """Return what a task was sent with."""

    def send(
        self,
        payload: Payload,
        new_id: str,
        *,
        retry_of: str,
        retry_count: int,
        queue: str | None = None,
        new_queue: bool = False,
        options: Options | None = None,
        timeout_seconds: float = 10.0,
    ) -> "SendReceipt":
        """Send a payload under a new id, once."""

    def revoke(self, task_id: str, *, timeout_seconds: float = 5.0) -> "RevokeReceipt":
        """Tell all workers not to start a task."""

    def terminate(self, task_id: str, *, timeout_seconds: float = 8.0) -> "TerminateReceipt":
        """End a running task."""

    def state(self, task_id: str, *, timeout_seconds: float = 5.0) -> "TaskKnown":
        """Return what backend and workers say of a task."""

    def purge_count(self, queue: str, *, timeout_seconds: float = 5.0) -> "PurgeReceipt":
        """Return how many messages a purge would remove."""

    def purge(self, queue: str, *, timeout_seconds: float = 10.0) -> "PurgeReceipt":
        """Remove every message that is ready in one queue."""


class Access(Protocol):
    """Who may do what; see policy.Authorizer."""

    def permit_role(self, actor: Actor, verb: Verb) -> None:
        """Check the role; raises ActionError (403)."""

    def permit(self, actor: Actor, verb: Verb, *, task_name: str | None, queue: str | None) -> None:
        """Check role and scope; raises ActionError (403)."""

    def permit_alerts(self, actor: Actor) -> None:
        """Check that an actor may deliver alerts; raises ActionError (403)."""

    def permit_read(self, actor: Actor) -> None:
        """Check that an actor may see things; raises ActionError (403)."""

    def may_see(self, actor: Actor, *, task_name: str | None, queue: str | None) -> bool:
        """Return whether a task is within an actor's scope."""

    def still_holds(self, actor: Actor) -> bool:
        """Return whether an actor of an earlier request has the same rights now."""


class Refusal(ActionError):  # noqa: N818  # the word that the answers use
    """An ActionError with what the answer says beside it: the action, the state that was found."""

    def __init__(
        self,
        kind: str,
        status: int,
        detail: str,
        *,
        hint: str = "",
        unknown: bool = False,
        action_id: str = "",
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(kind, status, detail, hint=hint, unknown=unknown)
        self.action_id = action_id
        self.extra = extra or {}

    @classmethod
    def of(cls, error: ActionError, action_id: str = "") -> "Refusal":
        """Return an error as one of an action."""
        known = error if isinstance(error, Refusal) else None
        return cls(
            error.kind,
            error.status,
            error.detail,
            hint=error.hint,
            unknown=error.unknown,
            action_id=action_id or (known.action_id if known else ""),
            extra=known.extra if known else None,
        )

    @classmethod
    def from_stored(cls, stored: dict[str, Any], action_id: str) -> "Refusal":
        """Return the refusal that an action's result has; see ``stored``."""
        return cls(
            str(stored["kind"]),
            int(stored["status"]),
            str(stored["detail"]),
            hint=str(stored["hint"]),
            unknown=bool(stored["unknown"]),
            action_id=action_id,
            extra=dict(stored.get("extra") or {}),
        )

    def stored(self) -> dict[str, Any]:
        """Return it JSON-able, for an action's result."""
        return {
            "kind": self.kind,
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
            "unknown": self.unknown,
            "extra": self.extra,
        }


def may_pass(error: ActionError) -> bool:
    """Whether nothing was done for a cause that may pass: the same key, or alert, may ask again."""
    return error.status == 503 and not error.unknown


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How far actions go; the settings say more."""

    #: Retries of retries of one task.
    retries_chain: int = 3
    #: Tasks of a bulk retry where the request does not say.
    bulk_cap: int = 1000
    #: Tasks that a bulk retry sends in a second.
    bulk_rate: float = 10.0


@dataclass(frozen=True, slots=True)
class Planned:
    """An action that may be begun: permitted, and its targets sealed."""

    action: Action
    request: Request = field(repr=False)
    facts: TaskFacts | None = None
    #: Of bulk and group: what the answer says of the choice (truncated, left out).
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request; ``replayed``: it was done before, under the same key."""

    action: Action
    replayed: bool = False
    #: What went wrong beside it, such as an outcome that the audit log could not take.
    notes: tuple[str, ...] = ()


def caller_of(given: Given | None) -> CallerPayload | None:
    """Return what the caller gave as the performer takes it."""
    if given is None:
        return None
    return CallerPayload(given.name, given.args, given.kwargs)


def options_of(sending: Sending) -> Options:
    """Return how to send as the performer takes it."""
    return Options(
        eta=sending.eta,
        priority=sending.priority,
        time_limit=sending.time_limit,
        soft_time_limit=sending.soft_time_limit,
    )
