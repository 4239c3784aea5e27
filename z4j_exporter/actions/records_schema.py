"""The tables of the journal, and the number of their version."""

import sqlite3

#: Tells our database from any other ("z4jA"), and one schema from the next.
APPLICATION_ID = 0x7A346A41
VERSION = 1

#: Each statement of version 1. Texts are JSON where the name says so.
TABLES = (
    """
    CREATE TABLE actions (
        id TEXT PRIMARY KEY,
        verb TEXT NOT NULL,
        task_id TEXT,
        target_json TEXT NOT NULL,
        actor_json TEXT NOT NULL,
        requested_at REAL NOT NULL,
        dry_run INTEGER NOT NULL,
        options_json TEXT NOT NULL,
        idempotency_key TEXT,
        request_hash TEXT NOT NULL,
        state TEXT NOT NULL,
        new_task_ids_json TEXT NOT NULL,
        finished_at REAL,
        result_json TEXT NOT NULL
    )
    """,
    "CREATE INDEX actions_by_time ON actions (requested_at)",
    "CREATE INDEX actions_by_task ON actions (task_id) WHERE task_id IS NOT NULL",
    "CREATE INDEX actions_unfinished ON actions (state) WHERE state IN ('pending', 'running')",
    # depth: how many retries lead to new_id.
    """
    CREATE TABLE items (
        action_id TEXT NOT NULL REFERENCES actions (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        task_id TEXT NOT NULL,
        new_id TEXT NOT NULL,
        state TEXT NOT NULL,
        detail_json TEXT NOT NULL,
        depth INTEGER NOT NULL,
        PRIMARY KEY (action_id, position)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX items_by_state ON items (action_id, state, position)",
    "CREATE INDEX items_by_task ON items (task_id)",
    "CREATE UNIQUE INDEX items_by_new_id ON items (new_id)",
    """
    CREATE TABLE idempotency_keys (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        request_hash TEXT NOT NULL,
        action_id TEXT NOT NULL REFERENCES actions (id) ON DELETE CASCADE,
        claimed_at REAL NOT NULL,
        PRIMARY KEY (scope, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX idempotency_keys_by_action ON idempotency_keys (action_id)",
    # No foreign key: a claim outlives its action while the alert is still sent again.
    """
    CREATE TABLE alert_claims (
        rule TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        starts_at TEXT NOT NULL,
        dry_run INTEGER NOT NULL,
        action_id TEXT NOT NULL,
        claimed_at REAL NOT NULL,
        seen_at REAL NOT NULL,
        PRIMARY KEY (rule, fingerprint, starts_at, dry_run)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX alert_claims_by_time ON alert_claims (rule, dry_run, claimed_at)",
    "CREATE INDEX alert_claims_by_sight ON alert_claims (seen_at)",
    "CREATE INDEX alert_claims_by_action ON alert_claims (action_id)",
    """
    CREATE TABLE breakers (
        rule TEXT PRIMARY KEY,
        opened_at REAL NOT NULL,
        reason TEXT NOT NULL
    ) WITHOUT ROWID
    """,
)


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, in the caller's transaction. Raises sqlite3.Error."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
