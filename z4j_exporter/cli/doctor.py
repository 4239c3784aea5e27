"""The command ``z4j-exporter doctor``: tells why metrics are empty."""

import json
import logging
import sys
from typing import Any

import click
from rich.console import Console

from z4j_exporter import __version__
from z4j_exporter.cli.doctor_table import table
from z4j_exporter.cli.options import SOURCE_FIELDS, settings_from, settings_options
from z4j_exporter.cli.streams import lenient_output, quiet_pipe, wants_colour
from z4j_exporter.doctor.checks import diagnose
from z4j_exporter.doctor.checks_events import LEAST_SECONDS
from z4j_exporter.doctor.gather import DEFAULT_LISTEN_SECONDS, Questions, gather
from z4j_exporter.doctor.model import Report

#: Settings beside those of the connection that change what is found.
_FIELDS = (
    *SOURCE_FIELDS,
    "metrics_profile",
    "task_label_allow",
    "task_label_deny",
    "max_series",
    "queues",
    "queue_allow",
    "queue_deny",
    "queue_poll_timeout",
    "rabbitmq_management_url",
    "rabbitmq_management_ca_file",
    "rabbitmq_management_insecure",
    "inspect_timeout",
)


@click.command()
@click.option(
    "--listen",
    "listen_seconds",
    type=click.FloatRange(min=LEAST_SECONDS, max=86_400),
    default=DEFAULT_LISTEN_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen to events: workers send a heartbeat every 2 s.",
)
@click.option(
    "--ask/--no-ask",
    default=True,
    help="Whether to broadcast questions to the workers (inspect) and ask them for a heartbeat;"
    " nothing else is changed.  [default: ask, unless inspect_interval is 0]",
)
@click.option(
    "--enable-events",
    is_flag=True,
    help="First turn task events on in all workers (a broadcast); a worker's restart undoes it.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
@click.option(
    "--color/--no-color",
    "colour",
    default=None,
    help="Colours always or never.  [default: on a terminal, unless NO_COLOR is set]",
)
@settings_options(_FIELDS)
def doctor(
    *,
    listen_seconds: float,
    ask: bool,
    enable_events: bool,
    form: str,
    colour: bool | None,
    **given: Any,
) -> None:
    """Find out why metrics are empty: look at broker, workers, events, queues and clocks.

    Connects like run, listens for a few seconds, and gives each check a verdict, the evidence
    and what to do. Exit code: 0 when nothing is wrong, 10 with warnings, 11 with problems, 2 to 9
    when it could not even begin.
    """
    if enable_events and not ask:
        raise click.UsageError("--enable-events is a broadcast to the workers: not with --no-ask.")
    settings = settings_from(given).model_copy(update={"recording": None})  # a broker is examined
    ask = ask and settings.inspect_interval > 0
    logging.getLogger("z4j_exporter").addHandler(logging.NullHandler())
    errors = Console(stderr=True)
    questions = Questions(listen_seconds=listen_seconds, ask=ask, enable_events=enable_events)
    if errors.is_terminal:
        with errors.status(f"Listening to the broker for {listen_seconds:g} s …"):
            facts = gather(settings, questions)
    else:
        facts = gather(settings, questions)
    report = Report(
        location=facts.broker.location,
        listened_seconds=facts.listened_seconds,
        findings=diagnose(facts),
    )
    out = lenient_output()
    with quiet_pipe():
        if form == "json":
            out.write(as_json(report))
        else:
            out.write(table(report, colour=wants_colour(colour, out), terminal=out.isatty()))
    sys.exit(report.exit_code)


def as_json(report: Report) -> str:
    """Return a report for programs; one object, keys stay what they are."""
    document = {
        "version": __version__,
        "broker": report.location,
        "listened_seconds": report.listened_seconds,
        "verdict": report.verdict,
        "summary": report.summary,
        "findings": [
            {
                "check": finding.check,
                "title": finding.title,
                "verdict": finding.verdict,
                "evidence": finding.evidence,
                "advice": finding.advice,
            }
            for finding in report.findings
        ],
    }
    return json.dumps(document, indent=2) + "\n"
