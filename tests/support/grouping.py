"""Plays notes of the capture hook and events of tasks to the trackers of tasks and groups."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from tests.support.tracking import T0, Stage
from z4j_exporter.events.captured import Captured
from z4j_exporter.events.model import Event
from z4j_exporter.track.group_model import GroupTransition
from z4j_exporter.track.groups import GroupTracker
from z4j_exporter.track.trace_roots import TraceRoots


def envelope(uuid: str, at: float = 0.0, **fields: Any) -> Event:
    """Make the note of a published message, ``at`` seconds after T0."""
    return _note("z4j-envelope", at, uuid=uuid, **{"name": "add", "root_id": uuid, **fields})


def run(uuid: str, at: float = 0.0, **fields: Any) -> Event:
    """Make the note of an attempt that begins."""
    return _note("z4j-run", at, uuid=uuid, **{"name": "add", "root_id": uuid, **fields})


def end(uuid: str, state: str, at: float = 0.0, **fields: Any) -> Event:
    """Make the note of an attempt that ended."""
    return _note("z4j-end", at, uuid=uuid, state=state, **fields)


def signature(uuid: str, task: str = "add", **options: Any) -> dict[str, Any]:
    """Make a signature as it stands in a message."""
    return {"task": task, "args": [], "options": {"task_id": uuid, **options}}


def task(kind: str, uuid: str, at: float = 0.0, **fields: Any) -> Event:
    """Make one event of a task: ``succeeded``, ``failed``, …"""
    hostname = "gen1@client" if kind == "sent" else "w1@host"
    return Event(type=f"task-{kind}", timestamp=T0 + at, uuid=uuid, hostname=hostname, **fields)


def life(uuid: str, at: float = 0.0, outcome: str = "succeeded", name: str = "add") -> list[Event]:
    """Make the events of a task that is sent at ``at`` and ends 0.5 s later."""
    return [
        task("sent", uuid, at, name=name, queue="q"),
        task("received", uuid, at + 0.1, name=name),
        task("started", uuid, at + 0.2),
        task(outcome, uuid, at + 0.5),
    ]


class Taking:
    """Takes notes, and needs no time."""

    def __init__(self, captured: Callable[[Captured, Event, float], object]) -> None:
        self.captured = captured

    def tick(self, now: float) -> None:
        """Let time pass: nothing waits here."""


class GroupStage(Stage):
    """A cluster with a tracker of groups beside it, and everything that one told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(notes=Taking(self._captured))
        self.groups_told: list[GroupTransition] = []
        self.groups = GroupTracker(self.groups_told.append, self.cluster.task, **options)
        self.roots = TraceRoots()
        self.notes: list[tuple[Captured, Event]] = []
        self._taken = 0

    def _captured(self, note: Captured, event: Event, now: float) -> None:
        self.notes.append((note, event))
        self.groups.captured(note, event, now)
        self.roots.learn(note)

    def play(self, events: Any, *, step: float = 0.0) -> "GroupStage":
        """Apply events, and hand what the cluster tells to the groups as it comes."""
        for each in events:
            super().play([each], step=step)
            self._hand_over()
        return self

    def wait(self, seconds: float, *, connected: bool = True) -> "GroupStage":
        """Let time pass for both."""
        for _ in range(int(seconds)):
            super().wait(1, connected=connected)
            self._hand_over()
            self.groups.tick(self.now)
        return self

    def _hand_over(self) -> None:
        while self._taken < len(self.told):
            self.groups.take(self.told[self._taken])
            self._taken += 1

    @property
    def finished(self) -> list[GroupTransition]:
        """What was told of groups that finished."""
        return [t for t in self.groups_told if t.kind == "finished"]

    def told_of(self, group_id: str) -> list[str]:
        """Return what was told of one group: kinds, with the outcome where there is one."""
        return [t.outcome or t.kind for t in self.groups_told if t.group_id == group_id]

    def group_counts(self) -> Counter[tuple[str, ...]]:
        """How often each (kind, task, kind of group, outcome) was told."""
        return Counter((t.kind, t.task, t.group_kind, t.outcome or "") for t in self.groups_told)


def _note(kind: str, at: float, **contents: Any) -> Event:
    raw = msgspec.Raw(msgspec.json.encode({"v": 1, **contents}))
    return Event(type=kind, timestamp=T0 + at, hostname="gen1@client", pid=7, z4j=raw)
