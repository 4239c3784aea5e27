"""Plays events to the tracker without a broker or a clock, and collects what it says."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from z4j_exporter.events.decode import event_from_object
from z4j_exporter.events.model import Event
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.transitions import TaskTransition, Transition, WorkerTransition

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
#: A moment to count from, epoch seconds.
T0 = 1_790_000_000.0


def recorded(name: str) -> list[tuple[float, Event]]:
    """Return the (received_at, event) of a recording."""
    lines = (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return [(entry["received_at"], event_from_object(entry["event"])) for entry in entries]


def event(kind: str, at: float = 0.0, uuid: str | None = "u1", **fields: Any) -> Event:
    """Make an event, ``at`` seconds after T0, from worker w1@host unless told otherwise."""
    fields.setdefault("hostname", "gen1@client" if kind == "task-sent" else "w1@host")
    if kind.startswith("worker-"):
        uuid = None
    return Event(type=kind, timestamp=T0 + at, uuid=uuid, **fields)


class Stage:
    """A cluster and everything it told."""

    def __init__(self, **options: Any) -> None:
        self.told: list[Transition] = []
        self.cluster = Cluster(self.told.append, **options)
        self.now = 1000.0

    def play(self, events: Iterable[Event], *, step: float = 0.0) -> "Stage":
        """Apply events, ``step`` seconds of receipt apart."""
        for each in events:
            self.cluster.apply(each, self.now, T0 + self.now - 1000.0)
            self.now += step
        return self

    def wait(self, seconds: float, *, connected: bool = True) -> "Stage":
        """Let time pass, a tick each second."""
        for _ in range(int(seconds)):
            self.now += 1.0
            self.cluster.tick(self.now, connected=connected)
        return self

    @property
    def tasks(self) -> list[TaskTransition]:
        """The transitions of tasks, in order."""
        return [t for t in self.told if isinstance(t, TaskTransition)]

    @property
    def workers(self) -> list[tuple[str, str]]:
        """(kind, worker) of the transitions of workers, in order."""
        return [(t.kind, t.worker) for t in self.told if isinstance(t, WorkerTransition)]

    def counts(self) -> Counter[tuple[str, ...]]:
        """How often each (kind, task, queue, detail) was told, repeats left out."""
        return Counter((t.kind, t.name, t.queue, t.detail) for t in self.tasks if not t.repeat)

    def kinds(self) -> Counter[str]:
        """How often each kind was told, repeats included."""
        return Counter(t.kind for t in self.tasks)


def play_recording(name: str) -> Stage:
    """Play a recording as it was received, then let everything settle."""
    stage = Stage()
    ticked = 0.0
    for received_at, each in recorded(name):
        ticked = ticked or received_at
        while received_at - ticked >= 1.0:
            ticked += 1.0
            stage.cluster.tick(ticked)
        stage.cluster.apply(each, received_at, received_at)
    stage.now = received_at
    return stage.wait(3)


def names(steps: Sequence[TaskTransition]) -> list[str]:
    """Return the kinds of some transitions."""
    return [step.kind for step in steps]
