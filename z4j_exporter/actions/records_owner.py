"""One process owns a file: an exclusive lock beside it, for the journal and the audit log."""

import contextlib
import fcntl
import os
from pathlib import Path

from z4j_exporter.errors import ConfigError, FileError


class Owner:
    """Holds ``<path>.lock`` until it is closed or the process ends, however it ends.

    A file of its own: the log is renamed when it is full, and closing any descriptor of an
    SQLite file gives up SQLite's own locks on it (https://www.sqlite.org/howtocorrupt.html 2.2).
    The lock's file stays: removing it would let two processes lock two files of one name.

    Raises ConfigError when another process holds it, FileError when it cannot be made.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path.with_name(f"{path.name}.lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise FileError(
                f"{self.path}: the lock of the {what} cannot be made: {error.strerror}",
                hint="The directory must exist and be writable.",
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise FileError(f"{self.path}: cannot be locked: {error.strerror}") from None
            raise ConfigError(
                f"{path}: the {what} is in use by another process{holder}",
                hint="One instance has actions enabled: give this one a path of its own, or none.",
            ) from None
        with contextlib.suppress(OSError):  # for people only: a full disk must not stop the start
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let others have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _holder(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            return f" (process {int(os.pread(self._descriptor, 20, 0))})"
        return ""


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a new file's fsync alone does not.

    Raises OSError.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
