"""What follows attempts, which go on changing, beside the transitions, which do not: spans."""

from typing import Protocol

from z4j_exporter.events.model import Event
from z4j_exporter.track.attempts import MAX_EXCEPTION, MAX_TRACEBACK, Attempt, Notes
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import TaskTransition


class Observer(Protocol):
    """Sees each transition with its task and attempt, before the sinks do. Owned by the applier.

    What it keeps of them stays true: the tracker writes later events into the same objects.
    """

    def observe(self, task: Task, attempt: Attempt, step: TaskTransition) -> None:
        """See one transition, named by now; may set ``step.trace``."""

    def tick(self, now: float) -> None:
        """Let time pass, on the tracker's clock."""

    def flush(self) -> None:
        """Finish with all that waits: the end."""


def note(attempt: Attempt, event: Event) -> None:
    """Keep what an event tells that only an observer wants."""
    notes = attempt.notes
    if notes is None:
        notes = attempt.notes = Notes()
    if event.type == "task-sent":
        notes.client, notes.client_pid = event.hostname, event.pid
        notes.expires = event.expires
        return
    if event.pid is not None:
        notes.worker_pid = event.pid
    if notes.expires is None and event.expires is not None:
        notes.expires = event.expires
    if event.runtime is not None:
        notes.runtime = event.runtime
    if event.exception is not None and notes.exception is None:
        notes.exception = event.exception[:MAX_EXCEPTION]
        if event.traceback is not None:
            notes.traceback = event.traceback[-MAX_TRACEBACK:]
