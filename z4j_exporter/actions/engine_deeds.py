"""What each verb does to one task or queue: look first, then act. Sends nothing until ``act``."""

from dataclasses import asdict
from typing import Any, Final, Protocol
from uuid import uuid4

from z4j_exporter.actions.engine_confirm import Confirmations
from z4j_exporter.actions.engine_parts import Performs, Planned, Refusal
from z4j_exporter.actions.engine_retry import Ready, Retries
from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.locate import Located, no_answer, refuse_unless_terminable
from z4j_exporter.actions.model import ActionError, Verb

#: The tracker's states that are the end of a task: there is nothing to cancel.
_ENDED: Final = frozenset({"succeeded", "failed", "rejected", "revoked"})


class Deed(Protocol):
    """One verb applied to one target. Every method raises ActionError."""

    def look(self) -> dict[str, Any]:
        """Return what would happen, for a dry run; the look itself changes nothing."""

    def ready(self) -> None:
        """Check all that can be checked; ``act`` follows."""

    def act(self) -> dict[str, Any]:
        """Do it, once, and return what was done."""


class RetryDeed:
    """Sends one task again."""

    def __init__(self, planned: Planned, retries: Retries) -> None:
        self._planned = planned
        self._retries = retries
        self._ready: Ready | None = None

    def look(self) -> dict[str, Any]:
        """See Deed."""
        self.ready()
        assert self._ready is not None  # noqa: S101 - the line above set it
        return self._retries.preview(self._ready, str(uuid4()))

    def ready(self) -> None:
        """See Deed."""
        request = self._planned.request
        self._ready = self._retries.prepare(
            request.actor,
            request.task_id or "",
            sending=request.sending,
            from_state=request.from_state,
            given=request.given,
        )

    def act(self) -> dict[str, Any]:
        """See Deed."""
        assert self._ready is not None  # noqa: S101 - the engine calls ready before
        return self._retries.send(self._ready, self._planned.action.new_task_ids[0])


class StopDeed:
    """Cancels one task: revokes it, or has the worker that runs it end it."""

    def __init__(self, planned: Planned, performer: Performs, retries: Retries) -> None:
        self._planned = planned
        self._performer = performer
        self._retries = retries
        self._terminate = planned.request.verb is Verb.TERMINATE

    def look(self) -> dict[str, Any]:
        """See Deed."""
        self.ready()
        known = self._performer.state(self._task_id)
        if not known.answered:
            raise no_answer("nothing was sent")
        if self._terminate:
            held = refuse_unless_terminable(Located(known.held, known.answered))
            return {"worker": held.worker, "pool": held.pool, "signal": "SIGTERM"}
        return {
            "workers_answered": known.answered,
            "held_by": [{"worker": one.worker, "phase": one.phase} for one in known.held],
            "state_before": known.state,
        }

    def ready(self) -> None:
        """See Deed."""
        facts = self._planned.facts or TaskFacts(self._task_id)
        if self._planned.request.from_state:
            self._retries.check_state(facts, self._planned.request.from_state)
        if facts.state in _ENDED:
            raise Refusal(
                "task-finished",
                409,
                f"The task has ended already: it is {facts.state}.",
                hint="Revoking it now would only replace what is known of its end.",
                extra={"state": facts.state},
            )

    def act(self) -> dict[str, Any]:
        """See Deed."""
        if self._terminate:
            return _told(self._performer.terminate(self._task_id))
        return _told(self._performer.revoke(self._task_id))

    @property
    def _task_id(self) -> str:
        return self._planned.request.task_id or ""


class PurgeDeed:
    """Empties one queue, in two steps: the dry run gives a token that the second one shows."""

    def __init__(self, planned: Planned, performer: Performs, confirmations: Confirmations) -> None:
        self._planned = planned
        self._performer = performer
        self._confirmations = confirmations

    def look(self) -> dict[str, Any]:
        """See Deed."""
        request = self._planned.request
        counted = _told(self._performer.purge_count(self._queue))
        token, expires_at = self._confirmations.give(request.actor.name, self._queue)
        return counted | {"confirm": token, "confirm_expires_at": expires_at}

    def ready(self) -> None:
        """See Deed."""
        request = self._planned.request
        if not self._confirmations.take(request.confirm or "", request.actor.name, self._queue):
            raise ActionError(
                "confirmation-needed",
                422,
                "A purge needs the confirm token of a dry run of this queue, not older than five"
                " minutes and not used before.",
                hint='Ask with {"dry_run": true} first.',
            )

    def act(self) -> dict[str, Any]:
        """See Deed."""
        return _told(self._performer.purge(self._queue))

    @property
    def _queue(self) -> str:
        return self._planned.request.queue or ""


def deed_of(
    planned: Planned, performer: Performs, retries: Retries, confirmations: Confirmations
) -> Deed:
    """Return the deed of a planned action that is about one target."""
    match planned.request.verb:
        case Verb.RETRY:
            return RetryDeed(planned, retries)
        case Verb.CANCEL | Verb.TERMINATE:
            return StopDeed(planned, performer, retries)
        case Verb.PURGE:
            return PurgeDeed(planned, performer, confirmations)
        case _:
            raise ValueError(f"{planned.request.verb} is not about one target")


def _told(receipt: Any) -> dict[str, Any]:
    """Return a receipt as JSON has it, so that the first answer and a repeated one are equal."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(receipt).items()
    }
