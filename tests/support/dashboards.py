"""Reads the dashboards' files as Grafana does: panels, queries, variables filled in."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DIRECTORY = Path(__file__).resolve().parents[2] / "dashboards"
FILES = sorted(DIRECTORY.glob("*.json"))


class Target(NamedTuple):
    """One query of one panel."""

    dashboard: str
    panel: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel}: {self.expr}"


def read(path: Path) -> dict[str, Any]:
    """Return a dashboard."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels that show something, those of folded rows too; no rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def targets(dashboard: Mapping[str, Any]) -> Iterator[Target]:
    """Yield the queries of all panels."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield Target(dashboard["uid"], panel["title"], target["expr"])


def query_variables(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the variables whose values Prometheus knows, in their order."""
    return [each for each in dashboard["templating"]["list"] if each["type"] == "query"]


def label_values(variable: Mapping[str, Any]) -> tuple[str, str]:
    """Return (selector, label) of a variable's query."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert found, variable
    return found[1], found[2]


def fill(expr: str, values: Mapping[str, str], *, interval: str, over: str) -> str:
    """Put values in for the variables; ``values`` are regular expressions as Grafana makes them."""
    for name, value in {"__rate_interval": interval, "__range": over, **values}.items():
        expr = re.sub(rf"\$({name}\b|{{{name}}})", lambda _match, v=value: v, expr)
    assert "$" not in expr, expr
    return expr


def escaped(value: str) -> str:
    """Return a label's value as Grafana writes it into a regular expression between quotes."""
    return re.sub(r"[\\^$.*+?()\[\]{}|\"]", lambda found: "\\\\" + found[0], value)
