"""The demo from curtain to curtain: start, show, end."""

import contextlib
import logging
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from z4j_exporter.demo.live import LineView, LiveView, View, line
from z4j_exporter.demo.overview import Observer
from z4j_exporter.demo.scrape import Scrape, scrape
from z4j_exporter.demo.stage import BuildExporter, Stage
from z4j_exporter.demo.traces import SHOWPIECE, Choice, latest, read, showpiece
from z4j_exporter.demo.transitions import TRANSITIONS, Transition, missing
from z4j_exporter.demo.trees import block
from z4j_exporter.errors import DemoError, FileError

#: Seconds ``--once`` waits for every transition; they take about ten.
ONCE_SECONDS = 90.0

#: Seconds ``--once`` then waits for all of a trace; one is there already, mostly.
_TRACE_SECONDS = 15.0
#: Columns of that trace where there is no terminal.
_TRACE_WIDTH = 110
#: Seconds between two scrapes.
_SCRAPE_SECONDS = 1.0
#: Signals that end the demo in order; a second one kills what is still there.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoOptions(NamedTuple):
    """How the demo runs."""

    listen_address: str
    #: Tasks called a second.
    rate: float
    workers: int
    #: Seconds until it ends by itself; None: when somebody ends it.
    duration_seconds: float | None = None
    #: End as soon as every transition was seen; fail if one was not.
    once: bool = False
    #: Where the spans are sent to as well; None: nowhere.
    otlp_endpoint: str | None = None
    #: Where all processes log to; None: to a directory that is removed at the end.
    log_file: Path | None = None


def run_demo(options: DemoOptions, build_exporter: BuildExporter, console: Console) -> None:
    """Run the demo until its time is over or a signal comes. For the main thread only.

    Raises DemoError when it cannot run, a process dies, or ``once`` did not see everything;
    ListenError, FileError.
    """
    with (
        _signals_interrupt(),
        _directory() as directory,
        _logging_to(options.log_file or directory / "exporter.log"),
        Stage(build_exporter, directory, log_file=options.log_file) as stage,
    ):
        try:
            _start(stage, options, console)
            if options.once:
                _show_once(stage, options.duration_seconds or ONCE_SECONDS, console)
            else:
                _show_live(stage, options.duration_seconds, console)
        except KeyboardInterrupt:
            if options.once:
                raise DemoError("Interrupted before every transition was seen.") from None
        finally:
            _signals_kill(stage)
            console.print("Stopping the workers and the broker …", style="dim")


def _start(stage: Stage, options: DemoOptions, console: Console) -> None:
    console.print("Starting an embedded broker, the exporter and Celery workers …", style="dim")
    stage.start_broker()
    refusal = stage.start_exporter(options.listen_address, options.otlp_endpoint)
    if refusal is not None:
        message = f"{refusal.message} The demo took a free port instead."
        console.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)
    stage.start_workers(options.workers)
    stage.start_traffic(options.rate)
    stage.start_staff()
    console.print(_invitation(stage), highlight=False, soft_wrap=True)


def _invitation(stage: Stage) -> str:
    """Return what to open, the status page first, and what to try; as markup."""
    # An IPv6 address has brackets, as markup has.
    base = escape(stage.url)
    lines = [f"Open [bold]{base}/[/bold]  and /metrics, /traces"]
    if stage.access is not None:
        lines.append(f"Try  [bold]{escape(stage.access.example)}[/bold]")
    return "\n".join(lines)


def _show_live(stage: Stage, duration_seconds: float | None, console: Console) -> None:
    choice = Choice(stage.url)
    view: View = LiveView(console, _invitation(stage)) if console.is_terminal else LineView(console)
    observer = Observer()
    overview = None
    try:
        with view:
            for now_seconds, seen in _scrapes(stage, duration_seconds):
                stage.turn_shift(now_seconds)
                overview = observer.observe(seen, now_seconds)
                traces = choice.look(now_seconds) if console.is_terminal else []
                view.show(overview, now_seconds, traces)
    finally:
        if overview is not None:
            console.print(f"Seen: {line(overview)}", highlight=False, soft_wrap=True)


