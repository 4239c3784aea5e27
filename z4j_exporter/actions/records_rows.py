"""Turns actions into rows of the journal and back. Pure."""

import json
import sqlite3
from dataclasses import asdict
from typing import Any, NamedTuple

from z4j_exporter.actions.model import Action, Actor, State, Target, Verb
from z4j_exporter.actions.records_states import ItemState

#: The columns of an action, in the order of ``values``.
COLUMNS = (
    "id, verb, task_id, target_json, actor_json, requested_at, dry_run, options_json,"
    " idempotency_key, request_hash, state, new_task_ids_json, finished_at, result_json"
)
PLACES = ", ".join("?" * len(COLUMNS.split(",")))

#: The columns of an item, in the order of ``Item``.
ITEM_COLUMNS = "position, task_id, new_id, state, detail_json"


class Item(NamedTuple):
    """One task of an action: the old id, the new one chosen for it, and what came of it."""

    position: int
    task_id: str
    new_id: str
    state: ItemState
    #: JSON-able; {} until it is settled.
    detail: dict[str, Any]


def values(action: Action) -> tuple[Any, ...]:
    """Return an action's columns. JSON keeps any text; half surrogates are escaped in it."""
    return (
        action.id,
        action.verb.value,
        action.target.task_id,
        to_json(asdict(action.target)),
        to_json(asdict(action.actor)),
        action.requested_at,
        int(action.dry_run),
        to_json(action.options),
        action.idempotency_key,
        action.request_hash,
        action.state.value,
        to_json(action.new_task_ids),
        action.finished_at,
        to_json(action.result),
    )


def action_of(row: sqlite3.Row) -> Action:
    """Return the action of a row."""
    target = json.loads(row["target_json"])
    actor = json.loads(row["actor_json"])
    return Action(
        id=row["id"],
        verb=Verb(row["verb"]),
        target=Target(**{**target, "task_ids": tuple(target["task_ids"])}),
        actor=Actor(**{**actor, "tasks": tuple(actor["tasks"]), "queues": tuple(actor["queues"])}),
        requested_at=row["requested_at"],
        dry_run=bool(row["dry_run"]),
        options=json.loads(row["options_json"]),
        idempotency_key=row["idempotency_key"],
        request_hash=row["request_hash"],
        state=State(row["state"]),
        new_task_ids=tuple(json.loads(row["new_task_ids_json"])),
        finished_at=row["finished_at"],
        result=json.loads(row["result_json"]),
    )


def item_of(row: sqlite3.Row) -> Item:
    """Return the item of a row."""
    return Item(
        row["position"],
        row["task_id"],
        row["new_id"],
        ItemState(row["state"]),
        json.loads(row["detail_json"]),
    )


def pairs_of(action: Action) -> list[tuple[str, str]]:
    """Return old and new ids of an action; one that sends nothing has none."""
    if not action.new_task_ids:
        return []
    one = action.target.task_id
    old = action.target.task_ids or ((one,) if one is not None else ())
    return list(zip(old, action.new_task_ids, strict=True))


def to_json(value: Any) -> str:
    """Return a value as JSON in ASCII."""
    return json.dumps(value, separators=(",", ":"))
