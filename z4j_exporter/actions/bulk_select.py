"""Chooses the tasks of a bulk or group retry, once: the list is sealed before anything is sent."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from z4j_exporter.actions.engine_parts import Access, Planned
from z4j_exporter.actions.engine_request import Filter, Request, canonical
from z4j_exporter.actions.engine_retry import Retries
from z4j_exporter.actions.engine_tasks import TaskFacts, Tasks
from z4j_exporter.actions.groups import Groups, KnownGroup, known_group
from z4j_exporter.actions.groups_whole import Chords
from z4j_exporter.actions.model import ActionError, Verb
from z4j_exporter.config.actions import BULK_LIMIT

#: Tasks of a dry run whose payload is looked for, and seconds for all of them.
_SAMPLED: Final = 10
_SAMPLE_SECONDS: Final = 5.0
#: Ids that a dry run's answer lists.
_LISTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tasks of a job, and what the answer says of the choice."""

    task_ids: tuple[str, ...]
    told: dict[str, Any]


class Selector:
    """``cap``: tasks of one job where the request does not say."""

    def __init__(
        self,
        tasks: Tasks,
        groups: Groups | None,
        access: Access,
        *,
        retries: Retries,
        cap: int,
        chords: Chords | None = None,
    ) -> None:
        self._tasks = tasks
        self._groups = groups
        self._chords = chords
        self._retries = retries
        self._access = access
        self._cap = cap

    def choose(self, request: Request) -> Chosen:
        """Return the tasks of a request. Raises ActionError: 404, 422, 503."""
        if request.verb is Verb.RETRY_GROUP:
            return self._members(request)
        limit = min(request.limit or self._cap, BULK_LIMIT)
        if request.filter is not None:
            return self._matching(request, request.filter, limit)
        return self._given(request, limit)

    def sample(self, planned: Planned) -> dict[str, Any]:
        """Return what a dry run says of the tasks; looks for the payloads of the first few."""
        ids = planned.action.target.task_ids
        facts = self._tasks.get_all(ids)
        deadline = time.monotonic() + _SAMPLE_SECONDS
        checked = []
        for task_id in ids[:_SAMPLED]:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            checked.append(_checked(planned, self._retries, task_id, remaining))
        return {
            "by_task": _counted(facts.get(one) for one in ids),
            "task_ids": list(ids[:_LISTED]),
            "checked": checked,
        }

    def _members(self, request: Request) -> Chosen:
        known = known_group(self._groups, self._tasks, request.group_id or "")
        if request.whole:
            return self._whole(request, known)
        visible = self._visible(request, known.failed)
        if not known.failed:
            raise ActionError(
                "nothing-failed",
                422,
                "No member of the group is known to have failed.",
                hint="The exporter knows the ends that it has heard of, or that were told since.",
            )
        told = known.told() | {"membership": "dropped: group and chord are not sent along"}
        return self._sealed([one.task_id for one in visible], told, truncated=False)

    def _whole(self, request: Request, known: KnownGroup) -> Chosen:
        if self._chords is None:
            raise ActionError(
                "chords-unavailable",
                422,
                "A whole chord can be sent again only from what the capture hook told.",
                hint="Keep a capture journal, and say where the results are.",
            )
        for member in known.members:
            self._access.permit(
                request.actor, request.verb, task_name=member.name, queue=member.queue
            )
            # Found later, it would leave the rest of the header sent in vain.
            self._retries.check_former(member.task_id, request.sending)
        chord = self._chords.plan(known)
        told = known.told() | chord.told()
        return self._sealed([one.task_id for one in known.members], told, truncated=False)

    def _matching(self, request: Request, wanted: Filter, limit: int) -> Chosen:
        # What may not be seen counts against no limit, and is not told.
        found = self._tasks.find(wanted, BULK_LIMIT + 1)
        visible = self._visible(request, found)
        # Nor does what would be refused when its turn comes: the oldest, that failed for good,
        # would keep all others from ever being chosen.
        ids, left_out = self._retries.sendable([one.task_id for one in visible], request.sending)
        if left_out and not ids:
            raise ActionError(
                "nothing-matches",
                422,
                "Every task that is remembered and fits was sent again before, or is itself the"
                " last of a chain of retries.",
                hint="Say again=true to send those once more that were sent again before.",
            )
        told = {"left_out": left_out} if left_out else {}
        return self._sealed(
            ids[:limit], told, truncated=len(ids) > limit or len(found) > BULK_LIMIT
        )

    def _given(self, request: Request, limit: int) -> Chosen:
        ids = list(dict.fromkeys(request.task_ids))
        return self._sealed(ids[:limit], {}, truncated=len(ids) > limit)

    def _visible(self, request: Request, found: Iterable[TaskFacts]) -> list[TaskFacts]:
        actor = request.actor
        return [
            one
            for one in found
            if actor.role == "alert"  # a rule's scope is checked for each task when it is sent
            or self._access.may_see(actor, task_name=one.name, queue=one.queue)
        ]

    def _sealed(self, ids: Sequence[str], told: dict[str, Any], *, truncated: bool) -> Chosen:
        if not ids:
            raise ActionError("nothing-matches", 422, "No task that is remembered fits.")
        digest = hashlib.sha256(canonical(list(ids))).hexdigest()
        return Chosen(
            tuple(ids), told | {"total": len(ids), "truncated": truncated, "list_sha256": digest}
        )


def _checked(planned: Planned, retries: Retries, task_id: str, seconds: float) -> dict[str, Any]:
    request = planned.request
    try:
        ready = retries.prepare(
            request.actor,
            task_id,
            verb=request.verb,
            sending=request.sending,
            from_state=from_state_of(request),
            timeout_seconds=seconds,
        )
        return {"task_id": task_id, **retries.preview(ready, str(uuid4()))}
    except ActionError as error:
        return {"task_id": task_id, "refused": error.kind}


def from_state_of(request: Request) -> tuple[Any, ...]:
    """Return the states that each task must still be in when its turn comes."""
    if request.from_state or request.filter is None:
        return request.from_state
    return (request.filter.state,)


def _counted(facts: Iterable[TaskFacts | None]) -> dict[str, int]:
    return dict(Counter((one.name if one else None) or "unknown" for one in facts).most_common(100))
