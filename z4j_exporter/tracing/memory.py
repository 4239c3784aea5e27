"""Remembers the latest spans, whole traces where it can, for whoever asks for one by its id."""

import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from z4j_exporter.tracing.model import Attributes, Span
from z4j_exporter.tracing.tree import forest, walk

#: Bytes that a span may take on average before memory, and not the number, is the bound.
_BYTES_EACH = 4096
#: Bytes that even a memory for few spans may take: their texts may be long.
_BYTES_LEAST = 1024 * 1024
#: Bytes of a span's objects beside its texts: measured with tracemalloc on 20 attributes.
_BYTES_FIXED = 2400
#: Characters of an id's beginning that are enough to ask for it.
MIN_PREFIX = 8
#: The attribute that holds the task's id.
_TASK_ID = "messaging.message.id"


class Summary(NamedTuple):
    """A trace in one line. Times are nanoseconds since the epoch, the senders' clocks."""

    trace_id: bytes
    #: Name and service of its first root.
    root: str
    service: str
    #: Id of the task that the root speaks of; "" if it speaks of none.
    task_id: str
    start_ns: int
    #: Of its last span.
    end_ns: int
    spans: int
    errors: int


class _Trace:
    """The spans of one trace, in the order they came."""

    __slots__ = ("size_bytes", "spans")

    def __init__(self) -> None:
        self.spans: deque[tuple[Span, int]] = deque()
        self.size_bytes = 0


class RecentSpans:
    """The latest spans, bounded in number and bytes (an estimate). Safe for several threads.

    The trace that had no new span for the longest time goes first, and as a whole. Only one that
    fills half of the memory by itself loses its oldest spans: tasks that call themselves again
    and again share one root for ever.
    """

    def __init__(self, max_spans: int, max_bytes: int | None = None) -> None:
        self.max_spans = max_spans
        if max_bytes is None:
            max_bytes = max(_BYTES_LEAST, max_spans * _BYTES_EACH)
        self.max_bytes = max_bytes
        #: Spans forgotten since the start.
        self.evicted = 0
        self.size_bytes = 0
        self._count = 0
        #: By trace id, the one that changed last at the end.
        self._traces: OrderedDict[bytes, _Trace] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def take(self, spans: Iterable[Span]) -> None:
        """Remember spans; the oldest are forgotten for them."""
        sized = [(span, _size_bytes(span)) for span in spans]
        with self._lock:
            for span, size in sized:
                self._add(span, size)

    def trace(self, trace_id: bytes) -> list[Span]:
        """Return the spans of a trace, in the order they came; none if it is not known."""
        with self._lock:
            trace = self._traces.get(trace_id)
            return [span for span, _ in trace.spans] if trace is not None else []

    def has(self, trace_id: bytes) -> bool:
        """Return whether a span of a trace is remembered."""
        with self._lock:
            return trace_id in self._traces

    def find(self, wanted: str) -> list[bytes]:
        """Return the ids of the traces that are asked for, the latest first.

        ``wanted`` is the id of a trace (hexadecimal, hyphens or not) or of a task in it, whole,
        or its beginning of MIN_PREFIX characters or more. A whole id beats a beginning.
        """
        return find(self._snapshot(), wanted)

    def latest(self, count: int) -> list[Summary]:
        """Return the traces that changed last, the latest first."""
        return [summary(spans) for _, spans in self._snapshot(count)]

    def _add(self, span: Span, size: int) -> None:
        trace = self._traces.get(span.trace_id)
        if trace is None:
            trace = self._traces[span.trace_id] = _Trace()
        else:
            self._traces.move_to_end(span.trace_id)
        trace.spans.append((span, size))
        trace.size_bytes += size
        self.size_bytes += size
        self._count += 1
        while (
            2 * len(trace.spans) > self.max_spans + 1 or 2 * trace.size_bytes > self.max_bytes
        ) and trace.spans:
            self._forget_oldest_of(trace)
        while self._count > self.max_spans or self.size_bytes > self.max_bytes:
            self._forget_trace()
        if not trace.spans:
            self._traces.pop(span.trace_id, None)

    def _snapshot(self, count: int | None = None) -> list[tuple[bytes, list[Span]]]:
        """Return so many traces (all) with their spans, the latest first."""
        with self._lock:
            return [
                (trace_id, [span for span, _ in trace.spans])
                for trace_id, trace in islice(reversed(self._traces.items()), count)
            ]

    def _forget_oldest_of(self, trace: _Trace) -> None:
        _, size = trace.spans.popleft()
        trace.size_bytes -= size
        self._forgotten(1, size)

    def _forget_trace(self) -> None:
        _, trace = self._traces.popitem(last=False)
        self._forgotten(len(trace.spans), trace.size_bytes)

    def _forgotten(self, count: int, size_bytes: int) -> None:
        self._count -= count
        self.size_bytes -= size_bytes
        self.evicted += count


def find(traces: Iterable[tuple[bytes, list[Span]]], wanted: str) -> list[bytes]:
    """Return the ids of the traces, of those given, that are asked for; see RecentSpans.find."""
    text = wanted.strip()
    digits = text.replace("-", "").lower()
    whole, begun = [], []
    for trace_id, spans in traces:
        trace = trace_id.hex()
        ids = {task_id(span) for span in spans}
        if digits == trace or text in ids:
            whole.append(trace_id)
        elif len(text) >= MIN_PREFIX and (
            (len(digits) >= MIN_PREFIX and trace.startswith(digits))
            or any(each.startswith(text) for each in ids)
        ):
            begun.append(trace_id)
    return whole or begun


def summary(spans: Iterable[Span]) -> Summary:
    """Return what one line tells of a trace, which has a span at least."""
    roots = forest(spans)
    first = roots[0].span
    every = [node.span for node, _, _ in walk(roots)]
    return Summary(
        trace_id=first.trace_id,
        root=first.name,
        service=first.source.service,
        task_id=task_id(first),
        start_ns=first.start_ns,
        end_ns=max(span.end_ns for span in every),
        spans=len(every),
        errors=sum(span.error for span in every),
    )


def task_id(span: Span) -> str:
    """Return the id of the task that a span speaks of; "" if it speaks of none."""
    return attribute(span, _TASK_ID)


def attribute(span: Span, name: str) -> str:
    """Return an attribute of a span as text; "" if it has none of that name."""
    return next((str(value) for key, value in span.attributes if key == name), "")


def _size_bytes(span: Span) -> int:
    """Return about how much memory a span takes: its texts differ, the rest hardly."""
    size = _BYTES_FIXED + sys.getsizeof(span.status_message) + _texts_bytes(span.attributes)
    for event in span.events:
        size += _texts_bytes(event.attributes)
    return size


def _texts_bytes(attributes: Attributes) -> int:
    return sum(sys.getsizeof(value) for _, value in attributes if isinstance(value, str))
