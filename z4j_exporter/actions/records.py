"""The journal of actions: what was asked, written before anything is sent, and what came of it.

The order that makes a crash harmless: ``begin`` (pending, with the new ids), ``start`` or
``items.take`` (these may now be sent), send, ``items.settle`` and ``finish``. Each is on the disk
when it returns. What was unfinished when a process died is unknown at the next start,
and never goes on by itself.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from z4j_exporter.actions import records_alerts, records_items, records_keys
from z4j_exporter.actions.model import Action, ActionError, State, Verb
from z4j_exporter.actions.records_alerts import AlertKey, Alerts, Guards, Verdict
from z4j_exporter.actions.records_database import Database, JournalUnavailable
from z4j_exporter.actions.records_items import Items, Settled
from z4j_exporter.actions.records_owed import Owed
from z4j_exporter.actions.records_rows import (
    COLUMNS,
    PLACES,
    Item,
    action_of,
    pairs_of,
    to_json,
    values,
)
from z4j_exporter.actions.records_states import (
    FOLLOWING,
    UNFINISHED,
    ItemState,
    TransitionError,
    state_of,
)

__all__ = ["ActionJournal", "Begun", "JournalUnavailable", "TransitionError"]

#: Seconds that finished actions are kept: 30 days.
KEPT_SECONDS = 30 * 86_400.0

#: Actions that one call of ``prune`` removes at most: each may have 10 000 items.
_PRUNED_AT_ONCE = 20

_SELECT = f"SELECT {COLUMNS} FROM actions"  # noqa: S608  # constants only
_INSERT = f"INSERT INTO actions ({COLUMNS}) VALUES ({PLACES})"  # noqa: S608  # constants only


class Begun(NamedTuple):
    """An action that is in the journal now; not ``fresh``: it was before, under the same key."""

    action: Action
    fresh: bool


class ActionJournal:
    """The actions of one process; any thread may call.

    Methods raise JournalUnavailable (503) when the disk is full, the file locked, damaged or
    replaced: then nothing of the call was written, and nothing may be sent.
    Opening raises ConfigError or FileError; see ``Database``.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._database = Database(path)
        self.items = Items(self._database)
        self.alerts = Alerts(self._database, clock)
        self._owed = Owed()
        #: Ids of the actions that the last process left unfinished: the audit log's to tell.
        self.interrupted: tuple[str, ...] = ()
        try:
            self.interrupted = self._interrupt_unfinished()
        except BaseException:
            self.close()
            raise

    def begin(self, action: Action, *, items: Iterable[tuple[str, str]] | None = None) -> Begun:
        """Write a new action as pending, with its items and its idempotency key.

        ``items`` are pairs of old and new id; without them they are made from the target's ids
        and ``new_task_ids``. A finished action of the same key and request is returned instead.

        Raises ActionError: 422 ``idempotency-key-reused``, 409 ``idempotency-key-in-flight``.
        """
        self._owed.pay()
        with self._database.transaction() as connection:
            former = records_keys.find(connection, action, self._clock())
            if former is not None:
                return Begun(_get(connection, former), fresh=False)
            self._insert(connection, action, items)
            records_keys.claim(connection, action, self._clock())
        return Begun(action, fresh=True)

    def begin_for_alert(
        self,
        action: Action,
        key: AlertKey,
        guards: Guards,
        *,
        items: Iterable[tuple[str, str]] | None = None,
    ) -> Verdict:
        """Claim an alert and write its action as pending, or neither: see ``records_alerts``."""
        self._owed.pay()
        with self._database.transaction() as connection:
            verdict = records_alerts.claim(
                connection,
                key,
                guards,
                action_id=action.id,
                dry_run=action.dry_run,
                now=self._clock(),
            )
            if verdict.decision == "claimed":
                self._insert(connection, action, items)
        return verdict

    def start(self, action_id: str, *, take: int = 0) -> list[Item]:
        """Make a pending action running; return the first ``take`` items, marked as being sent.

        Raises TransitionError.
        """
        with self._database.transaction() as connection:
            if _get(connection, action_id).state is not State.PENDING:
                raise TransitionError(f"action {action_id} is not pending")
            _set_state(connection, action_id, State.RUNNING)
            return records_items.take_waiting(connection, action_id, take)

    def resume(self, action_id: str) -> Action:
        """Go on with a job that a crash interrupted: make it running, for ``items.take``.

        Only items that wait are taken then; those in flight at the crash stay unknown.

        Raises ActionError: 404 ``action-not-found``, 409 ``not-resumable``.
        """
        with self._database.transaction() as connection:
            action = _get(connection, action_id)
            waiting = ItemState.WAITING in records_items.count(connection, action_id)
            if action.state is not State.UNKNOWN or not waiting:
                raise ActionError(
                    "not-resumable",
                    409,
                    "Only a job that was interrupted before all of it was begun can go on.",
                )
            _set_state(connection, action_id, State.RUNNING)
            return _get(connection, action_id)

    def finish(
        self,
        action_id: str,
        state: State,
        result: dict[str, Any],
        *,
        settled: Sequence[Settled] = (),
        release: bool = False,
    ) -> Action:
        """Write what came of an action, and of its last items.

        Items that were taken and not settled become unknown; those that wait never begin, unless
        the action is unknown itself. ``release``: nothing was done and the cause may pass (503),
        so the same idempotency key, or the same alert, may ask again.

        Raises TransitionError, and writes nothing, when it cannot become that, or when something
        may have been sent that is to be released. After JournalUnavailable it is tried again
        before the next action begins: do not call it again.
        """
        stopped = "" if state is State.UNKNOWN else str(state)

        def write() -> Action:
            with self._database.transaction() as connection:
                records_items.settle(connection, action_id, settled)
                records_items.settle_rest(connection, action_id, stopped)
                if release:
                    _release(connection, action_id, state)
                return self._finish(connection, action_id, state, result)

        return self._owed.write(write)

    def finish_job(self, action_id: str, result: dict[str, Any], *, stopped: str = "") -> Action:
        """Write the end of a job; its state follows from its items: see ``state_of``.

        ``stopped`` is the reason when items that wait shall never begin. The result gets the
        number of items in each state as ``counts``.

        Raises TransitionError when items still wait and nothing stopped it. After
        JournalUnavailable it is tried again as ``finish`` is.
        """

        def write() -> Action:
            with self._database.transaction() as connection:
                records_items.settle_rest(connection, action_id, stopped)
                counts = records_items.count(connection, action_id)
                told = {**result, "counts": {str(state): n for state, n in counts.items()}}
                return self._finish(connection, action_id, state_of(counts), told)

        return self._owed.write(write)

    def get(self, action_id: str) -> Action:
        """Return an action. Raises ActionError 404 ``action-not-found``."""
        with self._database.reading() as connection:
            return _get(connection, action_id)

    def list(
        self,
        *,
        state: State | None = None,
        verb: Verb | None = None,
        task_id: str | None = None,
        before: float | None = None,
        limit: int = 100,
    ) -> list[Action]:
        """Return actions, newest first, requested before a moment (epoch seconds)."""
        given = {"state": state, "verb": verb, "task_id": task_id}
        wanted = [f"{column} = :{column}" for column, value in given.items() if value is not None]
        if before is not None:
            wanted.append("requested_at < :before")
        where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"{_SELECT}{where} ORDER BY requested_at DESC, id DESC LIMIT :limit",
                {**given, "before": before, "limit": limit},
            ).fetchall()
        return [action_of(row) for row in rows]

    def prune(self, kept_seconds: float = KEPT_SECONDS) -> int:
        """Remove some of what is older; return how many actions: call again while not 0.

        Kept are unfinished actions, those of live idempotency keys, and the claims of alerts
        that were still sent within the time.
        """
        self._owed.pay()
        now = self._clock()
        with self._database.transaction() as connection:
            records_keys.expire(connection, now)
            connection.execute("DELETE FROM alert_claims WHERE seen_at < ?", (now - kept_seconds,))
            cursor = connection.execute(
                "DELETE FROM actions WHERE id IN (SELECT id FROM actions WHERE requested_at < :old"
                " AND finished_at < :old AND state NOT IN ('pending', 'running') AND id NOT IN"
                " (SELECT action_id FROM idempotency_keys) ORDER BY requested_at LIMIT :most)",
                {"old": now - kept_seconds, "most": _PRUNED_AT_ONCE},
            )
            return cursor.rowcount

    def close(self) -> None:
        """Close the journal; what is unfinished will be unknown at the next start."""
        self._database.close()

    def _insert(
        self,
        connection: sqlite3.Connection,
        action: Action,
        items: Iterable[tuple[str, str]] | None,
    ) -> None:
        if action.state is not State.PENDING:
            raise TransitionError(f"action {action.id} begins as {action.state}")
        connection.execute(_INSERT, values(action))
        records_items.insert(connection, action.id, pairs_of(action) if items is None else items)

    def _finish(
        self, connection: sqlite3.Connection, action_id: str, state: State, result: dict[str, Any]
    ) -> Action:
        if state in UNFINISHED:
            raise TransitionError(f"action {action_id} cannot end as {state}")
        _set_state(connection, action_id, state)
        connection.execute(
            "UPDATE actions SET finished_at = ?, result_json = ? WHERE id = ?",
            (self._clock(), to_json(result), action_id),
        )
        return _get(connection, action_id)

    def _interrupt_unfinished(self) -> tuple[str, ...]:
        """Make unknown what the last process left unfinished; a dry run has failed for certain.

        Items that wait were not begun, and go on waiting for ``resume``.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE state IN ('pending', 'running') ORDER BY requested_at, id"
            ).fetchall()
            for action in map(action_of, rows):
                records_items.settle_rest(connection, action.id, stopped="")
                state = State.FAILED if action.dry_run else State.UNKNOWN
                result = {**action.result, "interrupted": str(action.state)}
                self._finish(connection, action.id, state, result)
        return tuple(row["id"] for row in rows)


def _get(connection: sqlite3.Connection, action_id: str) -> Action:
    row = connection.execute(f"{_SELECT} WHERE id = ?", (action_id,)).fetchone()
    if row is None:
        raise ActionError("action-not-found", 404, "There is no such action.")
    return action_of(row)


def _set_state(connection: sqlite3.Connection, action_id: str, state: State) -> None:
    former = _get(connection, action_id).state
    if state not in FOLLOWING[former]:
        raise TransitionError(f"action {action_id}: {former} cannot become {state}")
    connection.execute(
        "UPDATE actions SET state = ?, finished_at = NULL WHERE id = ?", (state, action_id)
    )


def _release(connection: sqlite3.Connection, action_id: str, state: State) -> None:
    sent = {ItemState.SENT, ItemState.UNKNOWN} & records_items.count(connection, action_id).keys()
    if sent or state not in (State.REFUSED, State.FAILED):
        raise TransitionError(f"action {action_id} may have done something: {state}")
    for table in ("idempotency_keys", "alert_claims"):
        connection.execute(f"DELETE FROM {table} WHERE action_id = ?", (action_id,))  # noqa: S608  # constants only
