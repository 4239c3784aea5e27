"""Writes records into the journal's file, and keeps it within its bounds of age and size."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from z4j_exporter.events.captured import Envelope
from z4j_exporter.journal import files, schema
from z4j_exporter.journal.intake import Record
from z4j_exporter.journal.notes import envelope_of, pack
from z4j_exporter.track.group_membership import Member, membership

#: See model.RECORD_OUTCOMES.
Outcome = Literal["stored", "replaced", "outdated", "member"]
#: Seconds by which the clocks of two publishers of one task's messages may differ.
_CLOCK_SKEW_SECONDS = 60.0
#: Rows that one transaction deletes.
_SLICE_ROWS = 1000
#: Bytes for each row beside its note: its columns, and its places in six indexes.
_ROW_BYTES = 700
#: Pages that one step of the vacuum gives back.
_VACUUM_PAGES = 1000
#: Bytes kept free for the files beside the database, of the journal's bound; a part of small ones.
_RESERVE_BYTES = 32 * 1024**2
_RESERVE_PART = 4


#: What SQLite and its driver raise on a value; files and disks raise others.
_UNSTORABLE = (
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
)


@dataclass(frozen=True)
class Bounds:
    """Seconds and bytes that the journal may hold."""

    max_age: float
    max_bytes: int

    @property
    def reserve(self) -> int:
        """Bytes for the files beside the database."""
        return min(_RESERVE_BYTES, self.max_bytes // _RESERVE_PART)

    @property
    def batch(self) -> int:
        """Bytes of records that one transaction may write: the WAL holds them at first."""
        return self.reserve // 4


class Database:
    """The open file. One thread uses it; every method may raise sqlite3.Error."""

    def __init__(self, path: Path, bounds: Bounds, wall: Callable[[], float]) -> None:
        self._path = path
        self._bounds = bounds
        self._wall = wall
        self._connection = schema.open_for_writing(path)
        self.records: Counter[str] = Counter()
        self.unstorable = 0
        execute = self._connection.execute
        # What a clock that was ahead has written would never grow old.
        now = wall()
        execute("UPDATE entry SET stored = ? WHERE stored > ?", (now, now))
        execute("UPDATE member SET stored = ? WHERE stored > ?", (now, now))
        (self.entries,) = execute("SELECT count(*) FROM entry").fetchone()
        (self._page_size,) = execute("PRAGMA page_size").fetchone()

    def intact(self, stopping: Callable[[], bool]) -> bool:
        """Look through the whole file; it takes some seconds for each GiB."""
        self._connection.set_progress_handler(stopping, 100_000)
        try:
            (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError:
            if stopping():
                return True
            raise
        finally:
            self._connection.set_progress_handler(None, 0)
        return bool(verdict == "ok")

    def close(self) -> None:
        """Write the WAL into the database and close it."""
        self._connection.close()

    # -- writing -------------------------------------------------------------------------------

    def write(self, batch: Sequence[Record]) -> None:
        """Write all of them, or nothing if this raises; first make room for them."""
        needed = sum(record.size_bytes + _ROW_BYTES for record in batch)
        self._make_room(needed)
        outcomes: Counter[str] = Counter()
        unstorable = 0
        with self._transaction():
            for record in batch:
                try:
                    outcomes[self._put(record)] += 1
                except _UNSTORABLE:
                    unstorable += 1  # one that is hostile must not cost the others
        self.entries += outcomes["stored"]
        self.records.update(outcomes)
        self.unstorable += unstorable
        self._bound_wal()

    def _put(self, record: Record) -> Outcome:
        now = self._wall()
        if not record.note:
            self._join(Member(record.uuid, (record.group_id, False)), now, keep=True)
            return "member"
        envelope = envelope_of(record.note)
        if envelope is None:
            raise ValueError("no envelope")
        outcome = self._choose(envelope, record.published)
        if outcome != "outdated":
            self._insert(envelope, record, now)
        told = membership(envelope)
        for place in (told.member, *told.ahead, told.body_member):
            if place is not None:
                self._join(place, now)
        return outcome

    def _choose(self, envelope: Envelope, published: float) -> Outcome:
        """Say whether this is the latest message of its task: they may overtake each other.

        A later attempt has more retries, a replacement a deeper nesting. A message with fewer
        is an older one, unless it is later by more than clocks differ: the id was used again.
        """
        known = self._connection.execute(
            "SELECT nesting, retries, published FROM entry WHERE uuid = ?", (envelope.uuid,)
        ).fetchone()
        if known is None:
            return "stored"
        attempt, before = _attempt(envelope), (known[0], known[1])
        allowed = 0.0 if attempt == before else _CLOCK_SKEW_SECONDS
        if attempt > before or published >= known[2] + allowed:
            return "replaced"
        return "outdated"

    def _insert(self, envelope: Envelope, record: Record, now: float) -> None:
        stored_as, note = pack(record.note)
        nesting, retries = _attempt(envelope)
        # REPLACE gives it a new id, the latest.
        self._connection.execute(
            "REPLACE INTO entry (uuid, name, queue, published, stored, nesting, retries, group_id,"
            " replayable, withheld, hostname, format, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                envelope.uuid, envelope.name or "", envelope.queue or "", record.published, now,
                nesting, retries, envelope.group_id, envelope.replayable, envelope.withheld,
                record.hostname, stored_as, note,
            ),
        )  # fmt: skip

    def _join(self, member: Member, now: float, *, keep: bool = False) -> None:
        group_id, in_chord = member.key
        if (
            keep
            and self._connection.execute(
                "SELECT 1 FROM member WHERE group_id = ? AND uuid = ?", (group_id, member.uuid)
            ).fetchone()
        ):
            return
        self._connection.execute(
            "INSERT INTO member (group_id, in_chord, uuid, position, name, stored)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET stored = excluded.stored,"
            " position = coalesce(excluded.position, position),"
            " name = coalesce(excluded.name, name)",
            (group_id, in_chord, member.uuid, member.index, member.name, now),
        )

    # -- bounds --------------------------------------------------------------------------------

    def expire(self) -> bool:
        """Delete a slice of what is too old, shrink the file; return whether there may be more."""
        deleted = self._delete(self._wall() - self._bounds.max_age)
        return self._give_back() or deleted

    def _make_room(self, needed: int) -> None:
        cap = self._bounds.max_bytes - self._bounds.reserve
        while self._used_bytes() + needed > cap:
            if not self._delete(float("inf")):
                break  # nothing is left: the batch alone is as large
        self._give_back()

    def _delete(self, before: float) -> bool:
        """Delete the oldest that were stored before, in one transaction of a bounded size."""
        rows: list[tuple[int, float]] = []
        size = 0
        for row_id, stored, length in self._connection.execute(
            "SELECT id, stored, length(note) FROM entry WHERE stored < ? ORDER BY stored LIMIT ?",
            (before, _SLICE_ROWS),
        ):
            rows.append((row_id, stored))
            size += length + _ROW_BYTES
            if size >= self._bounds.batch:
                break
        # Members that were never published go with those that were published at their time.
        until = rows[-1][1] if rows else before
        with self._transaction():
            self._connection.executemany(
                "DELETE FROM entry WHERE id = ?", ((row_id,) for row_id, _ in rows)
            )
            members = self._connection.execute(
                "DELETE FROM member WHERE (group_id, in_chord, uuid) IN (SELECT group_id, in_chord,"
                " uuid FROM member WHERE stored < ? ORDER BY stored LIMIT ?)",
                (until, _SLICE_ROWS),
            ).rowcount
        self.entries -= len(rows)
        self._bound_wal()
        return bool(rows) or members > 0

    def _used_bytes(self) -> int:
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        return int((pages - self._free_pages()) * self._page_size)

    def _free_pages(self) -> int:
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return int(free)

    def _give_back(self) -> bool:
        """Shrink the file by a slice where much is free, or it is too large; return whether."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        free = self._free_pages()
        cap = (self._bounds.max_bytes - self._bounds.reserve) // self._page_size
        surplus = max(pages - cap, free - max(pages // 10, 64))
        count = min(surplus, free, _VACUUM_PAGES)
        if count <= 0:
            return False
        # ``execute`` would step once and stop: this pragma gives back a page with each step.
        self._connection.executescript(f"PRAGMA incremental_vacuum({count})")
        self._bound_wal()
        return True

    def _bound_wal(self) -> None:
        """Empty the WAL where it has grown: by itself it is only overwritten."""
        wal = files.beside(self._path)[0]
        try:
            large = wal.stat().st_size > self._bounds.reserve // 4
        except OSError:
            return
        if large:
            # A reader that looks at it now keeps it from being emptied: the next time does.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection)


class _Transaction:
    """Begins and commits; gives all up where its block raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _attempt(envelope: Envelope) -> tuple[int, int]:
    return envelope.replaced_task_nesting or 0, envelope.retries or 0
