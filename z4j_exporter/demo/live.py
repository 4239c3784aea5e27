"""Shows overviews in the terminal: a live view, or a line now and then where there is none."""

import math
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from z4j_exporter.demo.overview import Overview, Queue, Spread, Worker
from z4j_exporter.demo.shift import SHIFT_QUEUE
from z4j_exporter.demo.traces import Trace
from z4j_exporter.demo.trees import panel

#: Seconds between two lines where there is no terminal.
LINE_SECONDS = 5.0

_BARS = "▁▂▃▄▅▆▇█"
#: Columns of the rates' line, and of the longest bar: they fit into a terminal of 80.
_SPARKS, _BAR = 28, 12
_COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "lost": "red",
    "retried": "yellow",
    "rejected": "magenta",
    "revoked": "magenta",
}


class View(Protocol):
    """Something that shows overviews while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, overview: Overview, now_seconds: float, traces: Sequence[Trace] = ()) -> None:
        """Show ``overview``, made at ``now_seconds`` of a monotonic clock, and traces."""


class LiveView:
    """A full-screen view that changes with every overview."""

    def __init__(self, console: Console, heading: str) -> None:
        self._heading = heading
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(
        self,
        overview: Overview,
        now_seconds: float,  # noqa: ARG002 - see View
        traces: Sequence[Trace] = (),
    ) -> None:
        """Draw the view anew."""
        page = fitted(overview, self._heading, traces, self._console)
        self._live.update(page, refresh=True)


class LineView:
    """One line every LINE_SECONDS, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_seconds = -math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(
        self,
        overview: Overview,
        now_seconds: float,
        traces: Sequence[Trace] = (),  # noqa: ARG002 - see View
    ) -> None:
        """Print a line if it is time to."""
        if now_seconds >= self._next_seconds:
            self._next_seconds = now_seconds + LINE_SECONDS
            self._console.print(line(overview), highlight=False, soft_wrap=True)


def line(overview: Overview) -> str:
    """Return ``overview`` in one line."""
    rate = overview.rates[-1] if overview.rates else 0.0
    counts = ", ".join(f"{count:.0f} {event}" for event, count in overview.counts.items() if count)
    running = overview.in_progress["running"]
    up = sum(worker.up for worker in overview.workers)
    return f"{rate:.0f} events/s; tasks: {counts or 'none'}; {running:.0f} running; {up} workers up"


def fitted(
    overview: Overview, heading: str, traces: Sequence[Trace], console: Console
) -> RenderableType:
    """Return ``overview`` as a page, with traces in the lines that the terminal has left."""
    page = render(overview, heading)
    taken = len(console.render_lines(page, pad=False))
    trees = panel(traces, console.width, console.height - taken) if traces else None
    return page if trees is None else render(overview, heading, trees)


def render(overview: Overview, heading: str, trees: RenderableType | None = None) -> RenderableType:
    """Return ``overview`` as a page for the terminal; ``heading`` says what to open."""
    return Group(
        Text.from_markup(heading),
        _side_by_side((3, _throughput(overview)), (2, _in_progress(overview))),
        _side_by_side(
            (6, _spread_table("Slowest tasks", "task", overview.slowest)),
            (7, _queue_table(overview.queues)),
        ),
        _worker_table(overview.workers),
        *([trees] if trees is not None else []),
        Text(f"Ctrl-C ends the demo.{_remark(overview.queues)}", style="dim"),
    )


def _side_by_side(*parts: tuple[int, RenderableType]) -> Table:
    """Return two parts in one row, each with its share of the width."""
    grid = Table.grid(expand=True)
    for ratio, _ in parts:
        grid.add_column(ratio=ratio)
    grid.add_row(*(part for _, part in parts))
    return grid


def _remark(queues: list[Queue]) -> str:
    """Return what to say of a queue that waits: it is meant to."""
    away = any(q.name == SHIFT_QUEUE and q.ready and not q.workers for q in queues)
    return f" The worker of {SHIFT_QUEUE} will be back: it works in shifts." if away else ""


def sparkline(values: Iterable[float]) -> str:
    """Return a line of bars, the highest for the greatest of ``values``."""
    values = list(values)
    top = max(values, default=0.0)
    if top <= 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[round(max(0.0, value) / top * (len(_BARS) - 1))] for value in values)


def duration(seconds: float) -> str:
    """Return a duration for people: ``7 ms``, ``1.25 s``, ``3.0 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min"


def _throughput(overview: Overview) -> Panel:
    rate = overview.rates[-1] if overview.rates else 0.0
    heading = Text(f"{rate:.0f} events/s ", no_wrap=True)
    heading.append(sparkline(overview.rates[-_SPARKS:]), style="cyan")
    counts = Table.grid(padding=(0, 1), expand=True)
    items = [
        Text(f"{event} {count:.0f}", style=_COLOURS.get(event, ""))
        for event, count in overview.counts.items()
    ]
    for start in range(0, len(items), 3):
        counts.add_row(*items[start : start + 3])
    title = f"Events: {overview.events_total:.0f}"
    return Panel(Group(heading, counts), title=title, title_align="left")


def _in_progress(overview: Overview) -> Panel:
    top = max(*overview.in_progress.values(), 1.0)
    body = Table.grid(padding=(0, 2))
    for state, count in overview.in_progress.items():
        bar = "█" * math.ceil(count / top * _BAR)
        body.add_row(state, Text(f"{count:.0f}", justify="right"), Text(bar, style="blue"))
    return Panel(body, title="Tasks in progress", title_align="left")


def _spread_table(title: str, first: str, spreads: list[Spread]) -> Panel:
    table = _table(first, "median", "p95")
    for spread in spreads:
        table.add_row(Text(spread.name), duration(spread.median), duration(spread.p95))
    return Panel(table, title=title, title_align="left")


def _table(first: str, *others: str) -> Table:
    """Return a table of names and numbers, a column between two."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for title in others:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _queue_table(queues: list[Queue]) -> Panel:
    table = _table("queue", "ready", "unacked", "workers", "wait p95")
    for queue in queues:
        table.add_row(
            Text(queue.name),
            *(_count(value) for value in (queue.ready, queue.unacked, queue.workers)),
            duration(queue.wait.p95) if queue.wait else "-",
        )
    return Panel(table, title="Queues", title_align="left")


def _count(value: float | None) -> str:
    """Return a count; a dash for what is not known."""
    return "-" if value is None else f"{value:.0f}"


def _worker_table(workers: list[Worker]) -> Panel:
    table = Table(box=None, expand=True, padding=(0, 1))
    table.add_column("worker", no_wrap=True)
    table.add_column("up")
    table.add_column("active", justify="right")
    table.add_column("pool", justify="right")
    table.add_column("processed", justify="right")
    for worker in workers:
        up = Text("up", style="green") if worker.up else Text("down", style="red")
        numbers = (_count(v) for v in (worker.active, worker.pool_size, worker.processed))
        table.add_row(Text(worker.name), up, *numbers)
    return Panel(table, title="Workers", title_align="left")
