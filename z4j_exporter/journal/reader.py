"""Answers questions about what the journal holds, from any thread.

Each question opens the file anew: what a reader keeps open keeps the WAL from being emptied.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from z4j_exporter.journal import schema
from z4j_exporter.journal.model import (
    Cursor,
    Found,
    JournalError,
    StoredGroup,
    StoredMember,
    StoredPayload,
)
from z4j_exporter.journal.notes import payload_of, unpack

#: Answers that one question may have.
MAX_FOUND = 10_000
#: Members whose notes are looked at for the chord's body: it may have been too large for some.
_BODIES_TRIED = 10


class JournalReader:
    """Every method raises JournalError where the file cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def payload(self, uuid: str) -> StoredPayload | None:
        """Return what a task was last published with; None if the journal does not have it."""
        rows = self._ask(
            "SELECT format, note, published, hostname FROM entry WHERE uuid = ?", (uuid,)
        )
        if not rows:
            return None
        stored_as, note, published, hostname = rows[0]
        return payload_of(unpack(stored_as, note), published, hostname)

    def group(self, group_id: str, limit: int = MAX_FOUND) -> StoredGroup | None:
        """Return a group's members, of a chord those of its header; None if none is known."""
        kinds = self._ask("SELECT max(in_chord) FROM member WHERE group_id = ?", (group_id,))
        if not kinds or kinds[0][0] is None:
            return None
        in_chord = bool(kinds[0][0])
        limit = max(1, min(limit, MAX_FOUND))
        rows = self._ask(
            "SELECT m.uuid, m.position, coalesce(m.name, e.name), e.id IS NOT NULL"
            " FROM member m LEFT JOIN entry e USING (uuid) WHERE m.group_id = ? AND m.in_chord = ?"
            " ORDER BY m.position IS NULL, m.position, m.uuid LIMIT ?",
            (group_id, in_chord, limit + 1),
        )
        members = tuple(
            StoredMember(uuid, position, name or None, bool(published))
            for uuid, position, name, published in rows[:limit]
        )
        return StoredGroup(
            group_id=group_id,
            is_chord=in_chord,
            members=members,
            chord_body=self._chord_body(members) if in_chord else None,
            truncated=len(rows) > limit,
        )

    def search(
        self,
        *,
        name: str | None = None,
        queue: str | None = None,
        since: float | None = None,
        until: float | None = None,
        after: Cursor | None = None,
        limit: int = 1000,
    ) -> list[Found]:
        """Return tasks whose last message was published from ``since`` to before ``until``.

        The oldest first, at most ``limit`` of them; ``after`` goes on behind a cursor. Times are
        the publishers' clocks, epoch seconds.
        """
        wanted: list[tuple[str, tuple[Any, ...]]] = []
        if name is not None:
            wanted.append(("name = ?", (name,)))
        if queue is not None:
            wanted.append(("queue = ?", (queue,)))
        if since is not None:
            wanted.append(("published >= ?", (since,)))
        if until is not None:
            wanted.append(("published < ?", (until,)))
        if after is not None:
            wanted.append(("(published, id) > (?, ?)", after))
        conditions = " AND ".join(condition for condition, _ in wanted) or "1"
        values = [value for _, these in wanted for value in these]
        columns = "published, id, uuid, name, queue, group_id, replayable, withheld"
        rows = self._ask(
            f"SELECT {columns} FROM entry WHERE {conditions} ORDER BY published, id LIMIT ?",  # noqa: S608  # both are from above
            (*values, max(1, min(limit, MAX_FOUND))),
        )
        return [
            Found((row[0], row[1]), row[2], row[3], row[4], row[0], row[5], bool(row[6]), row[7])
            for row in rows
        ]

    def _chord_body(self, members: tuple[StoredMember, ...]) -> Any:
        for member in [m for m in members if m.published][:_BODIES_TRIED]:
            payload = self.payload(member.uuid)
            if payload is not None and payload.chord_body:
                return payload.chord_body
        return None

    def _ask(self, question: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            with closing(schema.open_for_reading(self._path)) as connection:
                return connection.execute(question, values).fetchall()
        except UnicodeEncodeError:
            return []  # half a surrogate pair, which no stored text has
        except (sqlite3.Error, OverflowError) as error:
            raise JournalError(
                f"the journal cannot be read: {schema.trouble_of(error).replace('_', ' ')}",
                hint="The log of the exporter tells more.",
            ) from None