def _show_once(stage: Stage, deadline_seconds: float, console: Console) -> None:
    waited_for = list(TRANSITIONS)
    for _, seen in _scrapes(stage, deadline_seconds):
        still_missing = missing(seen, waited_for)
        for transition in waited_for:
            if transition not in still_missing:
                _print_proof(transition, seen, console)
        waited_for = still_missing
        if not waited_for:
            done = f"All {len(TRANSITIONS)} transitions have shown on {stage.url}/metrics."
            console.print(done, markup=False, highlight=False, soft_wrap=True)
            _print_trace(stage, console)
            return
    raise DemoError(
        f"{len(waited_for)} of {len(TRANSITIONS)} transitions have not shown on /metrics"
        f" within {deadline_seconds:g} seconds.",
        hint="Missing:\n"
        + "\n".join(
            f"  {transition.title}: {', '.join(map(str, transition.proof))}"
            for transition in waited_for
        ),
    )


def _print_trace(stage: Stage, console: Console) -> None:
    """Print a trace that has everything in it."""
    for _ in _scrapes(stage, _TRACE_SECONDS):
        if (line := showpiece(latest(stage.url))) is not None:
            break
    else:
        raise DemoError(f"No whole trace of {SHOWPIECE} has shown on {stage.url}/traces.")
    width = console.width if console.is_terminal else _TRACE_WIDTH
    for text in (Text("One of its traces:"), *block(read(stage.url, line.trace_id), width)):
        console.print(text, highlight=False, soft_wrap=True)


def _print_proof(transition: Transition, seen: Scrape, console: Console) -> None:
    proof = ", ".join(f"{series} {series.read(seen):g}" for series in transition.proof)
    console.print(
        f"[green]✓[/green] {transition.title}: [dim]{proof}[/dim]",
        highlight=False,
        soft_wrap=True,
    )


def _scrapes(stage: Stage, duration_seconds: float | None) -> Iterator[tuple[float, Scrape]]:
    """Yield a scrape a second and when it was made, until the time is over.

    Raises DemoError when a process has died.
    """
    begin = time.monotonic()
    while True:
        stage.check()
        now = time.monotonic()
        yield now, scrape(stage.url)
        rest = _SCRAPE_SECONDS
        if duration_seconds is not None:
            rest = min(rest, begin + duration_seconds - time.monotonic())
            if rest <= 0:
                return
        time.sleep(rest)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """Provide a directory of our own (mode 700), removed afterwards."""
    try:
        directory = tempfile.TemporaryDirectory(prefix="z4j-demo-", ignore_cleanup_errors=True)
    except OSError as error:
        raise FileError(
            f"Cannot make a temporary directory: {error.strerror}.",
            hint="The demo needs one to work in. TMPDIR says where.",
        ) from error
    with directory as name:
        yield Path(name)


@contextlib.contextmanager
def _logging_to(log_file: Path) -> Iterator[None]:
    """Keep what the exporter logs out of the terminal."""
    try:
        handler = logging.FileHandler(log_file)
    except OSError as error:
        raise FileError(
            f"Cannot write the log file {log_file}: {error.strerror}.",
            hint="Choose another one with --log-file.",
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    others, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = others
        root.setLevel(level)
        handler.close()


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Turn the signals that end a program into KeyboardInterrupt; restore them afterwards."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signals_kill(stage: Stage) -> None:
    """Have the next signal kill the processes that are being waited for.

    Whoever presses Ctrl-C twice does not want to wait; the ordered stop then has little to do.
    """

    def kill(_number: int, _frame: FrameType | None) -> None:
        stage.kill()

    for number in _SIGNALS:
        signal.signal(number, kill)
