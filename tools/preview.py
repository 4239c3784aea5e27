"""Draws a dashboard's data without Grafana: its JSON and a Prometheus in, one HTML page out.

    python -m tools.preview dashboards/overview.json http://localhost:9090 --minutes 5 > page.html

For the pictures in the docs, and to see what a change of a dashboard does. It knows what the
dashboards here use (numbers, lines, tables, heatmaps); Grafana draws them better.
"""

import argparse
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from tools.preview_charts import heat, lines, number, table

#: Pixels of a cell of Grafana's grid.
_CELL_WIDTH, _CELL_HEIGHT = 56, 36
#: Points of a line.
_POINTS = 120


class Prometheus:
    """A Prometheus server and a stretch of time."""

    def __init__(
        self, url: str, minutes: float, rate_seconds: int, chosen: Mapping[str, str]
    ) -> None:
        self._url = url.rstrip("/")
        self._end = time.time()
        self._seconds = minutes * 60
        self._rate_seconds = rate_seconds
        self._chosen = chosen

    def ask(self, target: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what a panel's query gives: [{metric, value or values}, …]."""
        expr = self._filled(target["expr"])
        if target.get("instant"):
            path, fields = "query", {"query": expr, "time": self._end}
        else:
            step = self._seconds / _POINTS
            fields = {
                "query": expr,
                "start": self._end - self._seconds,
                "end": self._end,
                "step": step,
            }
            path = "query_range"
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(fields)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the user's own URL
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    @property
    def span(self) -> tuple[float, float]:
        """Begin and end of the time shown, seconds since the epoch."""
        return self._end - self._seconds, self._end

    def _filled(self, expr: str) -> str:
        known = {
            "__rate_interval": f"{self._rate_seconds}s",
            "__interval": f"{self._rate_seconds}s",
            "__range": f"{int(self._seconds)}s",
            **self._chosen,
        }
        return re.sub(
            r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))",
            lambda found: known.get(found[1] or found[2], ".*"),
            expr,
        )


def page(dashboard: dict[str, Any], prometheus: Prometheus) -> str:
    """Return the dashboard as an HTML document of fixed size."""
    panels = [
        part for panel in dashboard["panels"] for part in (panel, *(panel.get("panels") or ()))
    ]
    drawn = [_placed(panel, prometheus) for panel in panels if not _folded(panel, dashboard)]
    height = max(
        (panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]), default=1
    )
    title = escape(dashboard["title"])
    style = Path(__file__).with_suffix(".css").read_text()
    size = f"width:{24 * _CELL_WIDTH}px;height:{height * _CELL_HEIGHT}px"
    return (
        f"<!DOCTYPE html><meta charset=utf-8><title>{title}</title><style>{style}</style>"
        f"<h1>{title}</h1><main style='{size}'>{''.join(drawn)}</main>"
    )


def _folded(panel: dict[str, Any], dashboard: dict[str, Any]) -> bool:
    """Say whether a panel lies in a row that is folded up."""
    rows = [row for row in dashboard["panels"] if row["type"] == "row" and row.get("collapsed")]
    return any(panel in (row.get("panels") or ()) for row in rows)


def _placed(panel: dict[str, Any], prometheus: Prometheus) -> str:
    at = panel["gridPos"]
    left, top = at["x"] * _CELL_WIDTH, at["y"] * _CELL_HEIGHT
    width, height = at["w"] * _CELL_WIDTH - 8, at["h"] * _CELL_HEIGHT - 8
    title = escape(panel.get("title") or "")
    place = f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
    if panel["type"] == "row":
        mark = "▸" if panel.get("collapsed") else "▾"
        return f"<h2 style='{place}'>{mark} {title}</h2>"
    answers = [(target, prometheus.ask(target)) for target in panel.get("targets") or ()]
    draw = {"stat": number, "timeseries": lines, "table": table, "heatmap": heat}.get(panel["type"])
    inside = draw(panel, answers, width, height - 30, prometheus.span) if draw else panel["type"]
    return f"<section style='{place}'><h3>{title}</h3>{inside}</section>"


def main() -> None:
    """Write the page to standard output."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dashboard", type=Path)
    parser.add_argument("prometheus")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--rate-seconds", type=int, default=20, help="$__rate_interval")
    parser.add_argument("--variable", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    chosen = dict(each.split("=", 1) for each in given.variable)
    prometheus = Prometheus(given.prometheus, given.minutes, given.rate_seconds, chosen)
    sys.stdout.write(page(json.loads(given.dashboard.read_text()), prometheus))


if __name__ == "__main__":
    main()
