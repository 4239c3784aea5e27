"""Plays events to a tracer without a broker or a clock, and writes its spans as a story to read."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from tests.support.tracking import recorded
from z4j_exporter.config import Settings
from z4j_exporter.events.model import Event
from z4j_exporter.tracing.model import CONSUMER, PRODUCER, Span
from z4j_exporter.tracing.tracer import Tracer, make_tracer
from z4j_exporter.tracing.tree import KIND_NAMES, Row, forest, walk
from z4j_exporter.track.cluster import Cluster, make_cluster
from z4j_exporter.track.transitions import Transition

#: What an event is to the tracker: when it was received (epoch seconds), and itself.
Arrival = tuple[float, Event]

#: As if the recordings had come from here.
SYSTEM, ADDRESS, PORT = "redis", "broker.example", 6379


@dataclass
class Played:
    """What a tracer made of some events."""

    tracer: Tracer
    cluster: Cluster
    #: As they were emitted, batch by batch.
    batches: list[list[Span]] = field(default_factory=list)
    told: list[Transition] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order they were emitted."""
        return [span for batch in self.batches for span in batch]


def play(
    arrivals: Sequence[Arrival],
    *,
    phase: float = 0.0,
    gather: float = 0.0,
    after: float = 4.0,
    **settings: Any,
) -> Played:
    """Apply events as they were received, with a tick each second, then ``after`` more seconds.

    ``phase`` shifts the ticks (seconds); events that come within ``gather`` seconds are applied
    together, when the last of them has come: both differ from one exporter to the next.
    """
    chosen = Settings(**{"otlp_endpoint": "http://collector:4318", **settings})
    batches: list[list[Span]] = []
    told: list[Transition] = []
    tracer = make_tracer(
        chosen, system=SYSTEM, address=ADDRESS, port=PORT, emit=lambda spans: batches.append(spans)
    )
    cluster = make_cluster(chosen, told.append, observer=tracer)
    tracer.attach(cluster.tasks.table.get)
    tick = arrivals[0][0] - 1.0 + phase
    for batch in _gathered(arrivals, gather):
        received = batch[-1][0]
        while tick + 1.0 <= received:
            tick += 1.0
            cluster.tick(tick)
        for _, event in batch:
            cluster.apply(event, received, received)
    for _ in range(int(after)):
        tick += 1.0
        cluster.tick(tick)
    cluster.flush()
    return Played(tracer, cluster, batches, told)


def play_recording(name: str, **options: Any) -> Played:
    """Play a recording, see `play`."""
    return play(recorded(name), **options)


def _gathered(arrivals: Sequence[Arrival], seconds: float) -> Iterable[list[Arrival]]:
    batch: list[Arrival] = []
    for arrival in arrivals:
        if batch and arrival[0] - batch[0][0] > seconds:
            yield batch
            batch = []
        batch.append(arrival)
    if batch:
        yield batch


# -- the story -------------------------------------------------------------------------------

#: Kind of the spans by the first word of their names; told only where it is another.
_USUAL = {"send": "PRODUCER", "process": "CONSUMER", "wait": "INTERNAL", "revoke": "CLIENT"}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


