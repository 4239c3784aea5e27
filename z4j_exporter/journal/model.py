"""What the journal gives to those who ask it, and how it says that it cannot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from z4j_exporter.errors import ExporterError
from z4j_exporter.events.captured import Envelope

#: What can become of a record: written as its task's first, in place of an earlier message of its
#: task, not written because a later one is there; written as a member of a group alone.
RECORD_OUTCOMES = ("stored", "replaced", "outdated", "member")
#: Why a record is not written: no room in the queue, which stands still with most others; too
#: large for the journal; a value that SQLite does not take; the program ended.
DROP_REASONS = (
    "queue_full", "too_large", "unstorable", "stopping",
    "locked", "disk_full", "read_only", "io_error", "damaged", "refused", "error",
)  # fmt: skip


class JournalError(ExporterError):
    """The journal's file cannot be used, or cannot be read now."""

    exit_code = 5


class StoreError(ExporterError):
    """The store of payloads does not answer, or what it holds cannot be read."""

    exit_code = 9


@dataclass(frozen=True)
class Body:
    """A message's body as it was published: these bytes, sent again, are the same message."""

    data: bytes = field(repr=False)
    content_type: str
    content_encoding: str


@dataclass(frozen=True)
class StoredPayload:
    """All that is known of the last message that a task was published with.

    ``envelope`` has the plain fields (name, queue, priority, limits, ``replayable``,
    ``withheld``, ``stored_key``, …); those of it that are JSON stand here, parsed.
    """

    envelope: Envelope = field(repr=False)
    #: The publisher's clock, epoch seconds.
    published_at: float
    #: Who published it.
    hostname: str
    #: None where it was withheld, or is in the store of payloads.
    body: Body | None
    headers: Mapping[str, Any] = field(repr=False)
    stamps: Mapping[str, Any] = field(repr=False)
    #: Signatures. A chain's come last one first, as Celery has them.
    callbacks: list[Any] = field(repr=False)
    errbacks: list[Any] = field(repr=False)
    chain: list[Any] = field(repr=False)
    chord_body: Mapping[str, Any] | None = field(repr=False)
    #: Arguments to show to people, where the payload was redacted.
    redacted_args: Any = field(repr=False)
    redacted_kwargs: Any = field(repr=False)
    #: Names of fields that are not what was published: left out for their size, or redacted.
    incomplete: frozenset[str] = frozenset()

    @property
    def uuid(self) -> str:
        """The task's id."""
        return self.envelope.uuid


@dataclass(frozen=True)
class StoredMember:
    """A member of a group. ``published``: the journal has a payload for it."""

    uuid: str
    index: int | None
    name: str | None
    published: bool


@dataclass(frozen=True)
class StoredGroup:
    """A group, or the header of a chord: members in the order of their indexes.

    An index may come twice: Celery flattens groups inside of groups. ``chord_body`` is the
    body's signature, None for a group, or where it did not come along.
    """

    group_id: str
    is_chord: bool
    members: tuple[StoredMember, ...]
    chord_body: Mapping[str, Any] | None = field(repr=False)
    #: More members than were asked for.
    truncated: bool = False


#: Where a search goes on.
Cursor = tuple[float, int]


@dataclass(frozen=True)
class Found:
    """One task that a search found; ``cursor`` goes on after it."""

    cursor: Cursor
    uuid: str
    name: str
    queue: str
    published_at: float
    group_id: str | None
    replayable: bool
    withheld: str


@dataclass(frozen=True)
class JournalStats:
    """The journal's figures; ``records`` (by outcome), ``dropped`` (by reason) since the start."""

    #: None while the journal cannot be used.
    entries: int | None
    #: Of all its files.
    size_bytes: int
    records: Mapping[str, int]
    dropped: Mapping[str, int]
    #: Why nothing can be written now; "" while all is well.
    trouble: str
    #: Records that wait to be written.
    waiting: int
