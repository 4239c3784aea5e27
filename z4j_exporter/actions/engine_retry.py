"""Retries one task: checks that it may be, finds what it was sent with, sends it once."""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from z4j_exporter.actions.engine_parts import Access, Performs, Refusal, caller_of, options_of
from z4j_exporter.actions.engine_repeated import Repeated
from z4j_exporter.actions.engine_request import ACTIVE_STATES, Given, Sending, TaskState
from z4j_exporter.actions.engine_tasks import TaskFacts, Tasks
from z4j_exporter.actions.messages import compose, retry_count
from z4j_exporter.actions.model import Actor, Payload, Verb
from z4j_exporter.actions.payload import Seen
from z4j_exporter.actions.records_items import Retried, Sent

#: Celery's states of a finished task (celery/states.py), as the tracker names them.
_OF_BACKEND: Final[dict[str, TaskState]] = {
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "REVOKED": "revoked",
}
_OF_PHASE: Final[dict[str, TaskState]] = {"active": "running"}


class Links(Protocol):
    """Which retries came of which task; see records_items.Items."""

    def retried_as(self, task_id: str) -> Sequence[Retried]:
        """Return the retries of a task, oldest first."""

    def depth(self, task_id: str) -> int:
        """Return how many retries of ours lead to a task."""

    def retried(self, task_ids: Sequence[str]) -> Collection[str]:
        """Return which of many tasks were sent again."""

    def depths(self, task_ids: Sequence[str]) -> Mapping[str, int]:
        """Return how many retries of ours lead to each of many tasks, without those of 0."""

    def sent_as(self, new_id: str) -> Sent | None:
        """Return how a task was sent, for certain; None when it was not us."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A task that can be sent again now."""

    task_id: str
    payload: Payload
    #: Which retry in its chain this will be, from 1.
    count: int
    sending: Sending
    #: Where to; None where it goes to the exchange that it was sent to.
    queue: str | None


