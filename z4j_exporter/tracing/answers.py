"""Answers the pages of recent traces: a list of the latest, and each as OTLP/JSON or told."""

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from z4j_exporter.tracing.encode import otlp_json
from z4j_exporter.tracing.memory import RecentSpans, Summary, summary
from z4j_exporter.tracing.text import clean
from z4j_exporter.tracing.told import ToldSpan, told

_SECOND = 1_000_000_000


class TraceLine(Struct):
    """What /traces tells of one trace."""

    trace_id: str
    #: Name and service of its root, and the id of the task that this speaks of.
    root: str
    service: str
    task_id: str
    #: UTC, ISO 8601, for people; and nanoseconds since the epoch, as text, as OTLP has it.
    start: str
    start_unix_nano: str
    duration_seconds: float
    spans: int
    errors: int


class Latest(Struct):
    """What /traces tells: the traces that changed last, the latest first."""

    traces: list[TraceLine]
    #: Spans that are remembered, and those that were and are no more.
    spans: int
    evicted: int


class Told(Struct):
    """A trace: all of it in a line, and its first spans in the order of the tree."""

    line: TraceLine
    told: list[ToldSpan]


class TraceAnswers:
    """The memory of spans as the pages ask it. Safe for several threads."""

    def __init__(self, recent: RecentSpans) -> None:
        self._recent = recent

    def latest(self, count: int) -> bytes:
        """Return the latest traces as JSON (see Latest)."""
        lines = self.lines(count)
        latest = Latest(lines, spans=len(self._recent), evicted=self._recent.evicted)
        return msgspec.json.encode(latest) + b"\n"

    def lines(self, count: int) -> list[TraceLine]:
        """Return the latest traces, the latest first."""
        return [_line(trace) for trace in self._recent.latest(count)]

    def find(self, wanted: str) -> list[str]:
        """Return the ids of the traces that an id, or the beginning of one, names."""
        return [trace_id.hex() for trace_id in self._recent.find(wanted)]

    def otlp_json(self, trace_id: str) -> bytes | None:
        """Return a trace as OTLP/JSON, None when it is not remembered any more."""
        spans = self._recent.trace(bytes.fromhex(trace_id))
        return otlp_json(spans).encode() if spans else None

    def story(self, trace_id: str, most: int) -> Told | None:
        """Return a trace with so many of its spans, None when it is not remembered any more."""
        spans = self._recent.trace(bytes.fromhex(trace_id))
        return Told(_line(summary(spans)), told(spans, most)) if spans else None


def _line(trace: Summary) -> TraceLine:
    return TraceLine(
        trace_id=trace.trace_id.hex(),
        root=clean(trace.root),
        service=clean(trace.service),
        task_id=clean(trace.task_id),
        start=_iso(trace.start_ns),
        start_unix_nano=str(trace.start_ns),
        duration_seconds=(trace.end_ns - trace.start_ns) / _SECOND,
        spans=trace.spans,
        errors=trace.errors,
    )


def _iso(epoch_ns: int) -> str:
    try:
        at = datetime.fromtimestamp(epoch_ns / _SECOND, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return ""  # a year that datetime does not know
    return f"{at.isoformat('T', 'microseconds')}Z"
