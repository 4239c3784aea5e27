"""Draws traces as trees, as many as fit: the live view's panel, and the one printed at the end."""

from collections.abc import Iterable, Sequence

from rich.panel import Panel
from rich.text import Text

from z4j_exporter.demo.traces import Trace
from z4j_exporter.tracing.memory import summary
from z4j_exporter.tracing.story import attempts, branches, extent, subject
from z4j_exporter.tracing.tree import forest

#: The fewest lines of a trace that are worth a look: its heading and some of its tree.
_FEWEST_LINES = 4
#: Columns and lines of a panel's frame.
_FRAME_COLUMNS, _FRAME_LINES = 4, 2


def panel(traces: Sequence[Trace], width: int, height: int) -> Panel | None:
    """Return a panel with the first of the traces, None when there is no room for one."""
    room = height - _FRAME_LINES
    lines: list[Text] = []
    for trace in traces:
        left = room - len(lines) - (1 if lines else 0)
        if left < _FEWEST_LINES:
            break
        if lines:
            lines.append(Text())
        lines += _cut(block(trace, width - _FRAME_COLUMNS), left)
    if not lines:
        return None
    return Panel(Text("\n").join(lines), title="Traces", title_align="left")


def block(trace: Trace, width: int) -> list[Text]:
    """Return a trace: its task, its extent and its id, and a line for each attempt."""
    told = summary(trace)
    heading = Text(subject(told.root), style="bold cyan", end="")
    heading.append_text(Text("  ", style="not bold").append_text(extent(told)))
    heading.append(f"  {told.trace_id.hex()}", style="not bold dim")
    heading.truncate(width, overflow="ellipsis")
    return [heading, *branches(attempts(forest(trace)), width)]


def _cut(lines: list[Text], room: int) -> Iterable[Text]:
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], Text(f"… {len(lines) - room + 1} more lines", style="dim")]
