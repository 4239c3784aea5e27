"""Matchers on labels, in the syntax of Alertmanager: ``task=~"shop[.].+"``. Pure.

The grammar is that of Alertmanager 0.25 (pkg/labels/parse.go). A label that an alert has not counts
as empty, so that ``queue!="slow"`` matches an alert without a queue. Regular expressions match the
whole value.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from z4j_exporter.actions.alert_patterns import Pattern

Operator = Literal["=", "!=", "=~", "!~"]

#: Characters of a label's value that a regular expression is tried on.
MOST_MATCHED: Final = 1024

_PARTS = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL)
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. ``pattern`` is that of =~ and !~."""

    label: str
    operator: Operator
    value: str
    pattern: Pattern | None = None

    def __str__(self) -> str:
        quoted = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{quoted}"'

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels fulfil it; a value too long for a pattern fulfils nothing."""
        value = labels.get(self.label, "")
        if self.pattern is None:
            return (value == self.value) is (self.operator == "=")
        if len(value) > MOST_MATCHED:
            return False
        return self.pattern.matches(value) is (self.operator == "=~")


def parse(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a text: one, or several between commas, with braces or without.

    Raises ValueError with the reason.
    """
    text = text.strip().removeprefix("{").removesuffix("}")
    parts = _split(text)
    if not parts:
        raise ValueError("a matcher must not be empty")
    return tuple(_matcher(part) for part in parts)


def first_unmatched(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> Matcher | None:
    """Return the first matcher that labels do not fulfil, None when they fulfil all."""
    return next((one for one in matchers if not one.matches(labels)), None)


def _split(text: str) -> list[str]:
    """Split at the commas outside of quotes."""
    parts = [""]
    quoted = escaped = False
    for character in text:
        if character == "," and not quoted:
            parts.append("")
            continue
        if character == '"' and not escaped:
            quoted = not quoted
        escaped = character == "\\" and not escaped
        parts[-1] += character
    if not parts[-1].strip():
        parts.pop()  # a comma at the end is allowed
    return parts


def _matcher(text: str) -> Matcher:
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError('write a matcher as label="value", with one of = != =~ !~')
    label, operator, value = found[1], cast("Operator", found[2]), _value(found[3])
    pattern = Pattern(value) if operator in ("=~", "!~") else None
    return Matcher(label, operator, value, pattern)


def _value(raw: str) -> str:
    quoted = raw.startswith('"')
    inner = raw[1:-1] if quoted else raw
    if quoted and (len(raw) < 2 or not raw.endswith('"') or _odd_escape(inner)):
        raise ValueError("the value of a matcher has an opening quote and no closing one")
    value, escaped = "", False
    for character in inner:
        if escaped:
            # A backslash before anything else stands for itself.
            value += _ESCAPED.get(character, "\\" + character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            raise ValueError("the value of a matcher has a quote without a backslash")
        else:
            value += character
    return value + "\\" if escaped else value


def _odd_escape(inner: str) -> bool:
    """Whether what looks like the closing quote belongs to the value."""
    return (len(inner) - len(inner.rstrip("\\"))) % 2 == 1
