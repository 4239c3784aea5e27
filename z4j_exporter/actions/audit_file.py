"""The files of the audit log: append and sync, rotate by size, notice what others do to them."""

import contextlib
import os
import re
import stat
from pathlib import Path

from z4j_exporter.actions.records_owner import sync_directory


class ReplacedError(OSError):
    """The file is not what this process left: removed, renamed, replaced, cut or written to."""


def numbered(path: Path) -> list[Path]:
    """Return the full files of a log (``audit.jsonl.000001``), oldest first.

    Raises OSError.
    """
    pattern = re.compile(re.escape(path.name) + r"\.([0-9]{6,12})")
    found = [
        (int(m[1]), name) for name in os.listdir(path.parent) if (m := pattern.fullmatch(name))
    ]
    return [path.with_name(name) for _, name in sorted(found)]


class LogFile:
    """The file that is written to now, mode 0600; never rewritten, only longer.

    Every method raises OSError.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._descriptor = self._create(path)
        sync_directory(path.parent)
        self.size = os.fstat(self._descriptor).st_size

    def append(self, data: bytes, *, rotate: bool = True) -> None:
        """Write and sync; on failure the file is cut back to what it was, where that is possible.

        What of a failed write stays is what a crash would leave: ``size`` is then not the
        file's size, and the caller looks at the end of the file again.
        """
        self.check()
        if rotate and self.size and self.size + len(data) > self._max_bytes:
            self._rotate()
        try:
            _write(self._descriptor, data)
            os.fsync(self._descriptor)
        except OSError:
            # Pages that could not be synced count as clean, and a second fsync would say that all
            # is well; cut off and written anew they are dirty again. A file that may only be
            # appended to (chattr +a) cannot be cut.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
                os.fsync(self._descriptor)
            raise
        self.size += len(data)

    def check(self) -> None:
        """Raise ReplacedError when the file is not what the last write left."""
        here = os.fstat(self._descriptor)
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            raise ReplacedError(f"{self.path} was removed") from None
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise ReplacedError(f"{self.path} was replaced by another file")
        if here.st_size != self.size:
            kind = "cut" if here.st_size < self.size else "written to"
            raise ReplacedError(f"{self.path} was {kind} by somebody else")

    def measure(self) -> None:
        """Take the file's size as it is, after a failed write."""
        self.size = os.fstat(self._descriptor).st_size

    def tail(self, size: int) -> bytes:
        """Return the last bytes of the file."""
        return read_tail(self._descriptor, size)

    def close(self) -> None:
        """Close it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _rotate(self) -> None:
        """Give the full file the next number and begin a new one; in any failure keep the old.

        After a crash between the two renames there is no file of the plain name: the next start
        goes on after the last number.
        """
        older = numbered(self.path)
        number = int(older[-1].name.rpartition(".")[2]) + 1 if older else 1
        full = self.path.with_name(f"{self.path.name}.{number:06d}")
        fresh = self.path.with_name(f"{self.path.name}.next")
        fresh.unlink(missing_ok=True)
        descriptor = self._create(fresh)
        try:
            self.path.rename(full)
            try:
                fresh.rename(self.path)
            except OSError:
                full.rename(self.path)
                raise
        except OSError:
            os.close(descriptor)
            raise
        os.close(self._descriptor)
        self._descriptor, self.size = descriptor, 0
        sync_directory(self.path.parent)

    def _create(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise OSError(f"{path} is not a regular file")
            if stat.S_IMODE(mode) & 0o077:
                os.fchmod(descriptor, 0o600)
            os.fsync(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def read_tail(descriptor: int, size: int) -> bytes:
    """Return the last bytes of an open file. Raises OSError."""
    end = os.fstat(descriptor).st_size
    start = max(0, end - size)
    parts = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