class _Names:
    """What the spans of some events may be called: by their ids, computed here once more."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.first = round(arrivals[0][1].timestamp * 1e6)
        tasks: list[str] = []
        for _, event in arrivals:
            if event.uuid is not None and event.uuid not in tasks:
                tasks.append(event.uuid)
        #: Span id → ``send A/1``.
        self.ids: dict[bytes, str] = {}
        #: Trace id → ``A``.
        self.traces: dict[bytes, str] = {}
        for index, task in enumerate(tasks):
            letter = _LETTERS[index] if len(tasks) <= len(_LETTERS) else f"T{index}"
            self._add(task, letter)

    def _add(self, task: str, letter: str) -> None:
        hashed = blake2b(task.encode(), digest_size=16).digest()
        self.traces[hashed] = f"#{letter}"
        if _UUID.fullmatch(task):
            self.traces[bytes.fromhex(task.replace("-", ""))] = letter
        for retries in range(5):
            for ordinal in range(4):
                name = letter + (f"/{retries}" if retries else "") + (f"+{ordinal}" * bool(ordinal))
                for kind in _USUAL:
                    key = f"{task}|{kind}|{retries}|{ordinal}".encode()
                    self.ids[blake2b(key, digest_size=8).digest()] = f"{kind} {name}"

    def trace(self, trace_id: bytes) -> str:
        return self.traces.get(trace_id, trace_id.hex())

    def span(self, span: Span) -> str:
        """Return ``A/1`` if the id is that of this kind of span, else the id with a ?."""
        verb = span.name.partition(" ")[0]
        kind, _, name = self.ids.get(span.span_id, "").partition(" ")
        return name if kind == verb else f"?{span.span_id.hex()}"

    def since(self, ns: int) -> float:
        return (round(ns / 1000) - self.first) / 1e6


def story(spans: Iterable[Span], arrivals: Sequence[Arrival]) -> str:
    r"""Write spans as indented lines, one a span, in words that the events can be checked with.

    Tasks are letters, in the order in which the events name them. ``A/1`` is the attempt with
    one retry, ``A+1`` the second delivery with the same number of retries: a span gets such a
    name only if its id is what design says, so a wrong id shows as ``?``. Times are seconds since
    the first event, by the senders' clocks. A line is

        [kind of span] [task] [span name's rest] [start(..end)] [service] [state] [error: message]

    under ``trace A`` (the trace id is the UUID of A), ``trace #A`` (hashed) or the id itself.
    ``=link`` stands where the parent is also a link.
    """
    known = _Names(arrivals)
    lines: list[str] = []
    trace = b""
    for row in walk(forest(spans)):
        span = row.node.span
        if row.depth == 0 and span.trace_id != trace:
            trace = span.trace_id
            lines.append(f"trace {known.trace(trace)}")
        lines.append("  " * (row.depth + 1) + _line(row, known))
    return "\n".join(lines)


def _line(row: Row, known: _Names) -> str:
    node, span = row.node, row.node.span
    verb, _, rest = span.name.partition(" ")
    times = [f"{known.since(ns):.6f}" for ns in (span.start_ns, span.end_ns)]
    attributes = dict(span.attributes)
    parts = [verb, known.span(span), rest]
    parts.append(times[0] if span.start_ns == span.end_ns else "..".join(times))
    parts.append(span.source.service)
    if KIND_NAMES[span.kind] != _USUAL.get(verb):
        parts.append(KIND_NAMES[span.kind])
    state = attributes.get("celery.task.state")
    if state is not None:
        parts.append(str(state))
    if span.error or "error.type" in attributes:
        parts.append(f"{'ERROR' if span.error else 'not an error'} {attributes.get('error.type')}")
        parts += [repr(span.status_message)] if span.status_message else []
    for link in span.links:
        parts.append("=link" if link.span_id == span.parent_id else "link elsewhere")
    if node.missing_parent:
        parts.append(f"under {known.ids.get(node.missing_parent, node.missing_parent.hex())}")
    return " ".join(parts)


# -- what must hold of all spans -------------------------------------------------------------


def wrong(spans: Sequence[Span]) -> list[str]:
    """Return what breaks the promises that hold for any spans, in words; nothing is right."""
    found = []
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    if len(by_id) != len(spans):
        found.append("an id was emitted twice")
    for span in spans:
        if span.end_ns < span.start_ns:
            found.append(f"{span.name} ends before it starts")
        if len(span.trace_id) != 16 or not any(span.trace_id):
            found.append(f"{span.name} has no valid trace id")
        if len(span.span_id) != 8 or not any(span.span_id):
            found.append(f"{span.name} has no valid id")
        parent = by_id.get((span.trace_id, span.parent_id))
        if parent is not None and parent.kind == PRODUCER and span.start_ns < parent.start_ns:
            found.append(f"{span.name} starts before {parent.name}")
        sent = parent is not None and parent.kind == PRODUCER
        if span.kind == CONSUMER and sent and not span.links:
            found.append(f"{span.name} is not linked to its send")
    if any(row.node.loop for row in walk(forest(spans))):
        found.append("there is a loop")
    return found
