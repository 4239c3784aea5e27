"""The patterns of matchers: as Python's, on whole values, and in time that grows with the value."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter.actions.alert_patterns import Pattern

ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", "(?:a|bc)", r"\d", r"\w", "(?i:B)", "", "-"]
)
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?"])


@st.composite
def patterns(draw: st.DrawFn) -> str:
    parts = [f"(?:{draw(ATOMS)}){draw(REPEATS)}" for _ in range(draw(st.integers(0, 4)))]
    text = "".join(parts)
    if draw(st.booleans()):
        text = f"(?:{text}|{draw(ATOMS)}){draw(REPEATS)}"
    return text


@given(patterns(), st.text(alphabet="abcB1-\n", max_size=8))
@settings(max_examples=1000, deadline=None)
def test_it_matches_what_re_matches(pattern: str, value: str) -> None:
    expected = re.fullmatch(pattern, value, re.ASCII) is not None
    assert Pattern(pattern).matches(value) is expected


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("shop[.].+", "shop.pay", True),
        ("shop[.].+", "my-shop.pay", False),
        ("warning|critical", "critical", True),
        ("warning|critical", "criticals", False),
        ("(?i)shop", "SHOP", True),
        ("(?i)[a-c]+", "AbC", True),
        ("", "", True),
        (".*", "", True),
        (".*", "two\nlines", False),
        ("[^x]*", "two\nlines", True),
        (r"\d+", "٣", False),  # another script's digit: RE2's classes are ASCII
        (r"\S+\s\W", "ü !", True),
        ("()*a", "a", True),
        ("a{0}b", "b", True),
    ],
)
def test_whole_values(pattern: str, value: str, expected: bool) -> None:
    assert Pattern(pattern).matches(value) is expected


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(a?){60}a{60}b", ".*.*.*.*.*.*=x"])
def test_what_hangs_others_ends_soon(pattern: str) -> None:
    value = "a" * 1024
    begun = time.thread_time()
    assert not Pattern(pattern).matches(value)
    assert time.thread_time() - begun < 2


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "is not a regular expression"),
        (r"(a)\1", "groupref is not allowed"),
        ("(?=a)a", "assert is not allowed"),
        ("^a", "the whole value is matched"),
        (r"\ba", "the whole value is matched"),
        ("(?s).", "only (?i) is known"),
        ("(?m:a)", "only (?i) is known"),
        ("(?>a)", "not allowed"),
        ("a{2000}", "repeats too much"),
        ("(a{100}){100}", "repeats too much"),
        ("a{1,99999}", "repeats too much"),
        ("((((a{9}){9}){9}){9}){9}", "repeats too much"),
        ("(){99999}", "repeats too much"),
        ("(" * 60 + ")" * 60, "nested too deeply"),
        ("a" * 1001, "at most 1000 characters"),
    ],
)
def test_refusals(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        Pattern(pattern)
