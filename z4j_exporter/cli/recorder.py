"""Writes a recording to a file, plain or compressed with gzip by its name."""

import contextlib
import gzip
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from z4j_exporter.errors import FileError

#: Seconds that a written line may wait before it goes to the disk.
FLUSH_SECONDS = 1.0
#: zlib's level: events compress to a tenth at any, and 6 takes three times as long as 1.
_GZIP_LEVEL = 1


class RecordingFile:
    """A recording that is being written. Only its owner may read it: it holds arguments.

    Raises FileError when the file exists (unless ``force``) or cannot be written.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        #: Lines written so far.
        self.lines = 0
        self._flush_at = 0.0
        create = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        try:
            # Not the usual mode: args, kwargs and results may hold secrets.
            self._raw = os.fdopen(os.open(path, create, 0o600), "wb")
        except FileExistsError:
            raise FileError(
                f"the recording {path} exists already", hint="Use --force to overwrite it."
            ) from None
        except OSError as error:
            raise self._unwritable(error) from None
        self._file: BinaryIO = self._raw
        if path.suffix == ".gz":
            packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, self._raw)
            self._file = cast("BinaryIO", packed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, FileError):
            with contextlib.suppress(FileError):  # the disk is full: that was told already
                self.close()
            return
        self.close()

    def write(self, lines: Iterable[bytes]) -> None:
        """Add lines. Raises FileError."""
        try:
            for line in lines:
                self._file.write(line)
                self.lines += 1
        except OSError as error:
            raise self._unwritable(error) from None

    def flush(self, now: float) -> None:
        """Hand what was written to the system, if FLUSH_SECONDS have passed. Raises FileError."""
        if now < self._flush_at:
            return
        self._flush_at = now + FLUSH_SECONDS
        try:
            self._file.flush()
            self._raw.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def close(self) -> None:
        """Write the rest and close. Raises FileError when the rest cannot be written."""
        try:
            try:
                if self._file is not self._raw:
                    self._file.close()
            finally:
                self._raw.close()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> FileError:
        return FileError(f"the recording {self.path} cannot be written: {error.strerror or error}")
