"""Matches whole label values against regular expressions in time that cannot explode. Pure.

Python's re goes back and tries again, so that a short pattern can take hours, and holds the
interpreter meanwhile. RE2, which Alertmanager uses, does not; nor does this: all ways through a
pattern are followed at once, character by character. What RE2 has not (groups referred to, looking
ahead) is refused here too. ``\\d``, ``\\w`` and ``\\s`` mean ASCII, and ``.`` is no line end.
"""

import importlib
import re
import warnings
from collections.abc import Callable
from typing import Any, Final

#: Characters of a pattern.
_LONGEST: Final = 1000
#: States that a pattern may have; each takes a step for each character of a value.
_MOST_STATES: Final = 1000
#: Steps that are remembered.
_MOST_STEPS: Final = 1000
#: Nested groups; Python's own stack is the limit otherwise.
_MOST_DEPTH: Final = 50

Accepts = Callable[[str], bool]

_CATEGORIES: dict[str, Accepts] = {
    "CATEGORY_DIGIT": lambda c: c in "0123456789",
    "CATEGORY_NOT_DIGIT": lambda c: c not in "0123456789",
    "CATEGORY_SPACE": lambda c: c in "\t\n\f\r ",
    "CATEGORY_NOT_SPACE": lambda c: c not in "\t\n\f\r ",
    "CATEGORY_WORD": lambda c: c == "_" or (c.isascii() and c.isalnum()),
    "CATEGORY_NOT_WORD": lambda c: not (c == "_" or (c.isascii() and c.isalnum())),
}


class Pattern:
    """A compiled pattern; raises ValueError with the reason for one that is refused."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > _LONGEST:
            raise ValueError(f"a pattern has at most {_LONGEST} characters")
        self.pattern = pattern
        #: For each state: what it accepts (None: it only leads on), and the states behind it.
        self._states: list[tuple[Accepts | None, list[int]]] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # nested sets: re's business, not ours
                tree = importlib.import_module("re._parser").parse(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{pattern[:80]!r} is not a regular expression: {error}") from None
        except (ImportError, AttributeError):
            raise ValueError("this version of Python does not let us read patterns") from None
        flags = tree.state.flags & ~re.UNICODE.value
        if flags & ~re.IGNORECASE.value:
            raise ValueError("of the flags, only (?i) is known")
        self._end = self._add(None)
        start = self._sequence(list(tree), self._end, bool(flags), 0)
        self._first = self._closure([start])
        #: Steps that were taken before: most values are alike.
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, value: str) -> bool:
        """Return whether the pattern matches a whole value."""
        current = self._first
        for character in value:
            following = self._steps.get((current, character))
            if following is None:
                following = self._step(current, character)
            if not following:
                return False
            current = following
        return self._end in current

    def _step(self, current: frozenset[int], character: str) -> frozenset[int]:
        behind_all: list[int] = []
        for state in current:
            accepts, behind = self._states[state]
            if accepts is not None and accepts(character):
                behind_all += behind
        if len(self._steps) >= _MOST_STEPS:
            self._steps.clear()
        self._steps[current, character] = following = self._closure(behind_all)
        return following

    def _closure(self, states: list[int]) -> frozenset[int]:
        """Return the states, and all that can be reached from them without a character."""
        reached: set[int] = set()
        while states:
            state = states.pop()
            if state not in reached:
                reached.add(state)
                accepts, behind = self._states[state]
                if accepts is None:
                    states.extend(behind)
        return frozenset(reached)

    def _add(self, accepts: Accepts | None, *behind: int) -> int:
        if len(self._states) >= _MOST_STATES:
            raise ValueError("the pattern repeats too much")
        self._states.append((accepts, list(behind)))
        return len(self._states) - 1

    # Each of these makes the states of a part, which lead on to ``behind``; returns the first.

    def _sequence(self, nodes: Any, behind: int, fold: bool, depth: int) -> int:
        if depth > _MOST_DEPTH:
            raise ValueError("the pattern is nested too deeply")
        for code, argument in reversed(list(nodes)):
            behind = self._node(repr(code), argument, behind, fold, depth + 1)
        return behind

    def _node(self, code: str, argument: Any, behind: int, fold: bool, depth: int) -> int:
        if code in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return self._add(_folded(_accepts(code, argument), fold), behind)
        if code == "BRANCH":
            return self._add(
                None, *(self._sequence(one, behind, fold, depth) for one in argument[1])
            )
        if code == "SUBPATTERN":
            _, added, removed, nodes = argument
            if (added | removed) & ~re.IGNORECASE.value:
                raise ValueError("of the flags, only (?i) is known")
            return self._sequence(nodes, behind, bool(added) or (fold and not removed), depth)
        if code in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, nodes = argument
            return self._repeat(least, most, nodes, behind, fold, depth)
        if code == "AT":
            raise ValueError("the whole value is matched: leave ^, $, \\b and their like out")
        raise ValueError(f"{code.lower()} is not allowed")

    def _repeat(
        self, least: int, most: Any, nodes: Any, behind: int, fold: bool, depth: int
    ) -> int:
        least = int(least)
        if repr(most) == "MAXREPEAT":
            loop = self._add(None, behind)
            self._states[loop][1].append(self._sequence(nodes, loop, fold, depth))
            behind = loop
        else:
            end = behind
            for _ in range(min(int(most), _MOST_STATES) - least):
                behind = self._add(None, self._sequence(nodes, behind, fold, depth), end)
        for _ in range(min(least, _MOST_STATES)):
            # The state of its own bounds the work even where the repeated part is empty.
            behind = self._add(None, self._sequence(nodes, behind, fold, depth))
        return behind


def _accepts(code: str, argument: Any) -> Accepts:
    if code == "ANY":
        return lambda c: c != "\n"
    if code == "LITERAL":
        literal = chr(argument)
        return lambda c: c == literal
    if code == "NOT_LITERAL":
        other = chr(argument)
        return lambda c: c != other
    return _in_set(argument)


def _in_set(parts: Any) -> Accepts:
    negated = False
    tests: list[Accepts] = []
    for code, argument in parts:
        name = repr(code)
        if name == "NEGATE":
            negated = True
        elif name == "RANGE":
            tests.append(_in_range(chr(argument[0]), chr(argument[1])))
        elif name == "CATEGORY":
            tests.append(_CATEGORIES[repr(argument)])
        else:
            tests.append(_accepts(name, argument))
    return lambda c: any(test(c) for test in tests) is not negated


def _in_range(first: str, last: str) -> Accepts:
    return lambda c: first <= c <= last


def _folded(accepts: Accepts, fold: bool) -> Accepts:
    if not fold:
        return accepts
    return lambda c: any(len(d) == 1 and accepts(d) for d in (c, c.lower(), c.upper()))
