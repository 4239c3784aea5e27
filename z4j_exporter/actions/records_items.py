"""The tasks of an action: what was sent under which new id, which retry came of which task."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from z4j_exporter.actions.records_database import Database
from z4j_exporter.actions.records_rows import ITEM_COLUMNS, Item, item_of, to_json
from z4j_exporter.actions.records_states import ITEM_FOLLOWING, ItemState, TransitionError

#: Ids that one query asks for: SQLite's own limit is 999 in old versions.
_AT_ONCE = 500


class Settled(NamedTuple):
    """What came of an item."""

    position: int
    state: ItemState
    #: JSON-able: the payload's source, the problem's kind, what was dropped.
    detail: dict[str, Any]


class Retried(NamedTuple):
    """A retry that was sent, or (``certain`` False) may have been."""

    task_id: str
    new_id: str
    action_id: str
    certain: bool


class Sent(NamedTuple):
    """How a retry was sent, for certain."""

    task_id: str
    #: Of the item: the task's name, its queue, the payload's source.
    detail: dict[str, Any]
    #: Of its action.
    options: dict[str, Any]


class Items:
    """The items of all actions; what a method wrote is on the disk when it returns.

    Every method raises JournalUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, action_id: str, limit: int) -> list[Item]:
        """Mark the next waiting items as being sent, and return them: only these may be sent.

        After a crash exactly the items that were taken and not settled are unknown.

        Raises TransitionError when the action is not running.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT 1 FROM actions WHERE id = ? AND state = 'running'", (action_id,)
            ).fetchone()
            if row is None:
                raise TransitionError(f"action {action_id} is not running")
            return take_waiting(connection, action_id, limit)

    def settle(self, action_id: str, settled: Iterable[Settled]) -> None:
        """Write what came of items.

        Raises TransitionError, and writes nothing, when one of them cannot become that.
        """
        with self._database.transaction() as connection:
            settle(connection, action_id, settled)

    def list(
        self,
        action_id: str,
        *,
        state: ItemState | None = None,
        after: int = -1,
        limit: int = 1000,
    ) -> list[Item]:
        """Return items in their order, from behind the position ``after``."""
        only = " AND state = :state" if state is not None else ""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {ITEM_COLUMNS} FROM items WHERE action_id = :action_id"  # noqa: S608  # constants only
                f" AND position > :after{only} ORDER BY position LIMIT :limit",
                {"action_id": action_id, "after": after, "state": state, "limit": limit},
            ).fetchall()
        return [item_of(row) for row in rows]

    def progress(self, action_id: str) -> dict[ItemState, int]:
        """Return how many items are in which state; states without items are left out."""
        with self._database.reading() as connection:
            return count(connection, action_id)

    def retried_as(self, task_id: str) -> Sequence[Retried]:
        """Return the retries of a task, oldest first."""
        return self._links("items.task_id", task_id)

    def retry_of(self, new_id: str) -> Retried | None:
        """Return the retry that sent a task; None when it was not us."""
        return next(iter(self._links("items.new_id", new_id)), None)

    def sent_as(self, new_id: str) -> Sent | None:
        """Return how a task was sent; None when it was not us, or that is not certain."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT items.task_id, detail_json, options_json FROM items JOIN actions"
                " ON actions.id = action_id WHERE new_id = ? AND items.state = 'sent'",
                (new_id,),
            ).fetchone()
        return Sent(row[0], json.loads(row[1]), json.loads(row[2])) if row else None

    def retried(self, task_ids: Sequence[str]) -> set[str]:
        """Return which of many tasks were, or may have been, sent again."""
        rows = self._of_many("task_id", "task_id", "state IN ('sent', 'unknown')", task_ids)
        return {row[0] for row in rows}

    def depths(self, task_ids: Sequence[str]) -> dict[str, int]:
        """Return how many retries of ours lead to each of many tasks, without those of 0."""
        return dict(self._of_many("new_id, depth", "new_id", "depth > 0", task_ids))

    def depth(self, task_id: str) -> int:
        """Return how many retries of ours lead to a task: 0 for one that is no retry."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT depth FROM items WHERE new_id = ?", (task_id,)
            ).fetchone()
        return int(row[0]) if row else 0

    def _of_many(
        self, wanted: str, column: str, condition: str, task_ids: Sequence[str]
    ) -> Sequence[Any]:
        found: list[Any] = []
        for start in range(0, len(task_ids), _AT_ONCE):
            ids = task_ids[start : start + _AT_ONCE]
            places = ", ".join("?" * len(ids))
            with self._database.reading() as connection:
                found += connection.execute(
                    f"SELECT {wanted} FROM items WHERE {column} IN ({places}) AND {condition}",  # noqa: S608  # constants only
                    tuple(ids),
                ).fetchall()
        return found

    def _links(self, column: str, task_id: str) -> Sequence[Retried]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT items.task_id, new_id, action_id, items.state FROM items JOIN actions"  # noqa: S608  # constants only
                f" ON actions.id = action_id WHERE {column} = ? AND items.state IN"
                " ('sent', 'unknown') ORDER BY requested_at, action_id, position LIMIT 100",
                (task_id,),
            ).fetchall()
        return [Retried(r[0], r[1], r[2], r[3] == ItemState.SENT) for r in rows]


def insert(
    connection: sqlite3.Connection, action_id: str, pairs: Iterable[tuple[str, str]]
) -> None:
    """Insert items that wait, from pairs of old and new id."""
    connection.executemany(
        "INSERT INTO items (action_id, position, task_id, new_id, state, detail_json, depth)"
        " VALUES (:action, :position, :old, :new, 'waiting', '{}',"
        " 1 + coalesce((SELECT depth FROM items WHERE new_id = :old), 0))",
        (
            {"action": action_id, "position": position, "old": old, "new": new}
            for position, (old, new) in enumerate(pairs)
        ),
    )


def take_waiting(connection: sqlite3.Connection, action_id: str, limit: int) -> list[Item]:
    """Mark waiting items as being sent, in the caller's transaction."""
    rows = connection.execute(
        f"SELECT {ITEM_COLUMNS} FROM items WHERE action_id = ? AND state = 'waiting'"  # noqa: S608  # constants only
        " ORDER BY position LIMIT ?",
        (action_id, limit),
    ).fetchall()
    connection.executemany(
        "UPDATE items SET state = 'sending' WHERE action_id = ? AND position = ?",
        [(action_id, row["position"]) for row in rows],
    )
    return [item_of(row)._replace(state=ItemState.SENDING) for row in rows]


