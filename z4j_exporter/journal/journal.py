"""The journal of published messages: a thread writes what comes; anyone asks what is there."""

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from z4j_exporter.config import Settings
from z4j_exporter.events.captured import Captured, Envelope
from z4j_exporter.events.model import Event
from z4j_exporter.journal import files, schema
from z4j_exporter.journal.database import Bounds, Database
from z4j_exporter.journal.intake import Intake, Record
from z4j_exporter.journal.model import JournalError, JournalStats
from z4j_exporter.journal.reader import JournalReader

logger = logging.getLogger(__name__)

#: Records and bytes that may wait to be written.
_QUEUE_RECORDS = 50_000
_QUEUE_BYTES = 64 * 1024**2
#: Records that one transaction writes.
_BATCH_RECORDS = 1000
#: Seconds in which a batch gathers.
_GATHER_SECONDS = 0.25
#: Seconds between two looks for what is too old.
_EXPIRE_SECONDS = 30.0
#: Seconds until the next attempt while nothing can be written: the first, and the most.
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class Journal(JournalReader):
    """Keeps the last message of each task. What cannot be kept is counted; nothing ever waits.

    Raises JournalError from the constructor for a file or directory that cannot be a journal.
    All else (a full disk, another exporter that writes the same file) is trouble that may
    pass: it is told once, in ``stats`` and in the log, and tried again.
    """

    def __init__(
        self,
        path: Path,
        bounds: Bounds,
        *,
        queue_records: int = _QUEUE_RECORDS,
        queue_bytes: int = _QUEUE_BYTES,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        path = path.absolute()
        super().__init__(path)
        self._bounds = bounds
        self._wall = wall
        self._monotonic = monotonic
        self._intake = Intake(queue_records, queue_bytes)
        self._owner = files.Ownership(path)
        self._database: Database | None = None
        #: Taken from the intake and not yet written.
        self._batch: list[Record] = []
        self._records: Counter[str] = Counter()
        self._entries: int | None = None
        #: Whether the whole file was looked through.
        self._checked = False
        self._pause = _PAUSE_SECONDS
        self._expire_at = 0.0
        #: Whether more is too old than was deleted yet.
        self._expiring = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._refuse_early()

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Write what waits, for so long, and close the file."""
        self._intake.close()
        if self._thread.is_alive():
            self._thread.join(max(0.0, timeout_seconds))

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    # -- what comes in: the applier's thread ---------------------------------------------------

    def captured(self, note: Captured, event: Event) -> None:
        """Take the hook's note of a published message; other notes are passed over."""
        if not isinstance(note, Envelope):
            return
        raw = bytes(event.z4j)
        if len(raw) > self._bounds.batch:
            self._intake.drop("too_large")
            return
        self._intake.offer(Record(event.timestamp, event.hostname, raw))

    def learn(self, uuid: str, group_id: str) -> None:
        """Take a member of a group that the result backend told of."""
        self._intake.offer(Record(0.0, uuid=uuid, group_id=group_id))

    # -- what is asked -------------------------------------------------------------------------

    def stats(self) -> JournalStats:
        """Return the figures for the metrics."""
        return JournalStats(
            entries=self._entries,
            size_bytes=files.size_bytes(self._path),
            records=dict(self._records),
            dropped=self._intake.dropped_snapshot(),
            trouble=self._intake.trouble,
            waiting=len(self._intake) + len(self._batch),
        )

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._intake.closed:
                if not self._batch and not len(self._intake) and not self._expiring:
                    self._intake.wait(_EXPIRE_SECONDS)
                    self._intake.pause(_GATHER_SECONDS)
                if not self.step():
                    self._intake.pause(self._pause)
                    self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
            while (self._batch or len(self._intake)) and self.step():
                pass
        finally:
            left = len(self._batch) + len(self._intake.take(_QUEUE_RECORDS, _QUEUE_BYTES))
            if left:
                self._intake.drop(self._intake.trouble or "stopping", left)
            self.close()

    def step(self) -> bool:
        """Write what waits, one batch; delete what is too old. Returns whether that went well."""
        if not self._batch:
            self._batch = self._intake.take(_BATCH_RECORDS, self._bounds.batch)
        try:
            database = self._opened()
            if self._batch:
                database.write(self._batch)
                self._batch = []
            if self._expiring or self._monotonic() >= self._expire_at:
                self._expire(database)
        except (sqlite3.Error, OSError, JournalError) as error:
            self._fail(error)
            return False
        except Exception as error:
            # The thread must live on; the batch may be what does it.
            logger.exception("the journal failed in a way that was not foreseen")
            self._intake.drop("error", len(self._batch))
            self._batch = []
            self._fail(error)
            return False
        self._count(database)
        self._recover()
        return True

    def _expire(self, database: Database) -> None:
        self._expiring = database.expire()
        if not self._expiring:
            files.forget_damaged(self._path, self._wall() - self._bounds.max_age)
            self._expire_at = self._monotonic() + _EXPIRE_SECONDS

    def _opened(self) -> Database:
        if self._database is None:
            files.prepare(self._path)
            if not self._owner.take():
                raise _Elsewhere("another process writes it")
            self._database = Database(self._path, self._bounds, self._wall)
            if not self._checked and not self._database.intact(lambda: self._intake.closed):
                raise _Damaged("PRAGMA quick_check found damage")
            self._checked = True
        return self._database

    def _count(self, database: Database) -> None:
        self._records.update(database.records)
        database.records.clear()
        if database.unstorable:
            self._intake.drop("unstorable", database.unstorable)
            database.unstorable = 0
        self._entries = database.entries

    def _recover(self) -> None:
        self._pause = _PAUSE_SECONDS
        if self._intake.trouble:
            self._intake.trouble = ""
            logger.info("the journal can be written again")

    def _fail(self, error: Exception) -> None:
        trouble = _trouble_of(error)
        if trouble != self._intake.trouble:
            words = error.message if isinstance(error, JournalError) else str(error)
            logger.error("the journal cannot be written (%s): %s", trouble, words[:200])
        self._intake.trouble = trouble
        self._entries = None
        self._close_database()
        if trouble == "damaged" and self._owner.held:
            self._checked = False
            try:
                aside = files.set_aside(self._path)
            except OSError as failure:
                logger.error("the journal cannot be set aside: %s", failure.strerror)
            else:
                logger.error("it was set aside as %s; a new one is begun", aside)

    def close(self) -> None:
        """Close the file; the thread does it by itself at its end."""
        self._close_database()
        self._owner.release()

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except sqlite3.Error as error:
                logger.warning("the journal was not closed well: %s", schema.trouble_of(error))

    def _refuse_early(self) -> None:
        """Refuse now what would be refused later: it must not wait for the first message."""
        try:
            files.prepare(self._path)
            with closing(schema.open_for_reading(self._path)) as connection:
                schema.check(connection, self._path)
        except (sqlite3.Error, OSError) as error:
            self._fail(error)


class _Elsewhere(sqlite3.OperationalError):
    """Another process has the journal."""


class _Damaged(sqlite3.DatabaseError):
    """The file is not as SQLite writes it."""


def _trouble_of(error: Exception) -> str:
    if isinstance(error, _Elsewhere):
        return "locked"
    return "damaged" if isinstance(error, _Damaged) else schema.trouble_of(error)


def make_journal(settings: Settings) -> Journal | None:
    """Return the journal of the settings, None where none is wanted. Raises JournalError."""
    if settings.journal_path is None:
        return None
    return Journal(
        settings.journal_path, Bounds(settings.journal_max_age, settings.journal_max_bytes)
    )
