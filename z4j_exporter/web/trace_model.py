"""What the pages of traces ask for, as Protocols: tracing/answers.py answers."""

from collections.abc import Sequence
from typing import Protocol


class Line(Protocol):
    """A trace in a line. Durations are seconds; texts may come from the wire."""

    @property
    def trace_id(self) -> str:
        """Hexadecimal."""

    @property
    def root(self) -> str:
        """Name of its root's span."""

    @property
    def service(self) -> str:
        """Service of its root's span."""

    @property
    def start_unix_nano(self) -> str:
        """Start, nanoseconds since the epoch, in digits."""

    @property
    def duration_seconds(self) -> float:
        """From the first start to the last end."""

    @property
    def spans(self) -> int:
        """How many spans it has by now."""

    @property
    def errors(self) -> int:
        """How many of them are errors."""


class SpanLine(Protocol):
    """A span in its place in the tree."""

    @property
    def depth(self) -> int:
        """Levels above it: 0 for a root."""

    @property
    def span_id(self) -> str:
        """Hexadecimal."""

    @property
    def name(self) -> str:
        """Operation and task: ``process shop.pay``."""

    @property
    def kind(self) -> str:
        """send, process, wait, revoke; or a kind of OpenTelemetry's."""

    @property
    def state(self) -> str:
        """The task's state as Celery calls it; "" for none."""

    @property
    def error(self) -> bool:
        """Whether the span counts as an error."""

    @property
    def service(self) -> str:
        """Which service it was."""

    @property
    def worker(self) -> str:
        """The nodename of who it was."""

    @property
    def queue(self) -> str:
        """The queue; "" where it is not known."""

    @property
    def task_id(self) -> str:
        """The task's id; "" for none."""

    @property
    def offset_seconds(self) -> float:
        """From the trace's start to its own."""

    @property
    def duration_seconds(self) -> float:
        """From its start to its end."""

    @property
    def waited_seconds(self) -> float | None:
        """In the queue, before the attempt began."""

    @property
    def attempt(self) -> int | None:
        """From 1."""

    @property
    def failure(self) -> str:
        """The exception's class, and its message's first line without secrets; "" for none."""

    @property
    def retry_of(self) -> str:
        """The id of the task that this one repeats; "" for none."""

    @property
    def linked(self) -> Sequence[str]:
        """Other traces that it is linked to, hexadecimal."""

    @property
    def oddity(self) -> str:
        """What is odd about its place in the tree; "" for nothing."""


class Story(Protocol):
    """A trace with its spans, in the order of the tree."""

    @property
    def line(self) -> Line:
        """All of it in a line."""

    @property
    def told(self) -> Sequence[SpanLine]:
        """The first spans."""


class Traces(Protocol):
    """The traces that are remembered. Called in a worker thread."""

    def latest(self, count: int) -> bytes:
        """Return the latest traces, a line of facts each, as a JSON object."""

    def lines(self, count: int) -> Sequence[Line]:
        """Return the latest traces, the latest first."""

    def find(self, wanted: str) -> Sequence[str]:
        """Return the ids of the traces that a trace's or a task's id, or its beginning, names."""

    def otlp_json(self, trace_id: str) -> bytes | None:
        """Return a trace as OTLP/JSON, None when it was forgotten meanwhile."""

    def story(self, trace_id: str, most: int) -> Story | None:
        """Return a trace with so many spans at most, None when it was forgotten meanwhile."""
