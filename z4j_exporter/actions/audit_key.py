"""Finds the key of the audit log: in the environment, in a file, or makes one beside the log."""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from z4j_exporter.actions.audit_file import numbered
from z4j_exporter.actions.records_owner import sync_directory
from z4j_exporter.errors import ConfigError, FileError

#: Characters that a key has at least: 32 hexadecimal digits are 128 bits.
LEAST_CHARACTERS = 32
_MOST_BYTES = 4096

#: The environment variable that may hold the key.
ENVIRONMENT_VARIABLE = "Z4J_EXPORTER_ACTIONS_AUDIT_KEY"


def beside(log: Path) -> Path:
    """Return where the key lies that was made for a log."""
    return log.with_name(f"{log.name}.key")


def find_key(
    log: Path, *, key_file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> bytes:
    """Return the key that a log is to be written with; see ``existing_key``.

    When none is given and no log is there yet, a key is made beside it, mode 0600. A key is
    never made for a log that has entries.

    Raises ConfigError when a key is missing, too short or readable by others, FileError when a
    file cannot be read or made.
    """
    given = key_file is not None or environment.get(ENVIRONMENT_VARIABLE)
    own = beside(log)
    if given or own.exists():
        return existing_key(log, key_file=key_file, environment=environment)
    if _has_entries(log):
        raise ConfigError(
            f"{own}: the key of the audit log is missing",
            hint="Bring the key back; or move the log away, and a new one begins with a new key.",
        )
    return make_key(own)


def existing_key(
    log: Path, *, key_file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> bytes:
    """Return the key: the file's, else the environment's, else the one beside the log.

    Raises ConfigError when it is too short or readable by others, FileError when the file cannot
    be read.
    """
    text = environment.get(ENVIRONMENT_VARIABLE)
    if key_file is None and text:
        return _checked(os.fsencode(text), ENVIRONMENT_VARIABLE)
    return read_key(key_file if key_file is not None else beside(log))


def read_key(path: Path) -> bytes:
    """Return the key in a file that nobody but its owner can read.

    Raises ConfigError when others can, or when it is too short; FileError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise FileError(f"{path}: the audit key cannot be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(
            f"{path}: others than its owner can read the audit key",
            hint=f"Who can read it can forge the log: chmod 600 {path}",
        )
    return _checked(data, str(path))


def make_key(path: Path) -> bytes:
    """Make a new key of 256 bits in a new file, mode 0600, durable when this returns.

    Raises FileError.
    """
    key = secrets.token_hex(32).encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(key + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError as error:
        raise FileError(
            f"{path}: the audit key cannot be made: {error.strerror}",
            hint="The directory must exist and be writable.",
        ) from None
    return key


def _checked(data: bytes, where: str) -> bytes:
    key = data.strip()
    if not LEAST_CHARACTERS <= len(key) <= _MOST_BYTES:
        raise ConfigError(
            f"{where}: an audit key has {LEAST_CHARACTERS} to {_MOST_BYTES} characters",
            hint="A good one: openssl rand -hex 32",
        )
    return key


def _has_entries(log: Path) -> bool:
    try:
        return bool(numbered(log)) or (log.exists() and log.stat().st_size > 0)
    except OSError as error:
        raise FileError(f"{log}: cannot be read: {error.strerror}") from None
