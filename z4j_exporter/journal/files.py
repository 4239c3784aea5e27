"""Looks after the journal's files: who may read them, how large they are, who writes them."""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from z4j_exporter.journal.model import JournalError

#: What SQLite puts beside the file.
_BESIDE = ("-wal", "-shm")
#: A journal that was found damaged is kept under this name, and the one before it is gone.
_DAMAGED = ".damaged"
_OTHERS_WRITE = stat.S_IWOTH


def prepare(path: Path) -> None:
    """Check the directory, and make sure that the file is there, and its owner's alone.

    SQLite gives the mode of the file to those beside it. Raises JournalError for what only a
    person can put right, and OSError for what may pass (a disk that is full or read-only).
    """
    directory = path.parent
    try:
        mode = directory.stat().st_mode
    except OSError as error:
        raise JournalError(
            f"the directory of the journal {path} cannot be used: {error.strerror}",
            hint="Make it, owned by the user that the exporter runs as, with the mode 0700.",
        ) from None
    if not stat.S_ISDIR(mode):
        raise JournalError(f"{directory} is no directory, and the journal is to be in it")
    if mode & _OTHERS_WRITE and not mode & stat.S_ISVTX:
        raise JournalError(
            f"everybody may write in the directory of the journal {path}",
            hint=f"The journal holds arguments of tasks: chmod o-w {directory}.",
        )
    for each in (path, *beside(path)):
        _own(each, create=each == path)


def _own(path: Path, *, create: bool) -> None:
    # The path is not opened where it exists: to close it would give up SQLite's locks on it.
    try:
        found = path.lstat()
    except FileNotFoundError:
        if create:
            _create(path)
        return
    if not stat.S_ISREG(found.st_mode):
        raise JournalError(f"the journal {path} is no regular file")
    if found.st_uid != os.geteuid():
        raise JournalError(
            f"the journal {path} belongs to another user",
            hint="It holds arguments of tasks: only the exporter's own user should read it.",
        )
    if found.st_mode & 0o077:
        path.chmod(0o600)


def _create(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        raise JournalError(
            f"the journal {path} cannot be made: no permission",
            hint="Its directory must be writable for the user that the exporter runs as.",
        ) from None
    os.close(descriptor)


def beside(path: Path) -> list[Path]:
    """Return the files that SQLite keeps beside the journal."""
    return [path.with_name(path.name + end) for end in _BESIDE]


def size_bytes(path: Path) -> int:
    """Return the size of all the journal's files."""
    total = 0
    for each in (path, *beside(path)):
        with suppress(OSError):
            total += each.stat().st_size
    return total


def set_aside(path: Path) -> Path:
    """Put a damaged journal out of the way; nobody may have it open. Raises OSError."""
    aside = path.with_name(path.name + _DAMAGED)
    path.replace(aside)
    for each in beside(path):
        each.unlink(missing_ok=True)
    return aside


def forget_damaged(path: Path, before: float) -> None:
    """Remove a journal that was set aside before that time, epoch seconds."""
    aside = path.with_name(path.name + _DAMAGED)
    with suppress(OSError):
        if aside.stat().st_mtime < before:
            aside.unlink()


class Ownership:
    """Keeps a second process from writing the same journal, until ``release`` or the end.

    A file of its own is locked: SQLite's locks on the database are lost when the process
    closes any other descriptor of it (https://sqlite.org/howtocorrupt.html 2.2).
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-lock")
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process has the journal."""
        return self._descriptor is not None

    def take(self) -> bool:
        """Return whether this process has the journal now. Raises OSError."""
        if self._descriptor is not None:
            return True
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let others have it. The file stays: to remove it would open a race."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
