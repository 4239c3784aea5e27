"""The command ``z4j-exporter metrics``: the catalogue of families."""

import click

from z4j_exporter.config import Settings
from z4j_exporter.metrics.catalogue import (
    ACTION_FAMILIES,
    BACKEND_FAMILIES,
    CAPTURE_FAMILIES,
    EXPORTER_FAMILIES,
    JOURNAL_FAMILIES,
)
from z4j_exporter.metrics.fleet import make_fleet_metrics
from z4j_exporter.metrics.groups import make_group_metrics
from z4j_exporter.metrics.profiles import make_profile
from z4j_exporter.metrics.queues import make_queue_metrics
from z4j_exporter.metrics.store import Family, Store


@click.command()
@click.option(
    "--metrics-profile",
    "profile",
    type=click.Choice(["native", "celery-exporter", "flower"]),
    default="native",
    show_default=True,
    help="Whose names to list.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown"]),
    default="text",
    show_default=True,
    help="For a terminal, or for a document.",
)
def metrics(profile: str, form: str) -> None:
    """List every metric family: its name, type, labels and meaning."""
    settings = Settings.model_validate({"metrics_profile": profile})
    groups = make_group_metrics(settings, Store())
    families = [
        *make_profile(settings).families(),
        *make_queue_metrics(settings, Store()).families(),
        *make_fleet_metrics(settings, Store()).families(),
        *(groups.families() if groups else ()),
        *EXPORTER_FAMILIES,
        *(CAPTURE_FAMILIES if groups else ()),
        *JOURNAL_FAMILIES,
        *BACKEND_FAMILIES,
        *ACTION_FAMILIES,
    ]
    if form == "markdown":
        click.echo(markdown(families))
        return
    width = max(len(f.name) for f in families)
    for family in families:
        name = click.style(f"{family.name:<{width}}", bold=True)
        labels = f"  {{{', '.join(family.labels)}}}" if family.labels else ""
        click.echo(f"{name}  {family.type}{labels}")
        click.echo(f"    {family.help}")


def markdown(families: list[Family]) -> str:
    """Return the families as a Markdown table."""
    lines = ["| family | type | labels | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{f.name}` | {f.type} | {', '.join(f'`{label}`' for label in f.labels)} | {f.help} |"
        for f in families
    ]
    return "\n".join(lines)
