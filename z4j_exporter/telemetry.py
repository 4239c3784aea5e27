"""What goes out by OTLP: builds the makers and senders of spans and of pushed metrics."""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from z4j_exporter.capturing import Capturing
from z4j_exporter.config import Settings
from z4j_exporter.metrics.export_durations import ExportDurations
from z4j_exporter.metrics.exporter import SpanReadings
from z4j_exporter.metrics.push import Take, make_push
from z4j_exporter.otlp.outcome import Outcome
from z4j_exporter.tracing.answers import TraceAnswers
from z4j_exporter.tracing.export_open import open_span_exporter
from z4j_exporter.tracing.memory import RecentSpans
from z4j_exporter.tracing.model import Span
from z4j_exporter.tracing.tracer import Tracer, make_tracer
from z4j_exporter.track.table import Task

#: Spans remembered where there is an endpoint and nothing is said of it.
_MEMORY_SPANS = 5_000


class Sending(NamedTuple):
    """Something that is sent by OTLP, and how that went last."""

    #: traces or metrics.
    signal: str
    #: The endpoint, without secrets.
    where: str
    #: None before the first request has ended.
    last: Outcome | None


class Telemetry:
    """Spans and pushed metrics, as far as the settings ask for them; each part may be absent.

    ``location`` and ``system`` are the source's. ``take`` copies all metrics, in the calling
    thread; ``capturing`` knows what capture hooks told. Raises ConfigError and FileError that name
    the option or variable.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        system: str,
        location: str,
        take: Take,
        capturing: Capturing | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        durations = ExportDurations(("traces", "metrics"))
        self._sender = open_span_exporter(
            settings, environment, observed=partial(durations.observe, "traces")
        )
        self._push = make_push(settings, take, durations, environment, start_ns=time.time_ns())
        #: How long requests took; None where nothing is sent.
        self.durations = durations if self._sender or self._push else None
        self._recent = _memory(settings, sending=self._sender is not None)
        self.tracer: Tracer | None = None
        if self._sender is not None or self._recent is not None:
            address, port = server(location)
            self.tracer = make_tracer(
                settings,
                system=system,
                address=address,
                port=port,
                emit=self._emit(),
                roots=capturing.roots if capturing else None,
                captured=capturing.facts.of if capturing else None,
                retry_of=capturing.facts.retried.of if capturing else None,
            )

    @property
    def traces(self) -> TraceAnswers | None:
        """What the pages show of the latest traces."""
        return TraceAnswers(self._recent) if self._recent is not None else None

    def start(self) -> None:
        """Start the threads that send."""
        if self._sender is not None:
            self._sender.start()
        if self._push is not None:
            self._push.start()

    def stop(self, seconds: float) -> None:
        """Send what is there, within so many seconds; the applier has ended by now."""
        deadline = time.monotonic() + seconds
        if self._push is not None:
            self._push.stop(seconds / 2)
        if self._sender is not None:
            self._sender.stop(max(0.1, deadline - time.monotonic()))

    def readings(self) -> SpanReadings | None:
        """Return what spans came to; None where none are made."""
        tracer, sender = self.tracer, self._sender
        if tracer is None:
            return None
        return SpanReadings(
            exported=sender.exported if sender else 0,
            dropped={**tracer.dropped, **(sender.dropped if sender else {})},
            sampled_out=tracer.sampled_out,
            clamped=tracer.clamped,
            queued=sender.queued if sender else 0,
        )

    def sending(self) -> list[Sending]:
        """Return what is sent, and how that goes."""
        found = []
        if self._sender is not None:
            found.append(Sending("traces", self._sender.location, self._sender.last))
        if self._push is not None:
            found.append(Sending("metrics", self._push.location, self._push.last))
        return found

    def remembers(self, trace_id: bytes) -> bool:
        """Return whether ``traces`` has a trace."""
        return self._recent is not None and self._recent.has(trace_id)

    def trace_of(self, task: Task) -> bytes | None:
        """Return the id of the trace that a task is in, as far as it is known."""
        return self.tracer.trace_of(task) if self.tracer is not None else None

    def _emit(self) -> Callable[[list[Span]], None]:
        sender, recent = self._sender, self._recent
        if sender is None and recent is not None:
            return recent.take
        if sender is not None and recent is None:
            return sender.offer

        def emit(spans: list[Span]) -> None:
            if sender is not None and recent is not None:
                sender.offer(spans)
                recent.take(spans)

        return emit


def _memory(settings: Settings, *, sending: bool) -> RecentSpans | None:
    spans = settings.trace_memory_spans
    if spans is None:
        spans = _MEMORY_SPANS if sending else 0
    return RecentSpans(spans) if spans else None


def server(location: str) -> tuple[str, int | None]:
    """Return host and port of the (first) broker that a source's location names.

    A unix socket is its path; "" where the location names no server.
    """
    first = location.replace(";", ",").partition(",")[0].strip()
    try:
        parts = urlsplit(first)
        if parts.hostname:
            return parts.hostname, parts.port
    except ValueError:
        return "", None
    return (parts.path, None) if parts.scheme.endswith("socket") else ("", None)
