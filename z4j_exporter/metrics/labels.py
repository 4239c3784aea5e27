"""Makes label values safe: everything from the wire is hostile until it went through here."""

import re
from collections.abc import Sequence

from z4j_exporter.patterns import compile_pattern, compile_rewrite

#: Where everything beyond the cap on series goes.
OVERFLOW = "__overflow__"
#: Where tasks go that the allow and deny patterns leave out: counted, but not by name.
FILTERED = "__filtered__"
#: Characters of a label value; real task names and nodenames are far shorter.
MAX_LABEL_LENGTH = 200

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clean(value: str) -> str:
    """Return a label value that is short, valid UTF-8 and free of control characters."""
    if len(value) > MAX_LABEL_LENGTH:
        value = value[: MAX_LABEL_LENGTH - 1] + "…"
    return _CONTROL.sub("\ufffd", value)


def escape(value: str) -> str:
    """Escape a label value for the text formats."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


#: One pair of a label text, as store.label_text writes it.
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def pairs(text: str) -> list[tuple[str, str]]:
    """Return the names and values of a label text (``a="x",b="y"``)."""
    return [(name, unescape(value)) for name, value in _PAIR.findall(text)]


def unescape(value: str) -> str:
    """Undo ``escape``."""
    if "\\" not in value:
        return value
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], value)


class TaskLabel:
    """Decides the ``task`` label: the cleaned name, or FILTERED."""

    def __init__(self, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._allow = [compile_pattern(p, "--task-label-allow") for p in allow]
        self._deny = [compile_pattern(p, "--task-label-deny") for p in deny]

    def __call__(self, name: str) -> str:
        """Return the label value for a task name."""
        name = clean(name)
        if any(p.fullmatch(name) for p in self._deny):
            return FILTERED
        if self._allow and not any(p.fullmatch(name) for p in self._allow):
            return FILTERED
        return name


class WorkerLabel:
    """Decides the ``worker`` label: the cleaned nodename, rewritten by regular expressions.

    Each rule is ``PATTERN=REPLACEMENT`` (``\\1`` for groups); the first that matches the whole
    nodename wins. Several workers may get one label: their values are then added up.
    """

    def __init__(self, rules: Sequence[str] = ()) -> None:
        self._rules = [
            compile_rewrite(rule, "--worker-label-rewrite", example=r"(.*)@web-.*=\1@web")
            for rule in rules
        ]

    def __call__(self, nodename: str) -> str:
        """Return the label value for a nodename."""
        nodename = clean(nodename)
        for pattern, replacement in self._rules:
            match = pattern.fullmatch(nodename)
            if match:
                return clean(match.expand(replacement))
        return nodename
