"""Plays events as if every trace were kept, without making spans."""

from typing import Any

from tests.support.exposed import Exposed, task_event
from z4j_exporter.track.attempts import Attempt
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import TaskTransition, TraceRef


def trace(uuid: str) -> TraceRef:
    """Return the span that a task's exemplars point to."""
    return TraceRef(uuid.encode()[:16].rjust(16, b"\x01"), uuid.encode()[:8].rjust(8, b"\x02"))


class Kept:
    """An observer that keeps every trace."""

    def observe(self, task: Task, attempt: Attempt, step: TaskTransition) -> None:  # noqa: ARG002  # Observer's signature
        step.trace = trace(step.uuid)

    def tick(self, now: float) -> None:
        pass

    def flush(self) -> None:
        pass


def traced(profile: str = "native", **settings: Any) -> Exposed:
    """Return the exporter as Exposed has it, with an observer that keeps every trace."""
    exposed = Exposed(profile, **settings)
    exposed.cluster = Cluster(
        exposed.profile.take, max_tasks=1000, worker_timeout_seconds=60, observer=Kept()
    )
    return exposed


def life(
    uuid: str = "u1", at: float = 0.0, end: str = "succeeded", **fields: Any
) -> list[dict[str, Any]]:
    """Return a task's events: 2 s held by its worker, then 4 s of running."""
    return [
        task_event("sent", at, uuid, queue="q"),
        task_event("received", at + 1, uuid),
        task_event("started", at + 3, uuid),
        task_event(end, at + 7, uuid, **fields),
    ]
