"""The command ``z4j-exporter trace``: a trace as a tree, from a recording or a running exporter."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click
from click.core import ParameterSource
from rich.console import Console
from rich.text import Text

from z4j_exporter.cli.options import settings_from, settings_options
from z4j_exporter.cli.say import say
from z4j_exporter.cli.streams import lenient_output, quiet_pipe, wants_colour
from z4j_exporter.cli.trace_remote import RemoteTraces, parse_url
from z4j_exporter.cli.trace_source import RecordedTraces, Traces
from z4j_exporter.config import ENVIRONMENT_PREFIX
from z4j_exporter.errors import ConfigError
from z4j_exporter.tracing.encode import otlp_json
from z4j_exporter.tracing.memory import Summary
from z4j_exporter.tracing.model import Span
from z4j_exporter.tracing.story import extent, moment, subject, tell

#: Where an exporter listens by default.
_URL = "http://127.0.0.1:9808"
#: Settings that change what the spans of a recording are.
_SPAN_FIELDS = (
    "trace_service", "trace_wait_spans", "trace_retry_error", "max_tasks", "task_give_up_seconds",
    "worker_timeout", "max_message_bytes",
)  # fmt: skip


@click.command()
@click.argument("wanted", required=False, metavar="[ID]")
@click.option(
    "--recording",
    metavar="FILE",
    help="Make the traces of this recording; - is standard input.",
)
@click.option(
    "--url",
    envvar=f"{ENVIRONMENT_PREFIX}URL",
    help="The running exporter to ask. One that wants a user: put the URL,"
    f" https://USER:PASSWORD@HOST:PORT, into {ENVIRONMENT_PREFIX}URL.  [default: {_URL}]",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CA certificates to trust for --url (PEM).",
)
@click.option(
    "--client-certificate",
    type=click.Path(path_type=Path),
    nargs=2,
    metavar="CERT KEY",
    help="Certificate and key to show to --url (PEM).",
)
@click.option("--all", "every", is_flag=True, help="Print all traces, not a list of them.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Traces to list, or to print with --all: the latest N.  [default: 20; all]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tree", "otlp-json"]),
    default="tree",
    show_default=True,
    help="A tree for people, or OTLP/JSON, which Jaeger's page can load.",
)
@click.option("--short", is_flag=True, help="One line for each attempt, sends left out.")
@click.option("--utc", is_flag=True, help="Show times in UTC instead of local time.")
@click.option(
    "--color/--no-color",
    "colour",
    default=None,
    help="Colours always or never.  [default: on a terminal, unless NO_COLOR is set]",
)
@settings_options(_SPAN_FIELDS)
def trace(
    *,
    wanted: str | None,
    recording: str | None,
    url: str | None,
    ca_file: Path | None,
    client_certificate: tuple[Path, Path] | None,
    every: bool,
    limit: int | None,
    form: str,
    short: bool,
    utc: bool,
    colour: bool | None,
    **given: Any,
) -> None:
    """Print the tree of a trace; without ID, list the latest traces.

    ID is the id of a task or of a trace, or its first 8 characters or more. The traces come from
    --recording, which `events --record` made, or from the memory of a running exporter.
    """
    _check(wanted, every=every, limit=limit, form=form, short=short)
    source = click.get_current_context().get_parameter_source("url")
    from_command_line = source is ParameterSource.COMMANDLINE
    traces: Traces
    if recording is not None:
        if url is not None and from_command_line:
            raise click.UsageError("--recording and --url exclude each other.")
        # All that was recorded is wanted.
        settings = settings_from(given).model_copy(update={"trace_ratio": 1.0})
        traces = RecordedTraces(recording, settings)
    else:
        address = parse_url(url or _URL)
        if address.login and from_command_line:
            raise ConfigError(
                "a password on the command line can be read by everyone on this machine",
                hint=f"Put the URL into the environment variable {ENVIRONMENT_PREFIX}URL instead.",
            )
        traces = RemoteTraces(address, ca_file=ca_file, certificate=client_certificate)
    out = lenient_output()
    screen = _Screen(out, colour=wants_colour(colour, out))
    with quiet_pipe():
        if wanted is None and not every:
            screen.show(_list(traces.latest(limit or 20), utc=utc))
            return
        chosen = [wanted] if wanted is not None else _ids(traces, limit)
        if form == "otlp-json":
            out.write(_json([span for one in chosen for span in traces.spans(one)]))
            return
        for number, one in enumerate(chosen):
            if number:
                screen.show([Text()])
            screen.show(tell(traces.spans(one), screen.width, short=short, utc=utc))


def _check(wanted: str | None, *, every: bool, limit: int | None, form: str, short: bool) -> None:
    if wanted is not None and (every or limit is not None):
        raise click.UsageError("ID names one trace: it goes with neither --all nor --limit.")
    if wanted is None and not every and (form != "tree" or short):
        raise click.UsageError("--format and --short go with ID or --all: a list has one form.")
    if form == "otlp-json" and short:
        raise click.UsageError("--short goes with --format tree.")


def _json(spans: list[Span]) -> str:
    """Return spans as a line of OTLP/JSON in ASCII, with nothing in it that a terminal obeys."""
    return json.dumps(json.loads(otlp_json(spans))).replace("\x7f", "\\u007f") + "\n"


def _ids(traces: Traces, limit: int | None) -> list[str]:
    """Return the ids of all traces, the oldest first."""
    latest = traces.latest(limit if limit is not None else sys.maxsize)
    return [trace.trace_id.hex() for trace in reversed(latest)]


def _list(latest: list[Summary], *, utc: bool) -> Iterator[Text]:
    if not latest:
        say("there are no traces (yet): a trace is there two seconds after its first task ended")
    for each in reversed(latest):  # the latest last: next to the prompt
        line = Text(each.trace_id.hex(), style="", end="")
        line.append(f"  {moment(each.start_ns, utc=utc)}  ", style="dim")
        line.append(subject(each.root), style="bold")
        line.append("  ").append_text(extent(each))
        yield line


class _Screen:
    """Standard output: lines cut to the terminal's width, whole where there is no terminal."""

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        self._console = Console(
            file=out,
            force_terminal=colour,
            color_system="standard" if colour else None,
            highlight=False,
            soft_wrap=True,
        )
        self.width = self._console.width if out.isatty() else None

    def show(self, lines: "Iterator[Text] | list[Text]") -> None:
        for line in lines:
            self._console.print(line)
