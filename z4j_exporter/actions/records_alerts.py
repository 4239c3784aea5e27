"""What alerts have caused: each is acted on once, within its rule's limits, over restarts."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from z4j_exporter.actions.records_database import Database

#: Seconds after which the sight of an alert that is sent again is written down again.
_SIGHT_SECONDS = 3600.0

Decision = Literal[
    "claimed", "duplicate", "breaker-open", "cooldown", "hourly-limit", "in-flight-limit"
]


@dataclass(frozen=True, slots=True)
class AlertKey:
    """One firing of an alert under one rule: Alertmanager's fingerprint and startsAt, as sent."""

    rule: str
    fingerprint: str
    starts_at: str


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits of a rule; 0 is none.

    ``cooldown_seconds`` between two actions on one fingerprint, ``max_per_hour`` actions of the
    rule, ``max_in_flight`` of its actions unfinished at a time.
    """

    cooldown_seconds: float = 0.0
    max_per_hour: int = 0
    max_in_flight: int = 0


class Verdict(NamedTuple):
    """Whether an alert may act now; ``action_id`` is its action's, or the one it already has."""

    decision: Decision
    action_id: str | None


class Breaker(NamedTuple):
    """A rule that was stopped since what it retried failed again."""

    opened_at: float
    reason: str


class Alerts:
    """Claims and breakers. Every method raises JournalUnavailable."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def latest(self, rule: str, fingerprint: str) -> str | None:
        """Return the id of the newest action (no dry run) that a rule took on an alert."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT action_id FROM alert_claims WHERE rule = ? AND fingerprint = ?"
                " AND dry_run = 0 ORDER BY claimed_at DESC LIMIT 1",
                (rule, fingerprint),
            ).fetchone()
        return str(row[0]) if row else None

    def open_breaker(self, rule: str, reason: str) -> None:
        """Stop a rule until ``close_breaker``, over restarts too; the first reason stays."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO breakers VALUES (?, ?, ?)", (rule, self._clock(), reason)
            )

    def close_breaker(self, rule: str) -> bool:
        """Let a rule act again; return whether it was stopped."""
        with self._database.transaction() as connection:
            cursor = connection.execute("DELETE FROM breakers WHERE rule = ?", (rule,))
            return cursor.rowcount > 0

    def breakers(self) -> dict[str, Breaker]:
        """Return the rules that are stopped."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT rule, opened_at, reason FROM breakers").fetchall()
        return {row[0]: Breaker(row[1], row[2]) for row in rows}


def claim(
    connection: sqlite3.Connection,
    key: AlertKey,
    guards: Guards,
    *,
    action_id: str,
    dry_run: bool,
    now: float,
) -> Verdict:
    """Claim an alert for an action, in the caller's transaction, or say why not.

    A refusal by a guard claims nothing: Alertmanager sends the alert again while it fires, and
    then it is judged anew. Dry runs have claims and limits of their own, so that a rule that
    is switched on acts on what it only watched before.
    """
    identity = (key.rule, key.fingerprint, key.starts_at, int(dry_run))
    row = connection.execute(
        "SELECT action_id, seen_at FROM alert_claims"
        " WHERE rule = ? AND fingerprint = ? AND starts_at = ? AND dry_run = ?",
        identity,
    ).fetchone()
    if row is not None:
        # Seen lately, it is not pruned: an alert may fire for longer than the journal keeps.
        if abs(now - row["seen_at"]) > _SIGHT_SECONDS:
            connection.execute(
                "UPDATE alert_claims SET seen_at = ?"
                " WHERE rule = ? AND fingerprint = ? AND starts_at = ? AND dry_run = ?",
                (now, *identity),
            )
        return Verdict("duplicate", row["action_id"])
    refusal = _refusal(connection, key, guards, dry_run=dry_run, now=now)
    if refusal is not None:
        return Verdict(refusal, None)
    connection.execute(
        "INSERT INTO alert_claims VALUES (?, ?, ?, ?, ?, ?, ?)", (*identity, action_id, now, now)
    )
    return Verdict("claimed", action_id)


def _refusal(
    connection: sqlite3.Connection, key: AlertKey, guards: Guards, *, dry_run: bool, now: float
) -> Decision | None:
    if connection.execute("SELECT 1 FROM breakers WHERE rule = ?", (key.rule,)).fetchone():
        return "breaker-open"
    # Both ends: a clock that was ahead once must not stop a rule for longer than its own limit.
    cooldown = guards.cooldown_seconds
    if (
        cooldown
        and connection.execute(
            "SELECT 1 FROM alert_claims WHERE rule = ? AND fingerprint = ? AND dry_run = ?"
            " AND claimed_at > ? AND claimed_at < ? LIMIT 1",
            (key.rule, key.fingerprint, int(dry_run), now - cooldown, now + cooldown),
        ).fetchone()
    ):
        return "cooldown"
    (last_hour,) = connection.execute(
        "SELECT count(*) FROM alert_claims WHERE rule = ? AND dry_run = ?"
        " AND claimed_at > ? AND claimed_at < ?",
        (key.rule, int(dry_run), now - 3600, now + 3600),
    ).fetchone()
    if guards.max_per_hour and last_hour >= guards.max_per_hour:
        return "hourly-limit"
    (in_flight,) = connection.execute(
        "SELECT count(*) FROM actions JOIN alert_claims ON action_id = id"
        " WHERE rule = ? AND alert_claims.dry_run = ? AND state IN ('pending', 'running')",
        (key.rule, int(dry_run)),
    ).fetchone()
    if guards.max_in_flight and in_flight >= guards.max_in_flight:
        return "in-flight-limit"
    return None
