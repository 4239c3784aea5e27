"""Takes the pictures of the docs: the demo's terminal, the status page, a trace, a dashboard.

``python -m tools.pictures`` runs the demo and a Prometheus for some minutes, so that the charts
are full, and writes docs/pictures/*.png.
"""

import argparse
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from playwright.sync_api import Browser
from rich.console import Console
from rich.terminal_theme import MONOKAI

from tests.support.browser import chromium, tab
from tests.support.demo_prometheus import demo_prometheus
from tests.support.process import scratch, wait_until
from tools.preview import Prometheus, page
from z4j_exporter.demo.live import fitted
from z4j_exporter.demo.overview import Observer
from z4j_exporter.demo.scrape import scrape
from z4j_exporter.demo.traces import Choice

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
#: Seconds in which the demo is well for a while.
_WELL_SECONDS = 180.0
#: Pixels below what is shown.
_MARGIN = 16
#: A page that looks as a terminal does.
_TERMINAL = """<!DOCTYPE html><meta charset=utf-8>
<style>body {{ margin: 16px; background: {background}; color: {foreground} }}
pre {{ font: 14px/1.3 "DejaVu Sans Mono", monospace }}</style>
<section><pre>{code}</pre></section>"""
#: Bytes that a picture in the repository may have.
_MOST_BYTES = 250_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="how long the demo runs before")
    minutes = parser.parse_args(arguments).minutes
    PICTURES.mkdir(exist_ok=True)
    with demo_prometheus() as demo, chromium() as browser:
        url = demo.exporter_url
        terminal = _watched(url, minutes * 60)
        _take(browser, f"file://{terminal}", "demo", width=910, height=1060)
        status = f"{url}/?refresh=off"
        # The demo goes from bad to well and back: the pictures shall be of one moment.
        wait_until(lambda: "All is well" in httpx.get(status).text, _WELL_SECONDS, every=1.0)
        _take(browser, status, "status-light", width=1280, height=1500)
        _take(browser, status, "status-dark", width=1280, height=1500, scheme="dark")
        _take(browser, status, "status-narrow", width=360, height=1500)
        _take(browser, f"{url}/traces/{_richest(url)}", "trace", width=1280, height=1500)
        drawn = scratch("dashboard") / "overview.html"
        overview = json.loads((PICTURES.parents[1] / "dashboards" / "overview.json").read_text())
        drawn.write_text(page(overview, Prometheus(demo.url, minutes, 30, {})))
        _take(browser, f"file://{drawn}", "overview", width=1380, height=1500)
    return 0


def _watched(url: str, seconds: float) -> Path:
    """Watch the demo for so long; return a picture (SVG) of its terminal at the end."""
    console = Console(record=True, width=104, height=44, file=io.StringIO(), force_terminal=True)
    observer, choice = Observer(), Choice(url)
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        overview = observer.observe(scrape(url), now)
        traces = choice.look(now)
        time.sleep(1)
    console.print(fitted(overview, f"Open [bold]{url}/[/bold]", traces, console))
    path = scratch("terminal") / "demo.html"
    path.write_text(console.export_html(theme=MONOKAI, code_format=_TERMINAL, inline_styles=True))
    return path


def _take(
    browser: Browser, url: str, name: str, *, width: int, height: int, scheme: str = "light"
) -> None:
    """Save the upper part of a page, down to the end of the last part that has room."""
    path = PICTURES / f"{name}.png"
    with tab(browser, width=width, height=height, scheme=scheme) as page:
        page.goto(url)
        ends = page.locator("section, body").evaluate_all(
            "all => all.map(each => each.getBoundingClientRect().bottom)"
        )
        cut = max(end for end in ends if end <= height)
        page.screenshot(path=path, clip={"x": 0, "y": 0, "width": width, "height": cut + _MARGIN})
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes, more than {_MOST_BYTES}")


def _richest(url: str) -> str:
    """Return the id of the trace that shows the most: retries and errors, on one screen."""
    traces = httpx.get(f"{url}/traces", params={"limit": 200}).json()["traces"]
    fitting = [trace for trace in traces if trace["spans"] <= 24]
    best = max(fitting, key=lambda trace: (trace["errors"] > 0, trace["spans"]))
    return str(best["trace_id"])


if __name__ == "__main__":
    raise SystemExit(main())
