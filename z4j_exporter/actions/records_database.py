"""The journal's SQLite database: opened once, owned by one process, every commit on the disk."""

import contextlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.records_owner import Owner, sync_directory
from z4j_exporter.actions.records_schema import APPLICATION_ID, VERSION, make_tables
from z4j_exporter.errors import ConfigError, FileError

#: Seconds to wait for somebody who reads or backs up the file with SQLite's own tools.
_BUSY_SECONDS = 2.0

#: A write-ahead log that grew beyond this in a burst is cut back.
_WAL_BYTES = 8 * 1024 * 1024


class JournalUnavailable(ActionError):  # noqa: N818  # the word that the design and the API use
    """The journal cannot be read or written: nothing may be done (503)."""

    def __init__(self, hint: str) -> None:
        super().__init__(
            "journal-unavailable",
            503,
            "The journal of actions cannot be used; without it nothing is done.",
            hint=hint,
        )


class Database:
    """One connection for all threads, one transaction at a time.

    WAL mode with ``synchronous=FULL``: a commit is on the disk when it returns
    (https://www.sqlite.org/pragma.html#pragma_synchronous; NORMAL would lose the last commits in
    a power cut). The file is for its owner's eyes only; SQLite gives its log the same mode.

    Raises ConfigError when another process owns it, or it is another program's or a newer
    version's; FileError when it cannot be opened or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._owner = Owner(path, "journal of actions")
        try:
            self._identity = _prepare(path)
            self._connection = _connect(path)
        except (OSError, sqlite3.Error) as error:
            self._owner.close()
            raise FileError(
                f"{path}: the journal of actions cannot be opened: {_reason(error)}",
                hint="Actions need it on a local disk. A damaged one can be moved away: a new one"
                " knows nothing of former retries and keys.",
            ) from None
        except BaseException:
            self._owner.close()
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the body in one transaction; when this ends without an error it is on the disk.

        Raises JournalUnavailable; and ActionError 422 for a text that cannot be stored.
        """
        with self._lock, self._typed_errors():
            self._check_identity()
            # At once for writing: SQLite does not let two readers both become writers.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # Some errors end the transaction by themselves.
                with contextlib.suppress(sqlite3.Error):
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Run the body's one query. Raises JournalUnavailable, or ActionError 422 as above."""
        with self._lock, self._typed_errors():
            yield self._connection

    def close(self) -> None:
        """Close it and let other processes have it."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._owner.close()

    @contextlib.contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError:
            raise ActionError(
                "text-not-storable", 422, "A text holds half of a surrogate pair."
            ) from None
        except (sqlite3.Error, OSError) as error:
            raise JournalUnavailable(f"The system says: {_reason(error)}.") from error

    def _check_identity(self) -> None:
        """Do not write to a file that was removed or replaced: nobody would find it again."""
        facts = self.path.stat()
        if (facts.st_dev, facts.st_ino) != self._identity:
            raise OSError("the file was replaced by another")


def _prepare(path: Path) -> tuple[int, int]:
    """Make the file with the right mode before SQLite makes it with another."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("it is not a regular file")
        if stat.S_IMODE(facts.st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)
    return facts.st_dev, facts.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    try:
        _check_kind(connection, path)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise OSError(f"its file system cannot have SQLite's WAL (mode {mode})")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise OSError("it is damaged")
        if _number(connection, "user_version") == 0:
            connection.execute("BEGIN IMMEDIATE")
            make_tables(connection)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not ours before anything is written to it."""
    version = _number(connection, "user_version")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == version == 0:
        return
    if _number(connection, "application_id") != APPLICATION_ID:
        raise ConfigError(
            f"{path}: is a database of another program",
            hint="Give the journal of actions a file of its own.",
        )
    if version > VERSION:
        raise ConfigError(
            f"{path}: the journal was made by a newer version of z4j-exporter (schema {version})",
            hint=f"This version knows schema {VERSION}: use the newer version, or another file.",
        )


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


def _reason(error: OSError | sqlite3.Error) -> str:
    """Say what is wrong without what SQLite might quote."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # Errors of the module itself ("Cannot operate on a closed database") have no name.
    name = getattr(error, "sqlite_errorname", None)
    return f"{error} ({name})" if name else str(error)
