"""Remembers, for spans, what only the capture hook tells of a message: its group, how it went."""

from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import astuple

from z4j_exporter.events.captured import Captured, Envelope, RunNote
from z4j_exporter.tracing.retried import Retried

#: Messages remembered, unless told otherwise. What is forgotten while a task waits, its worker
#: tells again when it starts.
DEFAULT_MAX_MESSAGES = 50_000
#: Texts kept once for all that have the same: group ids, routing keys.
_MAX_TEXTS = 1_000


class CapturedFacts(Struct, frozen=True, gc=False):
    """What the hook tells of one message; None is not known.

    The body of a chord has its header's group id, and no index.
    """

    group_id: str | None = None
    group_index: int | None = None
    routing_key: str | None = None
    priority: int | None = None


Key = TypeVar("Key")
Value = TypeVar("Value")

#: Returns the facts of a task's message, by uuid, number of retries and task name.
FactsOf = Callable[[str, int, str], CapturedFacts | None]


class HookFacts:
    """Facts by message, bounded; the oldest are forgotten first. Owned by one thread.

    A retry may go another way than the first attempt, and what replaces a task has the same uuid
    and number of retries: so a message is found by all three.
    """

    def __init__(self, max_messages: int = DEFAULT_MAX_MESSAGES) -> None:
        self._max_messages = max_messages
        self._published: dict[tuple[str, int, str], CapturedFacts] = {}
        self._run: dict[tuple[str, int, str], CapturedFacts] = {}
        self._groups: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        #: Which task repeats which; the actions tell it too, of what they send.
        self.retried = Retried()

    def __len__(self) -> int:
        return len(self._published) + len(self._run) + len(self._groups)

    def learn(self, note: Captured) -> None:
        """Take a note. What came first of a message holds."""
        if not isinstance(note, Envelope | RunNote):
            return
        self.retried.learn_note(note)
        facts = CapturedFacts(
            self._shared(note.group_id),
            note.group_index,
            self._shared(note.routing_key),
            note.priority,
        )
        table = self._published if isinstance(note, Envelope) else self._run
        key = (note.uuid, note.retries or 0, note.name or "")
        if facts != _NOTHING:
            _keep(table, key, facts, self._max_messages // 2)

    def learn_group(self, uuid: str, group_id: str) -> None:
        """Take what the result backend tells of a task without the hook."""
        _keep(self._groups, uuid, group_id, self._max_messages // 2)

    def of(self, uuid: str, retries: int, name: str) -> CapturedFacts | None:
        """Return what is known of a message; what its publisher told goes before its worker's."""
        key = (uuid, retries, name)
        published, run = self._published.get(key), self._run.get(key)
        if published is None and run is None:
            group = self._groups.get(uuid)
            return None if group is None else CapturedFacts(group)
        if published is None or run is None:
            return published or run
        told = zip(astuple(published), astuple(run), strict=True)
        return CapturedFacts(*(later if first is None else first for first, later in told))

    def _shared(self, text: str | None) -> str | None:
        if not text:
            return None
        if len(self._texts) >= _MAX_TEXTS:
            self._texts.clear()
        return self._texts.setdefault(text, text)


_NOTHING = CapturedFacts()


def _keep(table: dict[Key, Value], key: Key, value: Value, limit: int) -> None:
    """Add an entry unless there is one, making room: a hundredth at once, see TaskTable."""
    if key in table:
        return
    if len(table) >= limit:
        for old in list(islice(table, max(1, limit // 100))):
            del table[old]
    table[key] = value
