"""Which trace a task belongs to, where its root_id alone would not tell.

Celery makes each member of a top-level group its own root, and a chord's body a child of the
member that ended last: without the hook one call falls into as many traces as it has members.
Here the outermost group stands for the root of all of them, and so one trace holds the whole.
An application that is traced itself told its trace in the message: then that one is continued,
if it is sampled.
"""

import re
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from z4j_exporter.events.captured import Captured, Envelope, RunNote
from z4j_exporter.track.group_membership import membership

#: Tasks and groups remembered, unless told otherwise.
DEFAULT_MAX_ROOTS = 100_000
#: Groups in groups that are followed outwards.
_MAX_DEPTH = 32
#: https://www.w3.org/TR/trace-context/: later versions may add fields at the end.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

Value = TypeVar("Value")


class TraceParent(Struct, frozen=True, gc=False):
    """The span of the application that published a task; ids are 16 and 8 bytes."""

    trace_id: bytes
    span_id: bytes
    sampled: bool


class TraceOverride(Struct, frozen=True, gc=False):
    """Where a task's spans belong.

    ``root`` takes the place of its root_id. With ``parent``, which is sampled, the trace is that
    one's instead; it is also the parent of the task's own span, if ``adopt`` says that the task is
    the root.
    """

    root: str
    parent: TraceParent | None = None
    adopt: bool = False


class TraceRoots:
    """Remembers, bounded, what notes of the hook told of roots; the oldest are forgotten first."""

    def __init__(self, max_roots: int = DEFAULT_MAX_ROOTS) -> None:
        self._max_roots = max_roots
        # By uuid of the root: the trace it continues, and the group it is a member of.
        self._parents: dict[str, TraceParent] = {}
        self._groups: dict[str, str] = {}
        # By id of a group: the one that the body of its chord is a member of.
        self._around: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._parents) + len(self._groups) + len(self._around)

    def learn(self, note: Captured) -> None:
        """Take a note. What came first of a task holds."""
        if not isinstance(note, Envelope | RunNote):
            return
        if note.group_id is not None or isinstance(note, Envelope):
            self._learn_groups(note)
        # A retry or a replacement may have been published from another span.
        if (
            note.traceparent is not None
            and note.parent_id is None
            and note.root_id in (None, note.uuid)
            and note.uuid not in self._parents
        ):
            parent = parse_traceparent(note.traceparent)
            # Of a trace that is not sampled no span is kept: ours would hang under nothing.
            if parent is not None and parent.sampled:
                _keep(self._parents, note.uuid, parent, self._max_roots)

    def override(self, uuid: str, root_id: str | None) -> TraceOverride | None:
        """Return where the spans of a task belong; None if that is where its root_id says."""
        root = root_id or uuid
        group = self._groups.get(root)
        parent = self._parents.get(root)
        if group is None:
            return None if parent is None else TraceOverride(root, parent, adopt=root == uuid)
        for _ in range(_MAX_DEPTH):
            outer = self._around.get(group)
            if outer is None:
                break
            group = outer
        return TraceOverride(group, parent, adopt=parent is not None and root == uuid)

    def _learn_groups(self, note: Envelope | RunNote) -> None:
        told = membership(note)
        if told.root_id in (None, note.uuid) and note.uuid not in self._groups:
            group = told.chain_group if told.member is None else told.member.key[0]
            if group is not None:
                _keep(self._groups, note.uuid, group, self._max_roots)
        body, header = told.body_member, note.group_id
        if body is not None and header is not None and header not in self._around:
            outer = body.key[0]
            if outer != header:
                _keep(self._around, header, outer, self._max_roots)


def parse_traceparent(text: str) -> TraceParent | None:
    """Return what a W3C traceparent header says; None when it is not valid."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest):
        return None
    if not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceParent(bytes.fromhex(trace_id), bytes.fromhex(span_id), bool(int(flags, 16) & 1))


def _keep(table: dict[str, Value], key: str, value: Value, limit: int) -> None:
    """Add an entry, making room where there is none; a hundredth at a time (see table.py)."""
    if len(table) >= limit:
        for old in list(islice(table, max(1, limit // 100))):
            del table[old]
    table[key] = value
