"""Fills a rule's parameters from an alert's labels: ``{{ labels.task }}``, and nothing more. Pure.

There are no functions, no conditions and no loops: a label's value goes in as it is, or the alert
causes no action. Where the parameter is a glob, what comes from a label stands for itself alone.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

#: Characters of a label's value that may go into a parameter; Celery's names are far shorter.
_LONGEST: Final = 256
#: Characters of a template.
_LONGEST_TEMPLATE: Final = 1000

_PLACE = re.compile(r"\{\{\s*labels\.([a-zA-Z_][a-zA-Z0-9_]*)\s*\}\}")
_GLOB = re.compile(r"[*?\[]")


class UnfilledError(ValueError):
    """Why an alert's labels cannot fill a parameter; never quotes a value."""


class Template:
    """A parameter's text with places for labels; raises ValueError for one that is wrong."""

    def __init__(self, text: str) -> None:
        if not text or not text.isprintable():
            raise ValueError("it must not be empty, nor have control characters")
        if len(text) > _LONGEST_TEMPLATE:
            raise ValueError(f"it has at most {_LONGEST_TEMPLATE} characters")
        #: Text and names of labels in turn; the first and the last are text.
        self._parts = _PLACE.split(text)
        if any("{{" in part or "}}" in part for part in self._parts[::2]):
            raise ValueError("between {{ and }} there can only be labels.NAME")
        self.text = text

    def __str__(self) -> str:
        return self.text

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it needs."""
        return tuple(self._parts[1::2])

    @property
    def is_glob(self) -> bool:
        """Whether the text itself, not what comes from labels, has *, ? or [ in it."""
        return any(_GLOB.search(part) for part in self._parts[::2])

    def fill(self, labels: Mapping[str, str]) -> str:
        """Return the text with the labels' values. Raises UnfilledError."""
        return self._filled(labels, lambda value: value)

    def fill_glob(self, labels: Mapping[str, str]) -> str:
        """Return it as a glob; labels' values stand for themselves. Raises UnfilledError."""
        return self._filled(labels, literal_glob)

    def _filled(self, labels: Mapping[str, str], made: Callable[[str], str]) -> str:
        parts = list(self._parts)
        for place in range(1, len(parts), 2):
            parts[place] = made(_usable(parts[place], labels))
        return "".join(parts)


def literal_glob(text: str) -> str:
    """Return the glob that a text alone matches."""
    return _GLOB.sub(lambda found: f"[{found[0]}]", text)


def _usable(label: str, labels: Mapping[str, str]) -> str:
    value = labels.get(label, "")
    if not value:
        raise UnfilledError(f"the alert has no label {label}")
    if len(value) > _LONGEST:
        raise UnfilledError(f"the label {label} has more than {_LONGEST} characters")
    if not value.isprintable():
        raise UnfilledError(f"the label {label} has control characters")
    return value
