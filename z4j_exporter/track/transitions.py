"""What the tracker says happened: the only thing that metrics and spans learn from it."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

#: Label value for a task whose name never came (the exporter joined late, or events were lost).
UNKNOWN_TASK = "unknown"

#: ``lost`` and ``unseen`` are the tracker's own conclusions: the worker died (or no end came for
#: too long), and the worker says that it runs nothing.
TaskKind = Literal[
    "sent",
    "received",
    "started",
    "succeeded",
    "failed",
    "retried",
    "rejected",
    "revoked",
    "cancelled",
    "lost",
    "unseen",
]


class TraceRef(Struct, frozen=True, gc=False):
    """A span of a trace that is kept: what an exemplar points to. 16 and 8 bytes."""

    trace_id: bytes
    span_id: bytes


class TaskTransition(Struct, gc=False, kw_only=True):
    """One step of one task. Never changed after it was handed out.

    Durations are in seconds and there only when this step completes them: each is told once.
    They are never negative. ``queue`` is "" when nothing told it.
    """

    kind: TaskKind
    uuid: str
    name: str = UNKNOWN_TASK
    queue: str = ""
    #: Full nodename of the sender of the event (a client's, for ``sent``).
    worker: str = ""
    #: Sender's clock, epoch seconds.
    timestamp: float
    #: The same outcome was already told of this attempt: the second failure of a hard time
    #: limit, a revocation reported by another worker.
    repeat: bool = False
    #: This step ended the task.
    final: bool = False
    #: Exception class (failed, retried), why it was revoked or lost, "true"/"false" for a
    #: rejection's requeue; else "".
    detail: str = ""
    #: max(sent, eta) → started.
    queue_wait: float | None = None
    #: max(received, eta) → started.
    prefetch_wait: float | None = None
    #: started → end of the attempt.
    runtime: float | None = None
    #: Outcome that ``runtime`` belongs to.
    runtime_outcome: str = ""
    #: First sent (or its eta) → final end, retries included.
    end_to_end: float | None = None
    #: Attempts used, at the final end.
    attempts: int | None = None
    #: Outcome that ``end_to_end`` and ``attempts`` belong to.
    outcome: str = ""
    #: The span of this attempt, if its trace is kept (set by the observer).
    trace: TraceRef | None = None


class WorkerTransition(Struct, gc=False, kw_only=True):
    """A worker appeared, went down, or is forgotten (its series go)."""

    kind: Literal["up", "down", "forgotten"]
    worker: str


Transition = TaskTransition | WorkerTransition

#: Takes each transition as it happens.
Emit = Callable[[Transition], None]
