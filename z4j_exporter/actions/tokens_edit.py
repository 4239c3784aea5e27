"""Changes the text of a token file by one entry, and leaves its comments and order alone. Pure.

The text itself is edited, at the places that the YAML parser names. What comes out is read again
and must be what was wanted; where it is not (entries written on one line, anchors), the file is
written anew from its content, without its comments.
"""

import re
from typing import Any

import yaml

from z4j_exporter import strict_yaml
from z4j_exporter.actions.tokens_file import parse
from z4j_exporter.errors import ConfigError, ExporterError
from z4j_exporter.strict_yaml import TextLoader

_HEADER = "# Who may act on tasks. The hash of a token is kept here, never the token.\n"
#: A line with its end (YAML 1.1, 5.4, as PyYAML's marks count them).
_LINE = re.compile("[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029])")
_LISTS = ("tokens", "certificates")


class TokenNameError(ExporterError):
    """The name of a token is taken, or nobody has it."""

    exit_code = 14


def with_token(text: str, entry: dict[str, Any], *, name: str) -> str:
    """Return the text with one more token; ``name`` is the file's, for the messages.

    Raises TokenNameError when an entry has that name, ConfigError when the text or what would
    become of it is not a token file.
    """
    wanted = _content(text, name=name)
    if entry["name"] in _names(wanted):
        raise TokenNameError(
            f"{name} has an entry {entry['name']!r} already",
            hint="Give the new token a name of its own; revoke the old one when nobody uses it.",
        )
    wanted["tokens"] = [*(wanted.get("tokens") or []), entry]
    return _first_that_fits(_appended(text, entry), wanted, name=name)


def without_entry(text: str, entry_name: str, *, name: str) -> str:
    """Return the text without the token or certificate of that name.

    Raises TokenNameError when there is none, ConfigError when the text is not a token file.
    """
    wanted = _content(text, name=name)
    for key in _LISTS:
        entries = wanted.get(key) or []
        kept = [entry for entry in entries if entry["name"] != entry_name]
        if len(kept) < len(entries):
            number = next(i for i, entry in enumerate(entries) if entry["name"] == entry_name)
            wanted[key] = kept
            return _first_that_fits(_removed(text, key, number), wanted, name=name)
    raise TokenNameError(f"{name} has no such entry", hint="`token list` shows the names.")


def _content(text: str, *, name: str) -> dict[str, Any]:
    """Return the file's content as it is written, after a check that it is a token file."""
    parse(text, name=name)
    document = strict_yaml.load(text, name=name)
    return dict(document) if document else {}


def _names(content: dict[str, Any]) -> set[str]:
    return {entry["name"] for key in _LISTS for entry in content.get(key) or []}


def _first_that_fits(edited: str | None, wanted: dict[str, Any], *, name: str) -> str:
    if edited is not None and _says(edited, wanted):
        parse(edited, name=name)
        return edited
    anew = _HEADER + _yaml(wanted)
    parse(anew, name=name)
    return anew


def _says(text: str, wanted: dict[str, Any]) -> bool:
    try:
        document = strict_yaml.load(text, name="")
    except ConfigError:
        return False
    return isinstance(document, dict) and _without_blanks(document) == _without_blanks(wanted)


def _without_blanks(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in _LISTS or value}


def _appended(text: str, entry: dict[str, Any]) -> str | None:
    """Return the text with an entry behind the last token; None when there is no place for it."""
    text = _with_end(text)
    root = _root(text)
    listed = _value(root, "tokens") if root is not None else None
    if listed is None:
        return (text if text.strip() else _HEADER) + _yaml({"tokens": [entry]})
    if isinstance(listed, yaml.ScalarNode):  # `tokens:` with nothing beneath
        at, indent = listed.start_mark.line + 1, 2
    elif isinstance(listed, yaml.SequenceNode) and not listed.flow_style and listed.value:
        at, indent = _last_line(listed) + 1, listed.start_mark.column
    elif isinstance(listed, yaml.SequenceNode) and not listed.value:  # `tokens: []`
        start, end = listed.start_mark.index, listed.end_mark.index
        text = text[:start].rstrip(" ") + text[end:]
        at, indent = listed.end_mark.line + 1, 2
    else:
        return None
    lines = _lines(text)
    block = "".join(" " * indent + line for line in _lines(_yaml([entry])))
    return "".join(lines[:at]) + block + "".join(lines[at:])


def _removed(text: str, key: str, number: int) -> str | None:
    """Return the text without an entry's lines; None when it shares them with others."""
    text = _with_end(text)
    root = _root(text)
    listed = _value(root, key) if root is not None else None
    if not isinstance(listed, yaml.SequenceNode) or listed.flow_style:
        return None
    node = listed.value[number]
    lines = _lines(text)
    end = min(_last_line(node) + 1, len(lines))
    while not lines[end - 1].strip():
        end -= 1
    return "".join(lines[: node.start_mark.line] + lines[end:])


def _root(text: str) -> yaml.MappingNode | None:
    # No objects are made here at all; TextLoader knows strings, lists and dicts only.
    node = yaml.compose(text, Loader=TextLoader)
    return node if isinstance(node, yaml.MappingNode) else None


def _value(root: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in root.value if name.value == key), None)


def _last_line(node: yaml.Node) -> int:
    """Return the line of a node's last word: the end that YAML names is the next node's begin."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1])
    line = int(node.end_mark.line)
    # A block of text (| or >) ends where the next line with words begins.
    return line - 1 if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else line


def _with_end(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _lines(text: str) -> list[str]:
    # Not splitlines(): YAML counts lines by other ends than Python.
    return _LINE.findall(text)


def _yaml(content: Any) -> str:
    # Words are not cut into lines, so that a change of one entry is a change of its lines.
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1_000_000)
