"""Answers what is known of tasks, groups and actions, to those who may see them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from z4j_exporter.actions.engine_parts import Access, Performs
from z4j_exporter.actions.engine_tasks import TaskFacts, Tasks
from z4j_exporter.actions.groups import Groups, KnownGroup, known_group
from z4j_exporter.actions.model import Action, ActionError, Actor
from z4j_exporter.actions.records import ActionJournal
from z4j_exporter.actions.records_items import Retried
from z4j_exporter.actions.records_rows import Item
from z4j_exporter.actions.records_states import ItemState

if TYPE_CHECKING:
    from z4j_exporter.actions.perform import TaskKnown


@dataclass(frozen=True, slots=True)
class SeenTask:
    """What is known of a task."""

    facts: TaskFacts
    retried_as: Sequence[Retried]
    retry_of: Retried | None
    #: What backend and workers say, if they were asked.
    known: "TaskKnown | None"


@dataclass(frozen=True, slots=True)
class SeenAction:
    """An action, and some of its tasks."""

    action: Action
    counts: dict[ItemState, int]
    items: Sequence[Item]
    more: bool


class Looks:
    """Reading, and nothing else. Every method raises ActionError: 403, 404, 503."""

    def __init__(
        self,
        *,
        journal: ActionJournal,
        performer: Performs,
        access: Access,
        tasks: Tasks,
        groups: Groups | None,
    ) -> None:
        self._journal = journal
        self._performer = performer
        self._access = access
        self._tasks = tasks
        self._groups = groups

    def task(self, actor: Actor, task_id: str, *, ask: bool) -> SeenTask:
        """Return what is known of a task; ``ask``: also what backend and workers say now."""
        self._access.permit_read(actor)
        facts = self._tasks.get(task_id) or TaskFacts(task_id)
        if not self._visible(actor, facts):
            raise _no_task()
        retried_as = self._journal.items.retried_as(task_id)
        retry_of = self._journal.items.retry_of(task_id)
        known = self._performer.state(task_id) if ask else None
        heard = known is not None and (known.state is not None or bool(known.held))
        if not (facts.state != "unknown" or facts.name or retried_as or retry_of or heard):
            raise _no_task()
        return SeenTask(facts, retried_as, retry_of, known)

    def group(self, actor: Actor, group_id: str) -> tuple[KnownGroup, Sequence[TaskFacts]]:
        """Return a group, and those of its members that may be seen."""
        self._access.permit_read(actor)
        known = known_group(self._groups, self._tasks, group_id)
        visible = [member for member in known.members if self._visible(actor, member)]
        if known.members and not visible:
            raise ActionError("group-unknown", 404, "Nothing is known of a group of this id.")
        return known, visible

    def action(self, actor: Actor, action_id: str, *, offset: int, limit: int) -> SeenAction:
        """Return an action and its tasks from a position on, ``limit`` of them."""
        self._access.permit_read(actor)
        action = self._journal.get(action_id)
        if not self._may_see(actor, action):
            raise ActionError("action-not-found", 404, "There is no such action.")
        counts = self._journal.items.progress(action_id)
        items = self._journal.items.list(action_id, after=offset - 1, limit=limit + 1)
        return SeenAction(action, counts, items[:limit], more=len(items) > limit)

    def _visible(self, actor: Actor, facts: TaskFacts) -> bool:
        return self._access.may_see(actor, task_name=facts.name, queue=facts.queue)

    def _may_see(self, actor: Actor, action: Action) -> bool:
        """Whether an action is the actor's own, or about something within its scope."""
        if action.actor.name == actor.name and action.actor.via == actor.via:
            return True
        target = action.target
        if target.queue is not None:  # a purge: of a scope of tasks it says nothing
            unscoped = replace(actor, tasks=())
            return self._access.may_see(unscoped, task_name=None, queue=target.queue)
        facts = self._tasks.get(target.task_id) if target.task_id is not None else None
        return self._access.may_see(
            actor,
            task_name=target.task_name,
            queue=facts.queue if facts else None,
        )


def _no_task() -> ActionError:
    return ActionError(
        "task-unknown",
        404,
        "Nothing is remembered of a task of this id.",
        hint="With ask=true, the result backend and the workers are asked too.",
    )
