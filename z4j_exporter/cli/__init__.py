"""The command line: one file for each command, errors shown as one sentence and a hint."""

import importlib
import sys

import click

from z4j_exporter import __version__
from z4j_exporter.errors import ExporterError

#: Commands by name, and the module that holds each: imported when it is asked for, since
#: ``--help`` should not wait for Celery to load.
_COMMANDS = {
    "run": "z4j_exporter.cli.run",
    "demo": "z4j_exporter.cli.demo",
    "doctor": "z4j_exporter.cli.doctor",
    "events": "z4j_exporter.cli.events",
    "replay": "z4j_exporter.cli.replay",
    "trace": "z4j_exporter.cli.trace",
    "metrics": "z4j_exporter.cli.metrics",
    "action": "z4j_exporter.cli.action",
    "audit": "z4j_exporter.cli.audit",
    "token": "z4j_exporter.cli.token",
    "rules": "z4j_exporter.cli.rules",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        module = _COMMANDS.get(name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="z4j-exporter")
def commands() -> None:
    """Prometheus and OpenTelemetry exporter for Celery."""


def main() -> None:
    """Run the command line; the process's exit code tells the kind of an error."""
    try:
        commands(prog_name="z4j-exporter")
    except ExporterError as error:
        click.echo(f"z4j-exporter: {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(error.exit_code)
