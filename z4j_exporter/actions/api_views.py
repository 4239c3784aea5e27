"""Turns what the engine knows into the answers of the API. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.groups import KnownGroup
from z4j_exporter.actions.model import Action, Verb
from z4j_exporter.actions.records_items import Retried
from z4j_exporter.actions.records_rows import Item
from z4j_exporter.actions.records_states import ItemState
from z4j_exporter.actions.schemas_answers import (
    ActionItemsView,
    ActionView,
    AskedView,
    CauseView,
    GroupView,
    HeldView,
    ItemView,
    MemberView,
    RetriedView,
    TaskView,
)

if TYPE_CHECKING:
    from z4j_exporter.actions.perform import TaskKnown

#: Members of a result or of what is told of a job that stand in fields of their own.
_OWN_FIELDS = ("total", "truncated", "list_sha256", "counts")


def action_view(action: Action, notes: Sequence[str] = ()) -> ActionView:
    """Return an action as an answer."""
    told = {**(action.options.get("told") or {}), **action.result}
    new_ids = action.new_task_ids if action.verb is Verb.RETRY else ()
    return ActionView(
        id=action.id,
        verb=action.verb,
        state=action.state,
        dry_run=action.dry_run,
        task_id=action.target.task_id,
        group_id=action.target.group_id,
        queue=action.target.queue,
        actor=action.actor.name,
        alert=_cause(action),
        requested_at=action.requested_at,
        finished_at=action.finished_at,
        new_task_id=new_ids[0] if new_ids else None,
        total=told.get("total"),
        truncated=told.get("truncated"),
        list_sha256=told.get("list_sha256"),
        counts=told.get("counts"),
        result={key: value for key, value in told.items() if key not in _OWN_FIELDS},
        notes=list(notes),
    )


def items_view(
    action: Action, counts: dict[ItemState, int], items: Sequence[Item], *, more: bool
) -> ActionItemsView:
    """Return an action with some of its tasks."""
    view = action_view(action)
    shown = [
        ItemView(
            position=item.position,
            task_id=item.task_id,
            new_task_id=item.new_id,
            state=item.state,
            detail=item.detail,
        )
        for item in items
    ]
    return ActionItemsView(
        **view.model_dump(exclude={"counts"}),
        counts=counts or None,
        items=shown,
        next_offset=items[-1].position + 1 if more else None,
    )


def task_view(
    facts: TaskFacts,
    retried_as: Sequence[Retried],
    retry_of: Retried | None,
    known: "TaskKnown | None",
) -> TaskView:
    """Return what is known of a task."""
    return TaskView(
        task_id=facts.task_id,
        state=facts.state,
        name=facts.name,
        queue=facts.queue,
        worker=facts.worker,
        exception=facts.exception,
        ended_at=facts.ended_at,
        root_id=facts.root_id,
        parent_id=facts.parent_id,
        retry_of=retry_of.task_id if retry_of else None,
        retried_as=[
            RetriedView(task_id=one.new_id, action_id=one.action_id, certain=one.certain)
            for one in retried_as
        ],
        asked=_asked(known) if known else None,
    )


def group_view(known: KnownGroup, visible: Sequence[TaskFacts]) -> GroupView:
    """Return what is known of a group; ``visible``: the members that may be seen."""
    told = known.told()
    return GroupView(
        group_id=known.group.group_id,
        is_chord=known.group.is_chord,
        members=[MemberView(task_id=m.task_id, state=m.state, name=m.name) for m in visible],
        members_truncated=known.group.truncated,
        states=told["states"],
        body_captured=told["body_captured"],
    )


def _cause(action: Action) -> CauseView | None:
    kept = action.options.get("alert")
    if not kept:
        return None
    return CauseView(
        rule=kept["rule"], fingerprint=kept["fingerprint"], starts_at=float(kept["starts_at"])
    )


def _asked(known: "TaskKnown") -> AskedView:
    # Of what a worker holds it also tells the arguments: they are not shown.
    return AskedView(
        backend_state=known.state,
        held_by=[HeldView(worker=h.worker, phase=h.phase, pool=h.pool) for h in known.held],
        workers_answered=known.answered,
        notes=list(known.notes),
    )
