"""Applies the user's own patterns so that none can hang.

Python's re cannot be interrupted, and holds the interpreter while it runs: a deadline in another
thread would come after the harm. So three things are done. A pattern is refused when its structure
could take more than _MOST_STEPS steps from one place: a repeat within a repeat, three open repeats,
a reference to a group. What is left is applied to pieces of _PIECE characters, each a bounded
piece of work (0.2 s at the very worst). And the time is looked at between two pieces.
Of a match longer than _OVERLAP characters a part may stay: what no piece shows as a match.
"""

import importlib
import re
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from z4j_exporter.capture.redaction_patterns import MARKER

#: Characters of text that a pattern gets at once, and how many of them it gets again.
_PIECE = 200
_OVERLAP = 100
#: Steps from one place of a piece: two open repeats with a little behind them are possible.
_MOST_STEPS = 600_000
#: Times that something with several ways through it may be repeated.
_MOST_FORKS = 8
#: Characters of a pattern, and how many patterns.
_LONGEST = 500
_MOST_PATTERNS = 50
#: Seconds of processor time that a pattern may take for one text, and how often it may take more.
_ALLOWED_SECONDS = 0.02
_ALLOWED_OVERRUNS = 3


class OwnPatterns:
    """The user's patterns, checked when they are given and timed when they run.

    Raises ValueError with the reason for a pattern that is refused. A text on which
    a pattern takes too long is replaced as a whole, which is safe; after _ALLOWED_OVERRUNS such
    texts the pattern is switched off, which the owner has to report.
    """

    def __init__(
        self, patterns: Sequence[str], clock: Callable[[], float] = time.thread_time
    ) -> None:
        if len(patterns) > _MOST_PATTERNS:
            raise ValueError(f"more than {_MOST_PATTERNS} patterns")
        self._patterns = tuple(_checked(pattern) for pattern in patterns)
        self._clock = clock
        self._lock = threading.Lock()
        self._slow: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._patterns)

    @property
    def overruns(self) -> int:
        """How often a pattern took too long."""
        return sum(self._slow.values())

    @property
    def switched_off(self) -> tuple[str, ...]:
        """The patterns that are no longer applied."""
        return tuple(p for p, times in list(self._slow.items()) if times >= _ALLOWED_OVERRUNS)

    def redact(self, text: str) -> str:
        """Replace what the patterns match; the whole text when one takes too long."""
        for pattern in self._patterns:
            if self._slow and self._slow.get(pattern.pattern, 0) >= _ALLOWED_OVERRUNS:
                continue
            spans = self._spans(pattern, text)
            if spans is None:
                with self._lock:
                    self._slow[pattern.pattern] = self._slow.get(pattern.pattern, 0) + 1
                return MARKER
            text = _without(text, spans)
        return text

    def _spans(self, pattern: re.Pattern[str], text: str) -> list[tuple[int, int]] | None:
        """Find what the pattern matches; None when it took too long."""
        deadline = self._clock() + _ALLOWED_SECONDS
        spans = []
        for start in range(0, max(1, len(text) - _OVERLAP), _PIECE - _OVERLAP):
            spans += [found.span() for found in pattern.finditer(text, start, start + _PIECE)]
            if self._clock() > deadline:
                return None
        return spans


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """Replace the spans; one marker for those that overlap or touch, which are pieces of one."""
    parts: list[str] = []
    done = -1
    for start, end in sorted(spans):
        if start > done:
            parts += (text[max(done, 0) : start], MARKER)
        done = max(done, end)
    return "".join(parts) + text[max(done, 0) :]


def _checked(pattern: str) -> re.Pattern[str]:
    if len(pattern) > _LONGEST:
        raise ValueError(f"a pattern has more than {_LONGEST} characters")
    shown = repr(pattern[:80])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nested sets: re's business, not ours
            compiled = re.compile(pattern)
            tree = _parse(pattern)
        shortest, _ = tree.getwidth()
        _cost(tree)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{shown} is not a regular expression: {error}") from None
    except _RefusedError as error:
        raise ValueError(f"{shown} could take too long: {error}") from None
    if shortest == 0:
        raise ValueError(f"{shown} matches the empty text, and so everywhere")
    if shortest > _OVERLAP:
        raise ValueError(f"{shown} needs more than {_OVERLAP} characters to match")
    return compiled


def _parse(pattern: str) -> Any:
    """Parse a pattern just as re does.

    The module is private, but a parser of our own could differ from it, and let a pattern through.
    Where it is missing, or its nodes have other names, patterns are refused.
    """
    try:
        return importlib.import_module("re._parser").parse(pattern)
    except (ImportError, AttributeError):
        raise _RefusedError("this version of Python does not let us check it") from None


class _RefusedError(Exception):
    """Why a pattern is refused."""


def _cost(tree: Any) -> tuple[int, int]:
    """Count the ways through a piece from one place, and the steps that all of them take at most.

    Ways of things one after the other multiply, and each thing is tried again for every way through
    what is before it. Those of alternatives add up.
    """
    ways, steps = 1, 0
    for code, argument in tree:
        more_ways, more_steps = _cost_of(repr(code), argument)
        steps += ways * more_steps
        ways *= more_ways
        if steps > _MOST_STEPS:
            raise _RefusedError("it has too many open repeats; bound them: {1,20} instead of +")
    return ways, steps


def _cost_of(code: str, argument: Any) -> tuple[int, int]:
    if code in _ONE_STEP:
        return 1, 1
    if code in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _cost_of_repeat(code, *argument)
    if code == "SUBPATTERN":
        return _cost(argument[-1])
    if code == "ATOMIC_GROUP":
        return 1, _cost(argument)[1]
    if code in ("ASSERT", "ASSERT_NOT"):
        return 1, _cost(argument[1])[1]
    if code == "BRANCH":
        branches = [_cost(branch) for branch in argument[1]]
        return sum(ways for ways, _ in branches), sum(steps + 1 for _, steps in branches)
    raise _RefusedError(f"{code.lower()} is not allowed")


_ONE_STEP = frozenset(["LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "RANGE"])


def _cost_of_repeat(code: str, least: int, most: int, item: Any) -> tuple[int, int]:
    ways, steps = _cost(item)
    shortest, _ = item.getwidth()
    if shortest == 0 and most > 1:
        raise _RefusedError("it repeats what can be empty")
    least, most = min(int(least), _PIECE), min(int(most), _PIECE)
    if code == "POSSESSIVE_REPEAT":
        return 1, most * steps + 1
    if ways == 1:
        return most - least + 1, most * steps + 1
    if most > _MOST_FORKS:
        raise _RefusedError("a repeat or alternatives within a repeat")
    return sum(ways**n for n in range(least, most + 1)), sum(steps * ways**n for n in range(most))
