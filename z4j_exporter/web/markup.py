"""Makes HTML of which every text is escaped: the type checker tells it from plain text."""

import unicodedata
from collections.abc import Iterable
from html import escape
from typing import NewType
from urllib.parse import quote

#: HTML whose texts are escaped. Only this module makes it.
Html = NewType("Html", str)

NOTHING = Html("")
#: Elements without an end tag.
_VOID = {"link", "meta", "rect", "path", "line"}
#: Characters of a text that are shown, and those that its tooltip has.
_SHOWN, _TOLD = 120, 500
#: Marks that may stand on one letter: more of them would draw over the lines above and below.
_MARKS = 2


def clean(value: str, limit: int = _SHOWN) -> str:
    """Return a text of at most ``limit`` characters, with nothing that acts or hides.

    Control characters, lone surrogates, and what turns the direction of writing become U+FFFD.
    """
    if len(value) > limit:
        value = f"{value[: limit - 1]}…"
    if value.isascii() and value.isprintable():
        return value
    kept: list[str] = []
    marks = 0
    for character in value:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MARKS:
            kept.append(character if character.isprintable() else "\ufffd")
    return "".join(kept)


def text(value: str) -> Html:
    """Return a text of our own as HTML."""
    return Html(escape(value, quote=False))


def wire(value: str, limit: int = _SHOWN) -> Html:
    """Return a text of unknown origin: cleaned, cut, and kept from turning what stands beside it.

    What is cut off stands in a tooltip, as far as that is sensible.
    """
    shown = clean(value, limit)
    more = clean(value, _TOLD) if len(value) > limit else None
    return element("bdi", text(shown), title=more)


def element(tag: str, *children: Html, **attributes: str | bool | None) -> Html:
    """Return an element. An attribute that is None or False is left out.

    Names of attributes are written as in Python: ``class_``, ``aria_label``.
    """
    told = "".join(
        f" {_attribute(name)}" if value is True else f' {_attribute(name)}="{escape(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Html(f"<{tag}{told}>")
    return Html(f"<{tag}{told}>{''.join(children)}</{tag}>")


def svg(*children: Html, **attributes: str | bool | None) -> Html:
    """Return a drawing that nobody can put the focus on."""
    return element("svg", *children, focusable="false", **attributes)


def shape(tag: str, **attributes: str) -> Html:
    """Return an element of a drawing; it has an end of its own, as such elements need."""
    return Html(element(tag, **attributes)[:-1] + "/>")


def join(parts: Iterable[Html], separator: str = "") -> Html:
    """Return parts one after the other."""
    return Html(escape(separator).join(parts))


def raw(content: str) -> Html:
    """Return the content of a style or script of our own, which must not be escaped."""
    if "</" in content:
        raise ValueError("it would end its element")
    return Html(content)


def link(href: str, *children: Html, **attributes: str | bool | None) -> Html:
    """Return a link; the caller quotes what is foreign in its address."""
    return element("a", *children, href=href, **attributes)


def segment(value: str) -> str:
    """Return a text as one segment of a path."""
    return quote(value, safe="", errors="replace")


def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")
