"""Tells a trace in a terminal: who did what, when, for how long, and what went wrong."""

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec.structs import replace
from rich.cells import cell_len
from rich.text import Text

from z4j_exporter.tracing.memory import Summary, attribute, summary
from z4j_exporter.tracing.model import CONSUMER, PRODUCER, Span
from z4j_exporter.tracing.tree import Node, by_time, forest, human, state, walk

STATE_COLOURS = {
    "SUCCESS": "green",
    "FAILURE": "red",
    "LOST": "red",
    "ERROR": "red",
    "RETRY": "yellow",
    "REVOKED": "magenta",
    "REJECTED": "magenta",
}
#: Columns of an offset and of a duration: ``59 min 59 s``.
_TIME_WIDTH = 11
#: Columns of the picture of when a span was, and of a terminal that has room for it.
_BAR_WIDTH, _BAR_FROM_WIDTH = 20, 110
#: The least columns for the name of a span.
_NAME_LEAST = 16
#: Columns left for what is told beside a span, and of a terminal that has room for it.
_DETAILS_WIDTH, _DETAILS_FROM_WIDTH = 24, 72
#: Services that are named.
_SERVICES_TOLD = 5
#: Columns where the terminal's are not known (a pipe): names are not cut, nothing is.
_ENDLESS = 100_000
#: Levels that are drawn; of those deeper, the lowest are.
_LEVELS_DRAWN = 24
_SECOND = 1_000_000_000


def printable(text: str) -> str:
    """Return the text with all that a terminal might obey or hide as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def tell(
    spans: Iterable[Span], width: int | None = None, *, short: bool = False, utc: bool = False
) -> list[Text]:
    """Return a trace, which has a span at least, as lines of at most ``width`` columns.

    ``short`` puts a send and its process into one line: one for each attempt.
    """
    roots = forest(spans)
    every = [node.span for node, _, _ in walk(roots)]
    trace = summary(every)
    title = Text("trace ", end="").append(trace.trace_id.hex(), style="bold")
    title.append(f" {subject(trace.root)}", style="bold cyan")
    facts = Text(f"{moment(trace.start_ns, utc=utc)}, ", end="").append_text(extent(trace))
    services = sorted({printable(span.source.service) for span in every} - {""})
    if services:
        told = services if len(services) <= _SERVICES_TOLD else [f"{len(services)} services"]
        facts.append(f", {', '.join(told)}")
    for line in (title, facts):
        if width is not None:
            line.truncate(width, overflow="ellipsis")
    return [title, facts, *branches(attempts(roots) if short else roots, width)]


def extent(trace: Summary) -> Text:
    """Return how long a trace took, and how many spans and errors it has."""
    text = Text(f"{human(trace.end_ns - trace.start_ns)}, {trace.spans} span", end="")
    text.append("s" if trace.spans != 1 else "")
    if trace.errors:
        text.append(", ")
        text.append(f"{trace.errors} error{'s' if trace.errors != 1 else ''}", style="red")
    return text


def branches(roots: list[Node], width: int | None = None) -> list[Text]:
    """Return trees as lines: name and state, offset, duration, what is known beside, errors."""
    columns = _ENDLESS if width is None else max(width, _NAME_LEAST + 2 * _TIME_WIDTH)
    rows = [
        (node, *_guides(node, depth, last, open_levels))
        for open_levels in [list[bool]()]
        for node, depth, last in walk(roots)
    ]
    bar_width = _BAR_WIDTH + 1 if width is not None and width >= _BAR_FROM_WIDTH else 0
    names = [_name(node, before) for node, before, _ in rows]
    details_width = _DETAILS_WIDTH if columns >= _DETAILS_FROM_WIDTH else 0
    room = columns - 2 * _TIME_WIDTH - bar_width - details_width
    name_width = min(
        max((cell_len(name.plain) for name in names), default=0), max(room, _NAME_LEAST)
    )
    total = max((node.offset_ns + _took(node.span) for node, _, _ in rows), default=0)
    lines = []
    for name, (node, _, beneath) in zip(names, rows, strict=True):
        line = name
        line.truncate(name_width, overflow="ellipsis", pad=True)
        line.append(f"+{human(node.offset_ns)}".rjust(_TIME_WIDTH), style="dim")
        line.append(human(_took(node.span)).rjust(_TIME_WIDTH))
        if bar_width:
            line.append(" ")
            line.append_text(_bar(node, total))
        if details_width and (details := _details(node.span)):
            line.append(f"  {details}", style="dim")
        lines.append(line)
        lines += [Text(f"{beneath}  {said}", style="red", end="") for said in _odd(node)]
    if width is not None:
        for line in lines:
            line.truncate(width, overflow="ellipsis")
    return lines


def subject(name: str) -> str:
    """Return a span's name without what was done: the task."""
    operation, _, task = name.partition(" ")
    return printable(task if task and operation in ("send", "process") else name)


