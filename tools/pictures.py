"""Takes the pictures of the status page and of a trace that the README shows.

``python -m tools.pictures http://127.0.0.1:9808`` writes docs/pictures/*.png; at that address runs
``z4j-exporter demo``, for some minutes already, so that the charts are full.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from tests.support.browser import chromium, tab
from tests.support.process import wait_until

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
#: Seconds in which the demo is well for a while.
_WELL_SECONDS = 180.0
#: Pixels below what is shown.
_MARGIN = 16
#: Bytes that a picture in the repository may have.
_MOST_BYTES = 250_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("url", help="the demo that is running, such as http://127.0.0.1:9808")
    url = parser.parse_args(arguments).url.rstrip("/")
    PICTURES.mkdir(exist_ok=True)
    with chromium() as browser:
        status = f"{url}/?refresh=off"
        # The demo goes from bad to well and back: the pictures shall be of one moment.
        wait_until(lambda: "All is well" in httpx.get(status).text, _WELL_SECONDS, every=1.0)
        _take(browser, status, "status-light", width=1280, height=1500)
        _take(browser, status, "status-dark", width=1280, height=1500, scheme="dark")
        _take(browser, status, "status-narrow", width=360, height=1500)
        _take(browser, f"{url}/traces/{_richest(url)}", "trace", width=1280, height=1500)
    return 0


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
