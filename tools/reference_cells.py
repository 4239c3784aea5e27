"""Writes Markdown tables: what is in a cell cannot end it."""

import re
from collections.abc import Iterable, Sequence

_URL = re.compile(r"https?://[^\s,;()`]*[^\s,;()`.]")


def cell(text: str) -> str:
    """Return text for a cell; a bar, a star or a bracket in it is only that."""
    text = " ".join(text.replace("``", "`").split())
    parts = text.split("`")
    # Outside of code only: there, the characters stand for themselves.
    parts[::2] = [_plain(part) for part in parts[::2]]
    return "`".join(parts).replace("|", "\\|")


def _plain(text: str) -> str:
    # An address is shown as code, else GitHub makes a link of it, with the full stop after it.
    return _URL.sub(lambda found: f"`{found[0]}`", _escaped(text))


def _escaped(text: str) -> str:
    for character in "\\*<>":
        text = text.replace(character, f"\\{character}")
    # Inside of a word an underscore is one.
    return re.sub(r"(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])", lambda m: "\\_" * len(m[0]), text)


def code(text: str) -> str:
    """Return text as code in a cell."""
    return f"`{text}`".replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
