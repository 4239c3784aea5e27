"""The frame of every page: head, style, navigation, and the policy under which it is shown."""

import base64
import hashlib
from importlib.resources import files
from typing import NamedTuple

from z4j_exporter.web.markup import NOTHING, Html, clean, element, join, link, raw, text
from z4j_exporter.web.refresh import Refresh

DOCS_URL = "https://github.com/z4j/z4j-exporter/blob/main/docs/README.md"


def _own(name: str) -> Html:
    return raw(files("z4j_exporter.web").joinpath(name).read_text("utf-8"))


_STYLE, _SCRIPT = _own("page.css"), _own("page.js")
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect"
    " width='16' height='16' rx='3' fill='%230f6e6e'/%3E%3Cpath"
    " d='M3 11V9M6.3 11V6M9.7 11V8M13 11V4' stroke='white' stroke-width='2'"
    " stroke-linecap='round'/%3E%3C/svg%3E"
)


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


#: Nothing may load but our own style, script and icon; only the script asks, and only us. No other
#: site may frame a page, and no address of ours goes to one that a link leads to.
HEADERS = [
    (
        b"content-security-policy",
        f"default-src 'none'; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}';"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'".encode(),
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Place(NamedTuple):
    """Where a page is: which link of the navigation is its own, and the way up to ``/``."""

    #: status or traces; "" for another.
    name: str
    #: "" or some ``../``: addresses are relative, since a proxy may stand before us.
    up: str = ""
    version: str = ""
    #: Whether /traces answers.
    traces: bool = True


def document(place: Place, title: str, main: Html, *, refresh: Refresh | None = None) -> bytes:
    """Return a whole page as UTF-8."""
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", text(f"{clean(title, 80)} \u00b7 z4j-exporter")),
        element("link", rel="icon", href=_ICON),
        element("style", _STYLE),
    ]
    seconds = refresh.seconds if refresh is not None else None
    if seconds:
        again = Html(f'<meta http-equiv="refresh" content="{seconds}">')
        head.append(element("noscript", again))
    body = [
        link("#main", text("Skip to the content"), class_="skip"),
        _header(place, refresh),
        element("p", role="status", id="notice"),
        element("main", main, id="main", tabindex="-1", data_refresh=str(seconds or 0)),
        _footer(place),
    ]
    if seconds:
        body.append(element("script", _SCRIPT))
    page = element("html", element("head", *head), element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{page}\n".encode("utf-8", "replace")


def _header(place: Place, refresh: Refresh | None) -> Html:
    pages = [("status", "Status", place.up or "./")]
    if place.traces:
        pages.append(("traces", "Traces", f"{place.up}traces"))
    pages.append(("metrics", "Metrics", f"{place.up}metrics"))
    items = [
        element("li", link(href, text(word), aria_current="page" if name == place.name else None))
        for name, word, href in pages
    ]
    version = element("span", text(clean(place.version, 40)), class_="version")
    return element(
        "header",
        element(
            "p",
            element("span", text("z4j-exporter"), class_="wordmark"),
            version if place.version else NOTHING,
        ),
        element("nav", element("ul", *items), aria_label="Pages", class_="pages"),
        refresh.links if refresh is not None else NOTHING,
    )


def _footer(place: Place) -> Html:
    links = [
        ("metrics", "/metrics"),
        *([("traces", "/traces")] if place.traces else []),
        ("-/healthy", "/-/healthy"),
        ("-/ready", "/-/ready"),
    ]
    items = [element("li", link(place.up + href, text(word))) for href, word in links]
    items.append(element("li", link(DOCS_URL, text("Documentation"))))
    return element("footer", element("nav", element("ul", join(items)), aria_label="More"))
