"""Reads the comments of a chart's values.yaml, and makes the table of its README."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

_KEY = re.compile(r"( *)([A-Za-z][A-Za-z0-9_]*):(?: (.*))?$")


@dataclass(frozen=True)
class Value:
    """One key of values.yaml."""

    #: The whole name, such as ``broker.existingSecret``.
    name: str
    #: The default as it stands in the file; empty for a key that has keys below.
    default: str
    #: The comment above it, without indented examples.
    comment: str


def values(text: str) -> Iterator[Value]:
    """Yield the keys of values.yaml in their order."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped[1:])
            continue
        if found := _KEY.match(line):
            indent, name = len(found[1]), found[2]
            path = [*(part for part in path if part[0] < indent), (indent, name)]
            whole = ".".join(part for _, part in path)
            yield Value(whole, found[3] or "", _described(comment))
        comment = []


def _described(comment: list[str]) -> str:
    words = []
    for line in comment:
        if not line.strip() or line.startswith("   "):
            break
        words.append(line.strip())
    return " ".join(words)


def table(text: str) -> str:
    """Return the rows of the README's table. Raises ValueError for a key without a comment."""
    rows = ["\n| value | default | |\n|---|---|---|\n"]
    for value in values(text):
        if not value.comment:
            raise ValueError(f"values.yaml: {value.name} has no comment")
        shown = f"`{value.default}`" if value.default else ""
        rows.append(f"| `{value.name}` | {shown} | {_cell(value.comment)} |\n")
    return "".join([*rows, "\n"])


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def leaves(text: str) -> set[str]:
    """Return the names of all keys of the parsed file, flow mappings left whole."""
    found: set[str] = set()

    def walk(node: object, prefix: str) -> None:
        if isinstance(node, dict):
            for key, below in node.items():
                found.add(f"{prefix}{key}")
                walk(below, f"{prefix}{key}.")

    walk(yaml.safe_load(text), "")
    return found
