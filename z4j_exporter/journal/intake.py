"""Holds the records that wait to be written: bounded in number and bytes, and never blocks."""

import threading
from collections import Counter, deque
from dataclasses import dataclass

#: Bytes of a record's objects beside its contents.
_BYTES_FIXED = 400


@dataclass(frozen=True, slots=True)
class Record:
    """One note of a published message, or (without ``note``) a member that was learned of."""

    #: The publisher's clock, epoch seconds.
    published: float
    hostname: str = ""
    note: bytes = b""
    #: Of a member that the result backend told.
    uuid: str = ""
    group_id: str = ""

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return _BYTES_FIXED + len(self.note) + len(self.uuid) + len(self.group_id)


class Intake:
    """One thread offers, another takes."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self.closed = False
        #: Set by the writer while it cannot write: then this is why records find no room.
        self.trouble = ""
        self.dropped: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def offer(self, record: Record) -> None:
        """Take a record, or count it as dropped."""
        with self._changed:
            if self.closed:
                self.dropped["stopping"] += 1
            elif (
                len(self._records) >= self._max_records
                or self._bytes + record.size_bytes > self._max_bytes
            ):
                self.dropped[self.trouble or "queue_full"] += 1
            else:
                self._records.append(record)
                self._bytes += record.size_bytes
                if len(self._records) == 1:
                    self._changed.notify()

    def take(self, max_records: int, max_bytes: int) -> list[Record]:
        """Return the oldest, at once: no more than that many or so large, but one if there is."""
        taken: list[Record] = []
        size = 0
        with self._changed:
            while self._records and len(taken) < max_records:
                size += self._records[0].size_bytes
                if taken and size > max_bytes:
                    break
                taken.append(self._records.popleft())
                self._bytes -= taken[-1].size_bytes
        return taken

    def drop(self, reason: str, count: int = 1) -> None:
        """Count records that were taken and are lost."""
        with self._changed:
            self.dropped[reason] += count

    def wait(self, timeout_seconds: float) -> None:
        """Wait for a record, or the end, for so long."""
        with self._changed:
            if not self._records and not self.closed:
                self._changed.wait(timeout_seconds)

    def pause(self, seconds: float) -> None:
        """Wait for so long, or for the end; records gather meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed, seconds)

    def close(self) -> None:
        """Take no more, and end every wait."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def dropped_snapshot(self) -> dict[str, int]:
        """Copy the counts."""
        with self._changed:
            return dict(self.dropped)
