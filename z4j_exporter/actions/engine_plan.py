"""Turns a request into an action: permitted, its targets sealed, its new ids chosen."""

import uuid
from collections.abc import Callable

from z4j_exporter.actions.bulk_select import Chosen, Selector
from z4j_exporter.actions.engine_parts import JOBS, Access, Planned
from z4j_exporter.actions.engine_request import Request
from z4j_exporter.actions.engine_stored import options_stored
from z4j_exporter.actions.engine_tasks import TaskFacts, Tasks
from z4j_exporter.actions.model import Action, Target, Verb


class Planner:
    """Plans, and writes nothing. ``room`` raises ActionError when no more jobs are taken."""

    def __init__(
        self,
        tasks: Tasks,
        access: Access,
        selector: Selector,
        room: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._tasks = tasks
        self._access = access
        self._selector = selector
        self._room = room
        self._clock = clock

    def plan(self, request: Request) -> Planned:
        """Return the action. Raises ActionError: 403, 404, 422, 503."""
        self._access.permit_role(request.actor, request.verb)
        facts = self._facts(request)
        self._permit_known(request, facts)
        chosen = self._choose(request) if request.verb in JOBS else None
        ids = chosen.task_ids if chosen else ()
        count = len(ids) if chosen else int(request.verb is Verb.RETRY)
        if request.dry_run:
            count = 0  # nothing will be sent, under no id
        action = Action(
            id=str(uuid.uuid4()),
            verb=request.verb,
            target=Target(
                request.task_id, request.group_id, request.queue, ids, facts.name if facts else None
            ),
            actor=request.actor,
            requested_at=self._clock(),
            dry_run=request.dry_run,
            options=options_stored(request, chosen.told if chosen else {}),
            # A dry run is no action: the key stays free for what it looked at.
            idempotency_key=None if request.dry_run else request.idempotency_key,
            request_hash=request.digest(),
            new_task_ids=tuple(str(uuid.uuid4()) for _ in range(count)),
        )
        return Planned(action, request, facts, chosen.told if chosen else {})

    def _facts(self, request: Request) -> TaskFacts | None:
        if request.task_id is None:
            return None
        return self._tasks.get(request.task_id) or TaskFacts(request.task_id)

    def _choose(self, request: Request) -> Chosen:
        if not request.dry_run:
            self._room()
        return self._selector.choose(request)

    def _permit_known(self, request: Request, facts: TaskFacts | None) -> None:
        """Check the scope, as far as the target is known before its payload was looked for."""
        if request.verb is Verb.PURGE:
            self._access.permit(request.actor, request.verb, task_name=None, queue=request.queue)
        elif request.verb in (Verb.CANCEL, Verb.TERMINATE) and facts is not None:
            self._access.permit(
                request.actor, request.verb, task_name=facts.name, queue=facts.queue
            )
