"""Knows which trace a task's spans belong to: its root's, or the one that the capture hook told."""

from z4j_exporter.tracing.ids import trace_id
from z4j_exporter.track.table import Task
from z4j_exporter.track.trace_roots import TraceOverride, TraceRoots

#: How far the tracer is with an attempt (``Notes.fate``).
OPEN, PENDING, SETTLED, SAMPLED_OUT = range(4)


class Traces:
    """Finds traces. ``roots`` is what the hook's notes told; None where nobody reads them.

    A note travels on another connection than the events of its task, and may come after some of
    them. So the answer may change, until the first spans of the task are made: the others follow
    those, since a task is never in two traces.
    """

    def __init__(self, roots: TraceRoots | None = None) -> None:
        self._roots = roots
        #: Whether what is answered may still change.
        self.may_change = roots is not None

    def of(self, task: Task) -> bytes:
        """Return the id of a task's trace; its root has to be known."""
        if self._roots is not None:
            settled = _settled(task)
            if settled:
                return settled
            override = self._override(task)
            if override is not None:
                parent = override.parent
                return trace_id(override.root) if parent is None else parent.trace_id
        return trace_id(task.root_id or task.uuid)

    def is_told(self, task: Task) -> bool:
        """Return whether the hook told of another trace than the root's."""
        return self._override(task) is not None

    def is_moved(self, task: Task, known: bytes) -> bool:
        """Return whether the hook has told of another trace than the one known so far."""
        return self.is_told(task) and self.of(task) != known

    def is_joined(self, task: Task) -> bool:
        """Return whether the trace is an application's own, which that one keeps."""
        override = self._override(task)
        return (
            override is not None
            and override.parent is not None
            and override.parent.trace_id == self.of(task)
        )

    def span_above(self, task: Task) -> bytes:
        """Return the application's span that a root hangs under; b"" if there is none."""
        override = self._override(task)
        if override is None or override.parent is None or not override.adopt:
            return b""
        # A span of another trace would be no parent.
        return override.parent.span_id if override.parent.trace_id == self.of(task) else b""

    def _override(self, task: Task) -> TraceOverride | None:
        return None if self._roots is None else self._roots.override(task.uuid, task.root_id)


def _settled(task: Task) -> bytes:
    """Return the trace in which a task has spans already; b"" if it has none."""
    for attempt in task.attempts:
        notes = attempt.notes
        if notes is not None and notes.fate == SETTLED and notes.trace is not None:
            return notes.trace.trace_id
    return b""