class Retries:
    """How tasks are sent again. ``cap``: retries of retries of one task."""

    def __init__(
        self, performer: Performs, access: Access, tasks: Tasks, links: Links, *, cap: int
    ) -> None:
        self._performer = performer
        self._access = access
        self._tasks = tasks
        self._links = links
        self._cap = cap
        self._repeated = Repeated(performer, tasks.get, links)

    def prepare(
        self,
        actor: Actor,
        task_id: str,
        *,
        verb: Verb = Verb.RETRY,
        sending: Sending,
        from_state: Sequence[TaskState] = (),
        given: Given | None = None,
        timeout_seconds: float = 10.0,
    ) -> Ready:
        """Check everything that can be checked before sending; nothing is sent.

        Raises ActionError: 403, 409 (state-differs, task-active, already-retried, retry-chain-cap)
        and whatever finding the payload raises.
        """
        facts = self._tasks.get(task_id) or TaskFacts(task_id)
        if facts.name is not None and facts.queue is not None:
            self._access.permit(actor, verb, task_name=facts.name, queue=facts.queue)
        self.check_state(facts, from_state)
        self.check_former(task_id, sending)
        unverified, deadline = sending.unverified, time.monotonic() + timeout_seconds
        payload = self._performer.find(
            task_id,
            caller_of(given),
            seen=Seen(facts.name, facts.queue),
            queues=[facts.queue] if facts.queue else [],
            unverified=unverified,
            others=[lambda: self._repeated.find(facts, unverified=unverified, deadline=deadline)],
            timeout_seconds=timeout_seconds,
        )
        came_from = payload.queue or (payload.routing_key if not payload.exchange else None)
        queue = sending.queue or came_from
        # The name that is sent counts, and every queue that the task was or will be in.
        for name in {payload.name, facts.name or payload.name}:
            for each in {queue, came_from or queue, facts.queue or queue}:
                self._access.permit(actor, verb, task_name=name, queue=each)
        depth = max(self._links.depth(task_id), retry_count(payload))
        self._check_cap(depth)
        return Ready(task_id, payload, depth + 1, sending, queue)

    def preview(self, ready: Ready, new_id: str) -> dict[str, Any]:
        """Return what sending it would do. Raises ActionError where it could not be done."""
        payload = ready.payload
        message = compose(
            payload,
            new_id,
            retry_of=ready.task_id,
            retry_count=ready.count,
            origin="",
            options=options_of(ready.sending),
        )
        told = self._told(ready) | {
            "dropped": list(message.dropped),
            "links": list(message.links),
            "absent": list(payload.absent),
        }
        if ready.queue is not None and not ready.sending.new_queue:
            # Refused where the broker does not know the queue, as sending would be.
            told["queue_messages"] = self._performer.purge_count(ready.queue).messages
        return told

    def send(self, ready: Ready, new_id: str) -> dict[str, Any]:
        """Send it, once; return what was sent. Raises ActionError."""
        receipt = self._performer.send(
            ready.payload,
            new_id,
            retry_of=ready.task_id,
            retry_count=ready.count,
            queue=ready.sending.queue,
            new_queue=ready.sending.new_queue,
            options=options_of(ready.sending),
        )
        return self._told(ready) | {
            "queue": receipt.queue,
            "dropped": list(receipt.dropped),
            "links": list(receipt.links),
            "absent": list(receipt.absent),
        }

    def check_state(self, facts: TaskFacts, from_state: Sequence[TaskState]) -> None:
        """Check the precondition; without one, a task that may yet end is refused.

        Raises Refusal (409) with the state that the task is in.
        """
        if not from_state:
            if facts.state in ACTIVE_STATES:
                raise _conflict(
                    "task-active",
                    f"The task has not ended: it is {facts.state}. Sent again, it would run twice.",
                    facts.state,
                    "Name the state in from_state when that is meant.",
                )
            return
        state = self._known_state(facts)
        if state not in from_state:
            raise _conflict(
                "state-differs", f"The task is {state}, and not as from_state says.", state, ""
            )

    def _known_state(self, facts: TaskFacts) -> TaskState:
        """Return a task's state; where no event told of it, ask backend and workers."""
        if facts.state != "unknown":
            return facts.state
        known = self._performer.state(facts.task_id)
        if known.held:
            return _OF_PHASE.get(known.held[0].phase, "reserved")
        return _OF_BACKEND.get(known.state or "", "unknown")

    def check_former(self, task_id: str, sending: Sending) -> None:
        """Refuse what was sent again before, and chains of retries. Raises Refusal (409)."""
        former = () if sending.again else self._links.retried_as(task_id)
        if former:
            raise Refusal(
                "already-retried",
                409,
                "The task was sent again before."
                if former[-1].certain
                else "The task may have been sent again before: that is not known.",
                hint="Say again=true to send it once more.",
                extra={"retried_as": [one.new_id for one in former]},
            )
        self._check_cap(self._links.depth(task_id))

    def sendable(
        self, task_ids: Sequence[str], sending: Sending
    ) -> tuple[list[str], dict[str, int]]:
        """Return the tasks that ``check_former`` lets pass, and how many others, by why not."""
        retried = () if sending.again else self._links.retried(task_ids)
        depths = self._links.depths(task_ids)
        kept, left_out = [], Counter[str]()
        for task_id in task_ids:
            if task_id in retried:
                left_out["already-retried"] += 1
            elif depths.get(task_id, 0) >= self._cap:
                left_out["retry-chain-cap"] += 1
            else:
                kept.append(task_id)
        return kept, dict(left_out)

    def _check_cap(self, depth: int) -> None:
        if depth >= self._cap:
            raise Refusal(
                "retry-chain-cap",
                409,
                f"The task is itself retry {depth} of a chain; at most {self._cap} are allowed.",
                hint="Find out why it fails; the cap is --actions-max-retries-chain.",
            )

    def _told(self, ready: Ready) -> dict[str, Any]:
        return {
            "task": ready.payload.name,
            "queue": ready.queue,
            "source": source_of(ready.payload),
            "retry_count": ready.count,
        }


def source_of(payload: Payload) -> str:
    """Return where a payload came from, in words."""
    return f"{payload.source} (of the task it retries)" if payload.of_task else payload.source


def _conflict(kind: str, detail: str, state: TaskState, hint: str) -> Refusal:
    return Refusal(kind, 409, detail, hint=hint, extra={"state": state})
