"""The command ``z4j-exporter demo``: everything to be seen, nothing to be installed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from z4j_exporter.app import Exporter
from z4j_exporter.config import build_settings
from z4j_exporter.demo.run import ONCE_SECONDS, DemoOptions, run_demo
from z4j_exporter.demo.stage import RunningExporter
from z4j_exporter.demo.workers import FEWEST_WORKERS

#: What the names of OpenTelemetry's own variables begin with.
_OTLP_VARIABLES = "OTEL_EXPORTER_OTLP_"


@click.command()
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End after that many seconds instead of running until Ctrl-C.",
)
@click.option(
    "--once",
    is_flag=True,
    help="End with exit code 0 as soon as every transition of a task has shown on /metrics,"
    f" and with another one after {ONCE_SECONDS:g} seconds (or --duration) if one has not.",
)
@click.option(
    "--listen-address",
    default="127.0.0.1:9808",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to serve /metrics. If the port is taken, the demo takes a free one and says so.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.1, max=1000),
    default=15.0,
    show_default=True,
    metavar="TASKS/S",
    help="How many tasks to call a second.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=FEWEST_WORKERS, max=32),
    default=FEWEST_WORKERS,
    show_default=True,
    metavar="N",
    help="How many Celery workers to start.",
)
@click.option(
    "--otlp",
    metavar="URL",
    help="Send the spans to this OTLP endpoint too: http://127.0.0.1:4318.",
)
@click.option(
    "--log-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the logs of the broker, the workers and the exporter in this file.",
)
def demo(
    duration: float | None,
    once: bool,
    listen_address: str,
    rate: float,
    workers: int,
    otlp: str | None,
    log_file: Path | None,
) -> None:
    """Show the exporter at work, with a broker and Celery workers of its own.

    Starts an embedded broker, real worker processes and a sample application whose tasks
    succeed, fail, are retried, rejected, revoked and lost; then the exporter, with journal,
    actions and alerts, and a live view of its metrics and traces. One worker works in shifts, so
    that a queue backs up and drains. Ctrl-C ends all of it. Needs the extra:
    pip install 'z4j-exporter[demo]'
    """
    options = DemoOptions(
        listen_address=listen_address,
        rate=rate,
        workers=workers,
        duration_seconds=duration,
        once=once,
        otlp_endpoint=otlp,
        log_file=log_file,
    )
    if otlp is None:
        _forget_collectors()
    run_demo(options, _build_exporter, Console())


def _build_exporter(settings: Mapping[str, Any]) -> RunningExporter:
    return Exporter(build_settings(settings))


def _forget_collectors() -> None:
    """Leave out of the environment what leads to a collector.

    A real one must not get what the demo pushes unasked, nor the demo's own endpoint what is
    meant for a real one, such as an API key.
    """
    for name in [name for name in os.environ if name.startswith(_OTLP_VARIABLES)]:
        del os.environ[name]