def attempts(roots: list[Node]) -> list[Node]:
    """Return the trees with each send and its only process made one, named by the task.

    What starts then is the attempt: the send's own time is not told any more.
    """
    made: dict[int, Node] = {}
    kept: list[Node] = []
    parents: dict[int, Node] = {}
    for node, _, _ in walk(roots):
        parents.update((id(child), node) for child in node.children)
        if id(node) in made:
            continue  # the process of a send that stands for both
        consumers = [child for child in node.children if child.span.kind == CONSUMER]
        if node.span.kind == PRODUCER and len(consumers) == 1:
            process = consumers[0]
            new = replace(process, span=_named(process.span), children=[])
            new.missing_parent, new.loop = node.missing_parent, node.loop
            made[id(process)] = new
        else:
            new = replace(node, span=_named(node.span), children=[])
        made[id(node)] = new
        parent = parents.get(id(node))
        (made[id(parent)].children if parent is not None else kept).append(new)
    for new in made.values():
        new.children.sort(key=by_time)
    return kept


def moment(epoch_ns: int, *, utc: bool = False) -> str:
    """Return a moment to the millisecond, in local time or UTC."""
    try:
        at = datetime.fromtimestamp(epoch_ns / _SECOND, UTC)
        if not utc:
            at = at.astimezone()
    except (ValueError, OverflowError, OSError):
        return f"{epoch_ns / _SECOND:.3f}"  # a year that datetime does not know
    text = at.replace(tzinfo=None).isoformat(" ", "milliseconds")
    return f"{text}Z" if utc else text


def _guides(node: Node, depth: int, last: bool, levels: list[bool]) -> tuple[str, str]:
    """Return what stands before a span and before the lines about it, as ``tree`` draws it.

    ``levels`` is kept from row to row: whether each ancestor has siblings to come.
    """
    before = "".join("│ " if more else "  " for more in levels[1:depth][-_LEVELS_DRAWN:])
    del levels[depth:]
    levels.append(not last)
    if depth > _LEVELS_DRAWN:
        before = f"…{before[1:]}"
    beneath = before + ("" if depth == 0 else "  " if last else "│ ")
    beneath += "│ " if node.children else "  "
    return before + ("" if depth == 0 else "└ " if last else "├ "), beneath


def _name(node: Node, before: str) -> Text:
    told = state(node.span)
    text = Text(before, style="dim", end="")
    colour = STATE_COLOURS.get(told, "")
    text.append(printable(node.span.name), style=f"not dim {colour}".rstrip())
    if told:
        text.append(f" {printable(told)}", style=f"not dim bold {colour}")
    return text


def _bar(node: Node, total_ns: int) -> Text:
    """Return a picture of when in the trace the span was."""
    scale = _BAR_WIDTH / total_ns if total_ns > 0 else 0.0
    begin = min(int(node.offset_ns * scale), _BAR_WIDTH - 1)
    length = max(1, min(round(_took(node.span) * scale), _BAR_WIDTH - begin))
    text = Text("·" * begin, style="dim", end="")
    colour = STATE_COLOURS.get(state(node.span), "")
    text.append("━" * length, style=f"not dim {colour}".rstrip())
    text.append("·" * (_BAR_WIDTH - begin - length))
    return text


def _details(span: Span) -> str:
    """Return who it was, where it went, how long it waited, how often it was tried."""
    source = span.source
    parts = []
    if source.nodename.startswith(source.service) or not source.service:
        parts.append(source.nodename)
    else:
        parts.append(f"{source.service} ({source.nodename})" if source.nodename else source.service)
    if span.kind == PRODUCER and (queue := attribute(span, "messaging.destination.name")):
        parts[-1] += f" → {queue}"
    if span.kind == CONSUMER:
        waited = _seconds(attribute(span, "celery.task.queue_wait_seconds"))
        if waited is not None:
            parts.append(f"waited {human(waited)}")
    retries = attribute(span, "celery.task.retries")
    if retries not in ("", "0"):
        parts.append(f"retry {retries}")
    if retry_of := attribute(span, "celery.task.retry_of"):
        # Sent again by an action, as a task of its own.
        parts.append(f"sent again for {retry_of[:8]}")
    return printable(", ".join(part for part in parts if part))


def _odd(node: Node) -> Iterable[str]:
    """Return what else must be said: the error, and a parent that cannot be drawn."""
    if node.missing_parent:
        yield f"its parent, span {node.missing_parent.hex()}, is not among them"
    if node.loop:
        yield "its parents form a loop, opened here"
    if said := _failure(node.span):
        yield said


def _failure(span: Span) -> str:
    """Return the exception's class and the first line of its message; "" when there is none."""
    for event in span.events:
        if event.name == "exception":
            found = {key: str(value) for key, value in event.attributes}
            name, message = found.get("exception.type", ""), found.get("exception.message", "")
            first = message.strip().partition("\n")[0]
            return printable(": ".join(part for part in (name, first) if part))
    if not span.error:
        return ""
    kind, said = attribute(span, "error.type"), span.status_message
    return printable(said if kind in said else f"{kind}: {said}" if said else kind)


def _named(span: Span) -> Span:
    """Return a span of a process under the name of its task alone."""
    return replace(span, name=subject(span.name)) if span.kind == CONSUMER else span


def _took(span: Span) -> int:
    return span.end_ns - span.start_ns


def _seconds(text: str) -> int | None:
    """Return nanoseconds of a text that says seconds; None if it says none."""
    try:
        return int(float(text) * _SECOND)
    except (ValueError, OverflowError):
        return None
