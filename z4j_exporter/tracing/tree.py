"""Arranges spans as trees: each under its parent, in the order of time."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from z4j_exporter.tracing.model import CLIENT, CONSUMER, INTERNAL, PRODUCER, Span

KIND_NAMES = {INTERNAL: "INTERNAL", CLIENT: "CLIENT", PRODUCER: "PRODUCER", CONSUMER: "CONSUMER"}

#: Of two spans that start together: send, wait, revoke, process.
_KIND_RANK = {PRODUCER: 0, INTERNAL: 1, CLIENT: 2, CONSUMER: 3}
#: Levels that are still indented.
_DEEPEST = 40
_MILLISECOND, _SECOND = 1_000_000, 1_000_000_000


class Node(Struct, eq=False):
    """A span and what hangs under it, in the order of time."""

    span: Span
    #: Nanoseconds from the start of its trace's first span.
    offset_ns: int = 0
    children: list["Node"] = []  # msgspec gives each its own
    #: Its parent's id, where that span is not among those given.
    missing_parent: bytes = b""
    #: Its parent is one of its own descendants: it was made a root.
    loop: bool = False


class Row(NamedTuple):
    """A node with its place in the tree."""

    node: Node
    #: Levels above it: 0 for a root.
    depth: int
    #: It is the last of its siblings.
    last: bool


def forest(spans: Iterable[Span]) -> list[Node]:
    """Return the roots, the earliest first. Takes spans of several traces, in any order.

    The same span given twice is there once. Any input ends: loops are opened at their earliest
    span.
    """
    nodes: dict[tuple[bytes, bytes], Node] = {}
    starts: dict[bytes, int] = {}
    for span in sorted(spans, key=_order):
        nodes.setdefault((span.trace_id, span.span_id), Node(span))
        starts.setdefault(span.trace_id, span.start_ns)
    roots = []
    for node in nodes.values():
        span = node.span
        node.offset_ns = span.start_ns - starts[span.trace_id]
        parent = nodes.get((span.trace_id, span.parent_id)) if span.parent_id else None
        if parent is not None:
            parent.children.append(node)
        else:
            node.missing_parent = span.parent_id
            roots.append(node)
    opened = list(_open_loops(nodes, roots))
    return sorted(roots + opened, key=by_time) if opened else roots


def walk(roots: Iterable[Node]) -> Iterator[Row]:
    """Go through the trees from the top down, without recursion: they may be very deep."""
    stack = [Row(node, 0, index == 0) for index, node in enumerate(reversed(list(roots)))]
    while stack:
        row = stack.pop()
        yield row
        stack += (
            Row(child, row.depth + 1, index == 0)
            for index, child in enumerate(reversed(row.node.children))
        )


def render(roots: Iterable[Node]) -> list[str]:
    """Return the trees as lines of plain text, for tests and logs.

    A line has name, kind, offset from the trace's start, duration, the task's state or ERROR,
    service, and what is odd about it; two blanks of indentation for each level.
    """
    lines = []
    for node, depth, _ in walk(roots):
        span = node.span
        parts = [
            span.name,
            KIND_NAMES.get(span.kind, str(span.kind)),
            f"+{human(node.offset_ns)}",
            human(span.end_ns - span.start_ns),
            state(span),
            f"[{span.source.service}]",
        ]
        if node.missing_parent:
            parts.append(f"(missing parent {node.missing_parent.hex()})")
        if node.loop:
            parts.append("(in a loop)")
        lines.append("  " * min(depth, _DEEPEST) + " ".join(part for part in parts if part))
    return lines


def state(span: Span) -> str:
    """Return the task's state as Celery calls it, ERROR for an error without one, else ""."""
    for key, value in span.attributes:
        if key == "celery.task.state":
            return str(value)
    return "ERROR" if span.error else ""


def human(nanoseconds: int) -> str:
    """Return a duration as people say it: ``0.35 ms``, ``12.5 ms``, ``1.25 s``, ``3 min 20 s``."""
    if nanoseconds < 0:
        return f"-{human(-nanoseconds)}"
    if nanoseconds == 0:
        return "0 ms"
    milliseconds = nanoseconds / _MILLISECOND
    if milliseconds < 9.995:
        return f"{milliseconds:.2f} ms"
    if milliseconds < 999.95:
        return f"{milliseconds:.1f} ms"
    seconds = nanoseconds / _SECOND
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02} h"


def by_time(node: Node) -> tuple[int, int, int, str, bytes]:
    """Return what siblings are sorted by."""
    return _order(node.span)


def _order(span: Span) -> tuple[int, int, int, str, bytes]:
    return span.start_ns, _KIND_RANK.get(span.kind, 4), span.end_ns, span.name, span.span_id


def _open_loops(nodes: dict[tuple[bytes, bytes], Node], roots: list[Node]) -> Iterator[Node]:
    """Yield a new root for each loop, cut from its parent: what no root leads to is in a loop."""
    reached = {id(row.node) for row in walk(roots)}
    if len(reached) == len(nodes):
        return
    for node in nodes.values():
        if id(node) in reached:
            continue
        loop = _loop_above(node, nodes)
        root = min(loop, key=by_time)
        _parent(root, nodes).children.remove(root)
        root.loop = True
        reached.update(id(row.node) for row in walk([root]))
        yield root


def _loop_above(node: Node, nodes: dict[tuple[bytes, bytes], Node]) -> list[Node]:
    seen: dict[int, Node] = {}
    while id(node) not in seen:
        seen[id(node)] = node
        node = _parent(node, nodes)
    members = list(seen.values())
    return members[list(seen).index(id(node)) :]


def _parent(node: Node, nodes: dict[tuple[bytes, bytes], Node]) -> Node:
    return nodes[node.span.trace_id, node.span.parent_id]
