"""Idempotency keys: the same request of the same actor is done once, and answered again."""

import sqlite3

from z4j_exporter.actions.model import Action, ActionError, State
from z4j_exporter.actions.records_states import UNFINISHED

#: Seconds for which a key is remembered after it was used: 24 hours; longer while at work.
KEY_SECONDS = 86_400.0


def find(connection: sqlite3.Connection, action: Action, now: float) -> str | None:
    """Return the id of the finished action that had this key, or None when the key is free.

    Raises ActionError: 422 for the same key with another request, 409 while the first is at work.
    """
    if action.idempotency_key is None:
        return None
    row = connection.execute(
        "SELECT action_id, idempotency_keys.request_hash, claimed_at, state FROM idempotency_keys"
        " JOIN actions ON id = action_id WHERE scope = ? AND key = ?",
        (_scope(action), action.idempotency_key),
    ).fetchone()
    if row is None:
        return None
    at_work = State(row["state"]) in UNFINISHED
    if not at_work and row["claimed_at"] <= now - KEY_SECONDS:
        return None
    if row["request_hash"] != action.request_hash:
        raise ActionError(
            "idempotency-key-reused",
            422,
            "This idempotency key was used for another request.",
            hint="A new request needs a new key.",
        )
    if at_work:
        raise ActionError(
            "idempotency-key-in-flight",
            409,
            "The request of this idempotency key is still at work.",
            hint=f"See /v1/actions/{row['action_id']}.",
        )
    return str(row["action_id"])


def claim(connection: sqlite3.Connection, action: Action, now: float) -> None:
    """Remember an action's key, in place of an expired one."""
    if action.idempotency_key is None:
        return
    connection.execute(
        "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?)",
        (_scope(action), action.idempotency_key, action.request_hash, action.id, now),
    )


def expire(connection: sqlite3.Connection, now: float) -> None:
    """Forget keys that are old and whose actions are finished."""
    connection.execute(
        "DELETE FROM idempotency_keys WHERE claimed_at <= ? AND action_id NOT IN"
        " (SELECT id FROM actions WHERE state IN ('pending', 'running'))",
        (now - KEY_SECONDS,),
    )


def _scope(action: Action) -> str:
    """Keys of one actor are not another's: who guesses a key learns nothing from it."""
    return f"{action.actor.via}:{action.actor.name}"
