"""The command ``z4j-exporter replay``: a recording's metrics, or its events sent once more."""

import math
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from z4j_exporter.cli.options import settings_from, settings_options
from z4j_exporter.cli.rerun import Rerun
from z4j_exporter.cli.resend import Resend
from z4j_exporter.cli.say import BadLines, say
from z4j_exporter.cli.streams import quiet_pipe
from z4j_exporter.config import Settings
from z4j_exporter.events.recording import Recorded
from z4j_exporter.sources.publish import Publisher
from z4j_exporter.sources.recording import BadLine, RecordingReader, not_a_recording

#: Settings that change what the metrics of a recording are.
_METRICS_FIELDS = (
    "task_worker_label", "task_label_allow", "task_label_deny", "worker_label_rewrite",
    "max_series", "buckets", "default_queue_name", "metric_prefix", "static_labels",
    "generic_hostname_task_sent_metric", "generic_hostname_worker_task_metric", "max_tasks",
    "task_give_up_seconds", "worker_timeout", "purge_offline_worker_metrics", "max_message_bytes",
)  # fmt: skip
#: Settings that say how to reach the broker of --to.
_BROKER_FIELDS = ("broker_transport_options", "broker_ssl_options", "event_exchange")
#: Seconds between two updates of the progress bar.
_PROGRESS_SECONDS = 0.1


class _Speed(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """How many times faster than recorded; ``max`` is without any wait."""

    name = "speed"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if value == "max":
            return math.inf
        try:
            speed = float(value)
        except ValueError:
            speed = math.nan
        if not (speed > 0 and math.isfinite(speed)):
            self.fail(f"{value!r} is neither a number above 0 nor max", param, ctx)
        return speed


@click.command()
@click.argument("file")
@click.option(
    "--profile",
    "--metrics-profile",
    "metrics_profile",
    type=click.Choice(["native", "celery-exporter", "flower"]),
    help="Names and labels of the metrics.  [default: native]",
)
@click.option("--openmetrics", is_flag=True, help="Print OpenMetrics instead of Prometheus text.")
@click.option(
    "--to",
    metavar="BROKER_URL",
    help="Publish the events into this broker, instead of printing metrics.",
)
@click.option(
    "--speed",
    type=_Speed(),
    metavar="FACTOR|max",
    help="With --to: how many times faster than it was recorded.  [default: 1]",
)
@click.option(
    "--shift-time",
    is_flag=True,
    help="With --to: move the events' own times, as if they were sent now.",
)
@settings_options((*_METRICS_FIELDS, *_BROKER_FIELDS))
def replay(
    *,
    file: str,
    openmetrics: bool,
    to: str | None,
    speed: float | None,
    shift_time: bool,
    **given: Any,
) -> None:
    """Play a recording: print the metrics it makes, or send its events again.

    FILE is what `events --record` or `events --format jsonl` wrote; - is standard input. Time is
    the recording's, so that two runs print the same bytes.
    """
    if to is None and (speed is not None or shift_time):
        raise click.UsageError("--speed and --shift-time go with --to.")
    if to is not None and openmetrics:
        raise click.UsageError("--openmetrics does not go with --to, which prints no metrics.")
    settings = settings_from(given)
    try:
        if to is None:
            _print_metrics(file, settings, openmetrics=openmetrics)
        else:
            target = settings.model_copy(update={"broker_url": to, "recording": None})
            _publish(file, target, speed or 1.0, shift_time=shift_time)
    except KeyboardInterrupt:
        sys.exit(130)


def _print_metrics(file: str, settings: Settings, *, openmetrics: bool) -> None:
    started = time.monotonic()
    rerun = Rerun(settings)
    with RecordingReader(file) as reader:
        lines = _Lines(reader, "replayed")
        for line in lines:
            rerun.feed(line)
    text = rerun.render(openmetrics=openmetrics)
    with quiet_pipe():
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    seconds = time.monotonic() - started
    say(f"{rerun.events} events, {_refusals(rerun.refused, lines.bad)} in {seconds:.1f} s")


def _publish(file: str, settings: Settings, speed: float, *, shift_time: bool) -> None:
    started = time.monotonic()
    with RecordingReader(file) as reader, Publisher(settings) as publisher:
        resend = Resend(publisher, speed=speed, shift_time=shift_time)
        lines = _Lines(reader, "published")
        try:
            resend.send(lines)
        finally:
            seconds = time.monotonic() - started
            left_out = lines.bad + resend.skipped
            say(
                f"{publisher.published} events published to {publisher.location},"
                f" {left_out} lines left out, in {seconds:.1f} s"
            )


class _Lines:
    """The good lines of a recording, with a progress bar where there is a terminal.

    Raises FileError when there are only others.
    """

    def __init__(self, reader: RecordingReader, verb: str) -> None:
        self._reader = reader
        self._verb = verb
        self._bad = BadLines(reader.location)

    @property
    def bad(self) -> int:
        """Lines that were none of a recording."""
        return self._bad.count

    def __iter__(self) -> Iterator[Recorded]:
        good = 0
        with _Bar(self._reader, self._verb) as bar:
            for line in self._reader:
                if isinstance(line, BadLine):
                    self._bad.tell(line)
                    continue
                good += 1
                bar.show(good)
                yield line
        if self.bad and not good:
            raise not_a_recording(self._reader.location)


class _Bar:
    """How much of the file is done, on standard error if that is a terminal."""

    def __init__(self, reader: RecordingReader, verb: str) -> None:
        self._reader = reader
        self._next_seconds = 0.0
        self._console = Console(stderr=True)
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn(f"{{task.fields[events]:,}} {verb}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("", total=reader.size_bytes, events=0)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def show(self, events: int) -> None:
        """Show that so many events are done."""
        if self._progress.disable:
            return
        now = time.monotonic()
        if now >= self._next_seconds:
            self._next_seconds = now + _PROGRESS_SECONDS
            position = self._reader.position_bytes
            self._progress.update(self._task, completed=position, events=events)


def _refusals(refused: Mapping[str, int], bad_lines: int) -> str:
    counts = {reason: count for reason, count in sorted(refused.items()) if count}
    if bad_lines:
        counts["bad lines"] = bad_lines
    if not counts:
        return "none refused,"
    told = ", ".join(f"{reason} {count}" for reason, count in counts.items())
    return f"{sum(counts.values())} refused ({told}),"
