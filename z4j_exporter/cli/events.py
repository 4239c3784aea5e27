"""The command ``z4j-exporter events``: watch, filter and record the event stream."""

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from z4j_exporter.cli.feed import Feed, LiveFeed, RecordedFeed
from z4j_exporter.cli.options import SOURCE_FIELDS, settings_from, settings_options
from z4j_exporter.cli.recorder import RecordingFile
from z4j_exporter.cli.say import BadLines, say
from z4j_exporter.cli.selection import Selection
from z4j_exporter.cli.show import EventLines, printable
from z4j_exporter.cli.streams import lenient_output, quiet_pipe, wants_colour
from z4j_exporter.cli.watch import Watch, WatchOptions, jsonl, pretty
from z4j_exporter.config import Settings
from z4j_exporter.sources.open import open_source
from z4j_exporter.track.cluster import make_cluster

#: What a shell reports for a program that a signal ended: 128 and its number.
_SIGNAL_EXIT_BASE = 128
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command()
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="GLOB",
    help="Show events of this type only: task-failed, 'worker-*'.  May be given several times.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="GLOB",
    help="Show events of tasks with this name only.  May be given several times.",
)
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="GLOB",
    help="Show events from this nodename only: 'web*@*'.  May be given several times.",
)
@click.option(
    "--uuid",
    "uuids",
    multiple=True,
    metavar="PREFIX",
    help="Show events of tasks whose id begins so.  May be given several times.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["pretty", "jsonl"]),
    default="pretty",
    show_default=True,
    help="Lines for people, or lines that `replay` takes.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Show every field of the event and of its task beneath. This includes args, kwargs and"
    " results, which may hold secrets.",
)
@click.option("--utc", is_flag=True, help="Show times in UTC instead of local time.")
@click.option(
    "--color/--no-color",
    "colour",
    default=None,
    help="Colours always or never.  [default: on a terminal, unless NO_COLOR is set]",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write all events, shown or not, to this file; compressed if it ends in .gz. It holds"
    " args, kwargs and results, which may be secret: only you may read it.",
)
@click.option("--force", is_flag=True, help="Overwrite the file of --record.")
@click.option(
    "--snapshot",
    "snapshot_seconds",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Instead of events, print the state of tasks and workers that often, as a line of JSON.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N lines.")
@click.option(
    "--duration",
    "duration_seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End after that time.",
)
@settings_options((*SOURCE_FIELDS, "recording"))
def events(
    *,
    types: tuple[str, ...],
    tasks: tuple[str, ...],
    workers: tuple[str, ...],
    uuids: tuple[str, ...],
    form: str,
    verbose: bool,
    utc: bool,
    colour: bool | None,
    record: Path | None,
    force: bool,
    snapshot_seconds: float | None,
    limit: int | None,
    duration_seconds: float | None,
    **given: Any,
) -> None:
    """Watch the events of workers and clients, one line each.

    Each line has the sender's time, the type, the task, its state after the event, its id and
    the sender. With --recording, the events come from a file instead of a broker.
    """
    selection = Selection([kind.lower() for kind in types], tasks, workers, uuids)
    _check(selection, form, verbose=verbose, snapshot=snapshot_seconds is not None)
    settings = settings_from(given)
    out = lenient_output()
    lines = EventLines(utc=utc, colour=wants_colour(colour, out), verbose=verbose)
    _log_to_stderr()
    with contextlib.ExitStack() as stack:
        feed = stack.enter_context(_feed(settings))
        options = WatchOptions(
            selection=selection,
            write=None if snapshot_seconds else jsonl if form == "jsonl" else pretty(lines),
            recording=stack.enter_context(RecordingFile(record, force=force)) if record else None,
            snapshot_seconds=snapshot_seconds,
            limit=limit,
            duration_seconds=duration_seconds,
            max_message_bytes=settings.max_message_bytes,
        )
        watch = Watch(feed, make_cluster(settings, lambda _transition: None), out, options)
        with _signals_stop(watch) as caught, quiet_pipe():
            watch.run(time.monotonic)
    _tell_losses(watch, feed)
    if options.recording is not None:
        say(f"recorded {options.recording.lines} lines in {options.recording.path}")
    if caught:
        sys.exit(_SIGNAL_EXIT_BASE + caught[0])


def _check(selection: Selection, form: str, *, verbose: bool, snapshot: bool) -> None:
    if verbose and form == "jsonl":
        raise click.UsageError("--verbose adds nothing to --format jsonl, which has every field.")
    if snapshot and (verbose or form == "jsonl" or selection != Selection([], (), (), ())):
        raise click.UsageError(
            "--snapshot prints the state of all tasks and workers instead of events: it goes with"
            " neither --type, --task, --worker, --uuid nor --verbose, --format."
        )


def _feed(settings: Settings) -> Feed:
    if settings.recording is not None:
        return RecordedFeed(settings.recording, BadLines(str(settings.recording)).tell)
    return LiveFeed(open_source(settings), settings.buffer_bytes)


def _tell_losses(watch: Watch, feed: Feed) -> None:
    if watch.refused:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(watch.refused.items()))
        say(f"refused {watch.refused.total()} messages or events: {reasons}")
    if feed.dropped:
        say(f"dropped {feed.dropped} messages: they came faster than they could be shown")
    if watch.unrecorded:
        say(f"did not record {watch.unrecorded} messages: they are too large")


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += f" {record.exc_info[0].__name__}"  # no traceback among the events
        return printable(f"z4j-exporter: {text}")


def _log_to_stderr() -> None:
    """Tell of connections made and lost, one line each, apart from the events."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain())
    logger = logging.getLogger("z4j_exporter")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)


@contextlib.contextmanager
def _signals_stop(watch: Watch) -> Iterator[list[int]]:
    """End the watch in order at the first signal, whose number is noted; a second one kills."""
    caught: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        watch.stop()

    before = {each: signal.signal(each, on_signal) for each in _SIGNALS}
    try:
        yield caught
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