def settle(connection: sqlite3.Connection, action_id: str, settled: Iterable[Settled]) -> None:
    """Write what came of items, in the caller's transaction. Raises TransitionError."""
    for position, state, detail in settled:
        row = connection.execute(
            "SELECT state FROM items WHERE action_id = ? AND position = ?", (action_id, position)
        ).fetchone()
        if row is None or state not in ITEM_FOLLOWING[ItemState(row[0])]:
            raise TransitionError(f"item {position}: {row and row[0]} cannot become {state}")
        connection.execute(
            "UPDATE items SET state = ?, detail_json = ? WHERE action_id = ? AND position = ?",
            (state, to_json(detail), action_id, position),
        )


def settle_rest(connection: sqlite3.Connection, action_id: str, stopped: str) -> None:
    """At the end of an action: what was taken and not settled is unknown; what waits never begins.

    Items go on waiting when ``stopped``, the reason, is "".
    """
    connection.execute(
        "UPDATE items SET state = 'unknown' WHERE action_id = ? AND state = 'sending'", (action_id,)
    )
    if stopped:
        connection.execute(
            "UPDATE items SET state = 'refused', detail_json = ?"
            " WHERE action_id = ? AND state = 'waiting'",
            (to_json({"reason": stopped}), action_id),
        )


def count(connection: sqlite3.Connection, action_id: str) -> dict[ItemState, int]:
    """Return how many items of an action are in which state."""
    rows = connection.execute(
        "SELECT state, count(*) FROM items WHERE action_id = ? GROUP BY state", (action_id,)
    )
    return {ItemState(state): number for state, number in rows}
