"""Chooses which of the latest traces the demo shows, and reads them from the exporter's page."""

import http.client

import msgspec

from z4j_exporter.demo.scrape import get
from z4j_exporter.tracing.answers import Latest, TraceLine
from z4j_exporter.tracing.decode import spans_from_json
from z4j_exporter.tracing.model import Span
from z4j_exporter.tracing.story import subject

#: The task whose traces show the most: a chord, a chain and retries (sample_app.py).
SHOWPIECE = "orders.publish"
#: Spans of such a trace when all of it has ended: 9 tasks, one of them with 3 attempts.
SHOWPIECE_SPANS = 22

#: Seconds for which a choice is kept, for it to be read.
_KEEP_SECONDS = 8.0
#: Traces to choose from.
_LOOKED_AT = 100
#: Traces that are chosen: more than fit on most screens.
_CHOSEN = 4

Trace = list[Span]


class Choice:
    """The traces to be shown: of several tasks, the richest first, and others after a while."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._until_seconds = 0.0
        self._shown: list[str] = []
        self._traces: list[Trace] = []

    def look(self, now_seconds: float) -> list[Trace]:
        """Return the traces to show at ``now_seconds`` of a monotonic clock.

        Raises DemoError when the exporter does not answer.
        """
        if now_seconds >= self._until_seconds or not self._traces:
            lines = choose(latest(self._url), self._shown)
            traces = [trace for line in lines if (trace := read(self._url, line.trace_id))]
            if traces:
                self._traces = traces
                self._shown = [line.trace_id for line in lines]
                self._until_seconds = now_seconds + _KEEP_SECONDS
        return self._traces


def choose(lines: list[TraceLine], shown: list[str]) -> list[TraceLine]:
    """Return the richest trace of each task, the richest tasks first; none that was ``shown``.

    Errors and retries make a trace rich as other spans do.
    """
    best: dict[str, TraceLine] = {}
    for line in sorted(lines, key=_richness, reverse=True):
        if line.trace_id not in shown:
            best.setdefault(line.root, line)
    return list(best.values())[:_CHOSEN]


def latest(url: str) -> list[TraceLine]:
    """Return the exporter's latest traces; none if it keeps none. Raises DemoError."""
    status, body = get(url, f"/traces?limit={_LOOKED_AT}", "application/json")
    return msgspec.json.decode(body, type=Latest).traces if status == http.client.OK else []


def read(url: str, trace_id: str) -> Trace:
    """Return the spans of a trace; none if it was forgotten meanwhile. Raises DemoError."""
    status, body = get(url, f"/traces/{trace_id}", "application/json")
    return spans_from_json(body) if status == http.client.OK else []


def showpiece(lines: list[TraceLine]) -> TraceLine | None:
    """Return the trace that shows the most, once all of it is there."""
    whole = [
        line for line in lines if subject(line.root) == SHOWPIECE and line.spans >= SHOWPIECE_SPANS
    ]
    return whole[0] if whole else None


def _richness(line: TraceLine) -> tuple[int, int]:
    return min(line.spans, SHOWPIECE_SPANS) + line.errors, line.spans
