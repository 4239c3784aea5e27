"""Verifies an audit log: finds the first line that was changed, lost, moved, doubled or cut.

Reads line by line and holds one, so that a log of any size can be verified.
"""

import hmac
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from z4j_exporter.actions.audit_chain import MAX_LINE_BYTES, START, Chain, Head, Sealed
from z4j_exporter.actions.audit_file import numbered
from z4j_exporter.errors import FileError

#: Recovered places that a report names one by one; all are counted.
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """The first line that is not what it should be, and why; line 0 stands for the whole file."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """A place where a crash or a full disk left a torn line, and the entry that tells of it."""

    file: str
    line: int
    seq: int
    bytes: int


@dataclass(slots=True)
class Report:
    """What was found. ``first`` and ``head`` are of the entries that are in order."""

    files: list[str] = field(default_factory=list)
    entries: int = 0
    first: int | None = None
    head: Head = START
    #: How many torn places there are, and the first of them.
    recovered_total: int = 0
    recovered: list[Recovered] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault is None


class _Line(NamedTuple):
    file: str
    number: int
    data: bytes


def verify(path: Path, key: bytes, *, expected: Head | None = None, after: Head = START) -> Report:
    """Verify a log: its numbered files, oldest first, and the one that is written to now.

    ``expected`` is a head that it must have (a part cut off at the end shows against nothing
    else); ``after`` is the last entry of files that were archived elsewhere.

    Raises FileError when a file cannot be read.
    """
    with ExitStack() as stack:
        files = _open(path, stack)
        return verify_files(files, key, expected=expected, after=after)


def verify_files(
    files: list[tuple[str, BinaryIO]],
    key: bytes,
    *,
    expected: Head | None = None,
    after: Head = START,
) -> Report:
    """Verify open files as one log; see ``verify``."""
    walk = _Walk(Chain(key), expected, after)
    walk.report.files = [name for name, _ in files]
    for name, file in files:
        try:
            for line in _lines(name, file):
                walk.take(line)
                if walk.report.fault is not None:
                    return walk.report
        except OSError as error:
            raise FileError(f"{name}: cannot be read: {error.strerror}") from None
        walk.end_of_file()
    walk.end()
    return walk.report


class _Walk:
    """Where a verification is in the chain."""

    def __init__(self, chain: Chain, expected: Head | None, after: Head) -> None:
        self.report = Report(head=after)
        self._chain = chain
        self._expected = expected
        self._after = after
        #: What stands behind the last entry and is none: where it began, and its keyed hash.
        self._left: tuple[_Line, str] | None = None
        self._left_bytes = 0
        self._left_digest: hmac.HMAC | None = None

    def take(self, line: _Line) -> None:
        """Take the next line."""
        sealed = self._chain.open(line.data)
        if sealed is None:
            self._leave(line)
        elif wrong := self._out_of_order(sealed):
            self._fault(
                self._left[0] if self._left else line, self._left[1] if self._left else wrong
            )
        elif self._vouched(sealed, line):
            self._count(sealed, line)

    def end_of_file(self) -> None:
        """Accept no torn line that the same file does not tell of."""
        if self._left is not None and self.report.fault is None:
            self._fault(*self._left)

    def end(self) -> None:
        """Hold the last entry against the one that is expected."""
        expected, head = self._expected, self.report.head
        if self.report.fault is not None or expected is None:
            return
        where = self.report.files[-1] if self.report.files else ""
        if head.seq < expected.seq:
            reason = (
                f"the log ends with entry {head.seq}, {expected.seq} is expected: cut at the end"
            )
            self.report.fault = Fault(where, 0, reason)
        elif expected.seq <= self._after.seq and not expected.is_same(self._after):
            reason = f"entry {expected.seq} is expected, but the log begins behind it"
            self.report.fault = Fault(where, 0, reason)

    def _leave(self, line: _Line) -> None:
        if self._left is None:
            self._left = (line, self._why(line))
            self._left_bytes, self._left_digest = 0, self._chain.torn()
        if self._left_digest is not None:
            self._left_digest.update(line.data)
            self._left_bytes += len(line.data)

    def _why(self, line: _Line) -> str:
        if len(line.data) > MAX_LINE_BYTES:
            return f"the line is longer than any entry ({MAX_LINE_BYTES} bytes)"
        if not line.data.endswith(b"\n"):
            return "the line is cut short: a crash that no start has told of yet, or a changed file"
        if self.report.entries == 0:
            return "the line was changed, or this is not the key that it was made with"
        return "the line was changed, or added without the key"

    def _out_of_order(self, sealed: Sealed) -> str:
        seq, last = sealed.head.seq, self.report.head
        if seq <= last.seq:
            return f"entry {seq} stands behind entry {last.seq}: doubled, or moved"
        if seq > last.seq + 1:
            lost = (
                f"entry {last.seq + 1} is"
                if seq == last.seq + 2
                else (f"entries {last.seq + 1} to {seq - 1} are")
            )
            return f"{lost} missing before entry {seq}"
        # --after may name its entry with the first digits of its MAC.
        if not last.is_same(Head(last.seq, sealed.prev)):
            return f"entry {seq} does not follow the entry {last.seq} that stands before it"
        return ""

    def _vouched(self, sealed: Sealed, line: _Line) -> bool:
        """Whether what stands before an entry, if anything does, is what the entry tells of."""
        members = sealed.members
        told = members.get("stage") == "recovered"
        if self._left is None:
            if told:
                self._fault(line, "what this entry tells of (a torn line) is not there any more")
            return not told
        digest = self._left_digest.hexdigest() if self._left_digest is not None else ""
        if (
            not told
            or members.get("bytes") != self._left_bytes
            or not hmac.compare_digest(str(members.get("digest")), digest)
        ):
            self._fault(*self._left)
            return False
        first, _ = self._left
        if members.get("kind") != "torn":
            self._fault(first, f"not made by the exporter: found at its start at {members['time']}")
            return False
        self._name(first, sealed)
        self._left = None
        return True

    def _name(self, first: _Line, sealed: Sealed) -> None:
        self.report.recovered_total += 1
        if len(self.report.recovered) < _MOST_NAMED:
            self.report.recovered.append(
                Recovered(first.file, first.number, sealed.head.seq, self._left_bytes)
            )

    def _count(self, sealed: Sealed, line: _Line) -> None:
        report = self.report
        report.entries += 1
        report.head = sealed.head
        report.first = report.first or sealed.head.seq
        expected = self._expected
        if expected is None or expected.seq != sealed.head.seq or expected.is_same(sealed.head):
            return
        self._fault(line, f"entry {expected.seq} is not the one that is expected")

    def _fault(self, line: _Line, reason: str) -> None:
        self.report.fault = Fault(line.file, line.number, reason)


def _open(path: Path, stack: ExitStack) -> list[tuple[str, BinaryIO]]:
    """Open all files of a log, oldest first.

    The newest is opened first: when it gets its number meanwhile, it is met twice, not never.
    """
    files: list[tuple[str, BinaryIO]] = []
    try:
        newest = stack.enter_context(path.open("rb")) if path.exists() else None
        for name in numbered(path):
            file = stack.enter_context(name.open("rb"))
            files.append((str(name), file))
            if newest is not None and os.path.sameopenfile(newest.fileno(), file.fileno()):
                newest = None
        if newest is not None:
            files.append((str(path), newest))
    except OSError as error:
        raise FileError(f"{error.filename or path}: cannot be read: {error.strerror}") from None
    if not files:
        raise FileError(
            f"{path}: there is no audit log", hint="Name the file, not the directory that it is in."
        )
    return files


def _lines(name: str, file: BinaryIO) -> Iterator[_Line]:
    """Return the lines of a file; a longer one than any entry comes in pieces."""
    number, at_start = 0, True
    while data := file.readline(MAX_LINE_BYTES + 1):
        number += at_start
        at_start = data.endswith(b"\n")
        yield _Line(name, number, data)


def as_document(report: Report) -> dict[str, Any]:
    """Return a report for programs."""
    fault = report.fault
    return {
        "ok": report.ok,
        "files": report.files,
        "entries": report.entries,
        "first": report.first,
        "head": {"seq": report.head.seq, "mac": report.head.mac},
        "recovered": report.recovered_total,
        "recovered_places": [
            {"file": r.file, "line": r.line, "seq": r.seq, "bytes": r.bytes}
            for r in report.recovered
        ],
        "fault": fault and {"file": fault.file, "line": fault.line, "reason": fault.reason},
    }
