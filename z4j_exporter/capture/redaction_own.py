"""Applies the user's own patterns so that none can hang.

Python's re cannot be interrupted, and holds the interpreter while it runs: a deadline in another
thread would come after the harm. So three things are done. A pattern is refused when its structure
could take more than _MOST_WAYS ways through a piece of text: a repeat within a repeat, three open
repeats, a reference to a group. What is left is applied to pieces of _PIECE characters, each a
bounded piece of work (some 0.1 s at the very worst). And the time is looked at between two pieces.
A match longer than _OVERLAP characters may be seen in part only.
"""

import re
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

# Private, but the only thing that reads a pattern just as re does; a parser of our own could
# differ, and let a pattern through. Where it is missing or changes, patterns are refused.
from re import _constants as _codes  # type: ignore[attr-defined]  # isort: skip
from re import _parser  # type: ignore[attr-defined]  # isort: skip

from z4j_exporter.capture.redaction_patterns import MARKER

#: Characters of text that a pattern gets at once, and how many of them it gets again.
_PIECE = 256
_OVERLAP = 128
#: Ways through one piece from one place: two open repeats, as in `acct-\d+-\w+`, are possible.
_MOST_WAYS = (_PIECE + 1) ** 2
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
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if end > done:
            if start >= done:
                parts += (text[done:start], MARKER)
            done = end
    return "".join(parts) + text[done:]


def _checked(pattern: str) -> re.Pattern[str]:
    if len(pattern) > _LONGEST:
        raise ValueError(f"a pattern has more than {_LONGEST} characters")
    shown = repr(pattern[:80])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nested sets: re's business, not ours
            compiled = re.compile(pattern)
            tree = _parser.parse(pattern)
        shortest, _ = tree.getwidth()
        ways = _ways(tree)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{shown} is not a regular expression: {error}") from None
    except _RefusedError as error:
        raise ValueError(f"{shown} could take too long: {error}") from None
    if shortest == 0:
        raise ValueError(f"{shown} matches the empty text, and so everywhere")
    if shortest > _PIECE:
        raise ValueError(f"{shown} needs more than {_PIECE} characters to match")
    if ways > _MOST_WAYS:
        raise ValueError(f"{shown} could take too long: more than two open repeats, or the like")
    return compiled


class _RefusedError(Exception):
    """Why a pattern is refused."""


def _ways(tree: Any) -> int:
    """At most how many ways through a piece the engine may try from one place.

    Ways of things one after the other multiply, those of alternatives add up. What is repeated
    may have one way only, else the ways grow with the power of the repeats.
    """
    ways = 1
    for code, argument in tree:
        ways *= _ways_of(code, argument)
        if ways > _MOST_WAYS:
            return ways
    return ways


def _ways_of(code: Any, argument: Any) -> int:
    if code in _ONE_WAY:
        return 1
    if code in (_codes.MAX_REPEAT, _codes.MIN_REPEAT, _codes.POSSESSIVE_REPEAT):
        return _ways_of_repeat(code, *argument)
    if code is _codes.SUBPATTERN:
        return _ways(argument[-1])
    if code is _codes.ATOMIC_GROUP:
        return _ways(argument)
    if code in (_codes.ASSERT, _codes.ASSERT_NOT):
        return _ways(argument[1])
    if code is _codes.BRANCH:
        return sum(_ways(branch) for branch in argument[1])
    raise _RefusedError(f"{str(code).lower()} is not allowed")


_ONE_WAY = frozenset(
    [_codes.LITERAL, _codes.NOT_LITERAL, _codes.ANY, _codes.IN, _codes.AT, _codes.RANGE]
)


def _ways_of_repeat(code: Any, least: int, most: int, item: Any) -> int:
    inner = _ways(item)
    shortest, longest = item.getwidth()
    if shortest == 0 and most > 1:
        raise _RefusedError("it repeats what can be empty")
    if inner > 1 and most > 8:
        raise _RefusedError("a repeat or alternatives within a repeat")
    if inner > 1:
        return int(sum(inner**times for times in range(least, most + 1)))
    if code is _codes.POSSESSIVE_REPEAT and shortest == longest:
        return 1
    return min(int(most), _PIECE) - min(int(least), _PIECE) + 1
