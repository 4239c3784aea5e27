"""The journal's tables, and how its file is opened: new, of an older version, or refused."""

import errno
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from z4j_exporter.journal.model import JournalError

#: SQLite's application_id of a journal: "z4j1".
APPLICATION_ID = 0x7A346A31
#: Seconds that another program (a backup, sqlite3) may hold the file before we give up.
_BUSY_SECONDS = 5.0
#: Pages of the WAL after which SQLite writes them into the database; 1 MiB.
_CHECKPOINT_PAGES = 256

#: Each makes one version out of the one before; the first makes version 1 of an empty file.
MIGRATIONS: list[tuple[str, ...]] = [
    (
        # One row for each task: of its last message. ``note`` is what the hook sent, as it came;
        # ``stored`` is our clock, ``published`` the publisher's, epoch seconds.
        """CREATE TABLE entry (
            id INTEGER PRIMARY KEY,
            uuid TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            queue TEXT NOT NULL,
            published REAL NOT NULL,
            stored REAL NOT NULL,
            nesting INTEGER NOT NULL,
            retries INTEGER NOT NULL,
            group_id TEXT,
            replayable INTEGER NOT NULL,
            withheld TEXT NOT NULL,
            hostname TEXT NOT NULL,
            format INTEGER NOT NULL,
            note BLOB NOT NULL
        )""",
        "CREATE INDEX entry_name ON entry (name, published)",
        "CREATE INDEX entry_queue ON entry (queue, published)",
        "CREATE INDEX entry_published ON entry (published)",
        "CREATE INDEX entry_stored ON entry (stored)",
        # Members, published or not: of a chain that is a member, the last task is it, and comes
        # last. A chord's header and a body that is a group have one id: in_chord tells them apart.
        """CREATE TABLE member (
            group_id TEXT NOT NULL,
            in_chord INTEGER NOT NULL,
            uuid TEXT NOT NULL,
            position INTEGER,
            name TEXT,
            stored REAL NOT NULL,
            PRIMARY KEY (group_id, in_chord, uuid)
        ) WITHOUT ROWID""",
        "CREATE INDEX member_stored ON member (stored)",
    ),
]


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the journal, brought to the version of this program.

    Raises JournalError for a file that is not ours to touch, sqlite3.Error for all the rest.
    """
    # The journal opens it in one thread and leaves the closing to another, at the very end.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        version = check(connection, path)
        if version == 0:
            # Only an empty file can be told so.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        # NORMAL: after a power cut the last transactions may be missing; the file is never broken.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
            # What was deleted is overwritten: it was somebody's arguments.
            "secure_delete=ON",
            "trusted_schema=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        _migrate(connection, MIGRATIONS, version)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the journal for questions alone; raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def check(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a journal, 0 for an empty file.

    Raises JournalError where it is none, or one of a later version.
    """
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as error:
        if _code(error) != sqlite3.SQLITE_NOTADB:
            raise
        raise _foreign(path) from None
    if application == 0 and version == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise _foreign(path)
    if version > len(MIGRATIONS):
        raise JournalError(
            f"the journal {path} was written by a later version of this program",
            hint="Run that version, or name another file with --journal-path.",
        )
    return int(version)


def _foreign(path: Path) -> JournalError:
    return JournalError(
        f"{path} is no journal of this program: it is left as it is",
        hint="Name another file with --journal-path.",
    )


def _migrate(
    connection: sqlite3.Connection, migrations: Sequence[tuple[str, ...]], version: int
) -> None:
    for number, statements in enumerate(migrations[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={number}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 where Python itself found the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def trouble_of(error: Exception) -> str:
    """Return the reason for which the journal cannot be written, in a word for a label."""
    if isinstance(error, JournalError):
        return "refused"
    if isinstance(error, sqlite3.Error):
        return _TROUBLES.get(_code(error), "error")
    return _ERRNOS.get(getattr(error, "errno", None) or 0, "error")


_ERRNOS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
    errno.EIO: "io_error",
}
_TROUBLES = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_PERM: "read_only",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_IOERR: "io_error",
    sqlite3.SQLITE_CANTOPEN: "io_error",
}
