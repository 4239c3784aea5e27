"""The real Chromium, and tabs of it that keep what the console said."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.process import require

#: Chromium refuses its sandbox to root, and looks for updates and more unless told not to.
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: Where screenshots of the tests are saved, if anywhere.
SCREENSHOTS = "Z4J_EXPORTER_TEST_SCREENSHOTS"
_AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium without a window; skip where it is not installed."""
    program = require("chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(
    browser: Browser, *, width: int = 1280, height: int = 900, scheme: str = "light", **more: Any
) -> Iterator[Page]:
    """Open a tab; fail if a script failed, or the policy or the console had a complaint."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]  # light or dark
        locale="en-GB",
        **more,
    )
    complaints: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda m: complaints.append(m.text) if m.type in _BAD else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    try:
        yield opened
        # What an offline browser says of the network is no complaint about the page.
        left = [each for each in complaints if "net::ERR_INTERNET_DISCONNECTED" not in each]
        assert left == []
    finally:
        context.close()


_BAD = ("error", "warning")


def violations(page: Page) -> list[str]:
    """Return what axe finds against WCAG 2.2 and good practice; the tab must bypass the policy."""
    page.evaluate(_AXE.read_text() + ";0")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}" for each in found]


def overflow(page: Page) -> int:
    """Return how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def save(page: Page, name: str) -> None:
    """Save a picture of the whole page where the environment asks for it."""
    if directory := os.environ.get(SCREENSHOTS):
        page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)
