"""Writes the token file: one writer at a time, the new text in place of the old as a whole."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from z4j_exporter.actions.records_owner import sync_directory
from z4j_exporter.actions.tokens_file import as_text, read_bytes
from z4j_exporter.errors import FileError

#: Seconds that another writer is waited for.
_WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.05


def change(path: Path, edit: Callable[[str], str], *, create: bool = False) -> None:
    """Replace the text of a token file by what ``edit`` makes of it; durable when this returns.

    With ``create``, a file that is not there counts as an empty one. Readers see the old text or
    the new one. The file keeps its owner; its mode is 0600. Other writers of this program wait.

    Raises FileError when it cannot be read or written, ConfigError when others can read it, and
    what ``edit`` raises.
    """
    real = Path(os.path.realpath(path))  # a link stays a link
    with _alone(real):
        found = real.exists() or not create
        before = as_text(read_bytes(real), name=str(path)) if found else ""
        after = edit(before)
        try:
            _replace(real, after.encode())
        except OSError as error:
            raise FileError(
                f"{path}: the token file cannot be written: {error.strerror}",
                hint="Its directory must be writable, and keep its owner possible.",
            ) from None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold ``<path>.lock``: the file itself is another one after each change."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise FileError(
            f"{lock}: the lock of the token file cannot be made: {error.strerror}",
            hint="The directory must exist and be writable.",
        ) from None
    try:
        _wait_for(descriptor, lock)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, lock: Path) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise FileError(f"{lock}: another process is changing the token file") from None
            time.sleep(_LOOK_SECONDS)
        except OSError as error:
            raise FileError(f"{lock}: cannot be locked: {error.strerror}") from None


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            _keep_owner(path, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def _keep_owner(path: Path, descriptor: int) -> None:
    """Give a new file the old one's owner: root may not take it from the exporter's user."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
