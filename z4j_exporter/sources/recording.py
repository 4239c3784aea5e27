"""Reads recordings: files of JSON lines, plain or compressed with gzip.

A line that is damaged is one refusal, told with its number; the lines after it are still read.
"""

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, cast

from z4j_exporter.errors import EndOfStreamError, FileError
from z4j_exporter.events.message import Framed, Message
from z4j_exporter.events.recording import MAX_LINE_BYTES, LineError, Recorded, decode_line
from z4j_exporter.sources.base import Session, Source

#: The path that stands for standard input.
STANDARD_INPUT = "-"
#: Bytes that every gzip file begins with (RFC 1952).
_GZIP_MAGIC = b"\x1f\x8b"
#: Messages that one read of the session returns at the most.
_BATCH = 1000
#: Bad lines a session remembers; the decoder counts them all.
_BAD_LINES_KEPT = 10
_HINT = "Recordings are made with: z4j-exporter events --record FILE"


class BadLine(NamedTuple):
    """A line that is not one of a recording, with the reason in words."""

    number: int
    reason: str


class RecordingReader:
    """The lines of one recording, from first to last. Iterate over it once.

    ``-`` is standard input. gzip is told by the first bytes, whatever the name.
    Raises FileError when the file cannot be opened or read.
    """

    def __init__(self, path: str | Path) -> None:
        self.location = str(path)
        try:
            self._raw = _open(self.location)
            self._lines = _uncompressed(self._raw)
        except OSError as error:
            raise _unreadable(self.location, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Recorded | BadLine]:
        number = 0
        while True:
            number += 1
            try:
                line = self._lines.readline(MAX_LINE_BYTES)
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    self._skip_line()
                    yield BadLine(number, f"it is longer than {MAX_LINE_BYTES} bytes")
                    continue
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                yield BadLine(number, f"the compressed data is damaged or cut off here ({error})")
                return
            except OSError as error:
                raise _unreadable(self.location, error) from None
            if not line:
                return
            if line.isspace():
                continue
            try:
                yield decode_line(line)
            except LineError as error:
                yield BadLine(number, str(error))

    @property
    def size_bytes(self) -> int | None:
        """Bytes of the file as it lies on the disk; None when it is not a file with an end."""
        try:
            if not self._raw.seekable():
                return None
            position = self._raw.tell()
            size = self._raw.seek(0, io.SEEK_END)
            self._raw.seek(position)
        except (OSError, ValueError):
            return None
        return size or None

    @property
    def position_bytes(self) -> int:
        """Bytes read from the disk so far."""
        try:
            return self._raw.tell()
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Close the file; never raises."""
        with contextlib.suppress(OSError):
            self._lines.close()
        with contextlib.suppress(OSError):
            self._raw.close()

    def _skip_line(self) -> None:
        while True:
            part = self._lines.readline(MAX_LINE_BYTES)
            if not part or part.endswith(b"\n"):
                return


class RecordingSession(Session):
    """A recording as a connection that ends with the file.

    A bad line becomes an empty message, which the decoder refuses as malformed: so it is counted
    with all other refusals. The first ones are in ``bad_lines``.
    """

    can_wait = True

    def __init__(self, reader: RecordingReader) -> None:
        self._reader = reader
        self._lines = iter(reader)
        self.bad_lines: list[BadLine] = []

    def read(self, timeout_seconds: float) -> tuple[list[Message], int]:  # noqa: ARG002 - never waits
        """See Session.read; a recording is there at once."""
        messages: list[Message] = []
        size = 0
        for line in self._lines:
            message = self._message(line)
            messages.append(message)
            size += len(message if isinstance(message, bytes) else message.body)
            if len(messages) >= _BATCH:
                break
        if not messages:
            raise EndOfStreamError(f"the recording {self._reader.location} has no more events")
        return messages, size

    def close(self) -> None:
        """See Session.close."""
        self._reader.close()

    def _message(self, line: Recorded | BadLine) -> Message:
        if isinstance(line, Recorded):
            return line.message
        if len(self.bad_lines) < _BAD_LINES_KEPT:
            self.bad_lines.append(line)
        return Framed(b"", "application/json", "utf-8")


class RecordingSource(Source):
    """The events of a recording, read once from its beginning by each connection."""

    system = "recording"

    def __init__(self, path: str | Path) -> None:
        self.location = str(path)

    def connect(self) -> RecordingSession:
        """See Source.connect. Raises FileError when the file cannot be read."""
        return RecordingSession(RecordingReader(self.location))


def not_a_recording(location: str) -> FileError:
    """Return the error for a file without a single good line."""
    return FileError(f"{location} is not a recording: none of its lines is one", hint=_HINT)


def _open(location: str) -> io.BufferedReader:
    if location == STANDARD_INPUT:
        return cast("io.BufferedReader", sys.stdin.buffer)
    return Path(location).open("rb")


def _uncompressed(raw: io.BufferedReader) -> BinaryIO:
    if raw.peek(2)[:2] == _GZIP_MAGIC:
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw, mode="rb"))
    return raw


def _unreadable(location: str, error: OSError) -> FileError:
    return FileError(
        f"the recording {location} cannot be read: {error.strerror or error}",
        hint=_HINT,
    )
