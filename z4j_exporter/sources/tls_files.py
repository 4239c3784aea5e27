"""Checks that a file which TLS needs can be read, before a connection fails for it."""

from pathlib import Path

from z4j_exporter.errors import FileError


def check_tls_file(name: str, path: Path) -> None:
    """Raise FileError that names the option and the file, if it cannot be read."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise FileError(f"{name} {str(path)!r} cannot be read: {error.strerror}") from None
