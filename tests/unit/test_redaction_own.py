"""The user's own patterns: those that could hang are refused, slow ones are switched off."""

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.capture.redaction import MARKER, Redactor
from z4j_exporter.capture.redaction_own import OwnPatterns

COULD_HANG = [
    r"(a+)+b",
    r"(a|aa)+$",
    r"(.*a){20}",
    r"^(\w+\s?)*$",
    r"([a-zA-Z]+)*X",
    r"(x+x+)+y",
    r"\d+\d+\d+x",
    r"(?:\w+@)+(?:\w+\.)+com",
    r"(a)\1+",
    r"(a)?(?(1)b|c)d",
    r"(?:a?){50}a",
    r"(a*)*b",
    r"(?:(?=a)){1000000}b",
    r"(?>a+)(a+)+b",
    r"(?=(a+)+b)a",
    r"(b|bb)+c",
    r"a*a*(?:aa){50}x",
    r"(?:(?=(?:(?=a{99})a){99})a){99}",
    r"((\w+,)*\w+;)*x",
]
NO_PATTERNS = [r"(", r"[", r"a**", r"\p{L}", r"(?P<x"]
EVERYWHERE = [r"", r"a*", r"(?:)", r"a|", r"\b", r"(?=a)"]
GOOD = [
    (r"acct-\d+-\w+", "for acct-12-abc now", f"for {MARKER} now"),
    (r"CUST-[0-9]{6}", "CUST-123456", MARKER),
    (r"(?i)employee\s*id:\s*\d{4,8}", "EMPLOYEE id: 1234", MARKER),
    (r"(?<=ref=)\w+", "ref=abc", f"ref={MARKER}"),
    (r"\b(?:foo|bar)-[a-z]{3,10}\b", "foo-abc bar-xyz", f"{MARKER} {MARKER}"),
    (r"(?:[0-9]{4}-?){3}[0-9]{4}", "1234-5678-1234-5678", MARKER),
    (r"(?:a+b)++c", "aabaabc", MARKER),
]


@pytest.mark.parametrize("pattern", COULD_HANG)
def test_a_pattern_that_could_hang_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"could take too long|needs more than") as refusal:
        Redactor((), [pattern])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("pattern", NO_PATTERNS)
def test_what_is_no_regular_expression_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        Redactor((), [pattern])


@pytest.mark.parametrize("pattern", EVERYWHERE)
def test_what_matches_everywhere_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="matches the empty text"):
        Redactor((), [pattern])


def test_long_patterns_and_many_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 500 characters"):
        Redactor((), ["x" * 501])
    with pytest.raises(ValueError, match="more than 50 patterns"):
        Redactor((), ["x"] * 51)
    with pytest.raises(ValueError, match="needs more than 100 characters"):
        Redactor((), ["x{101}"])


@pytest.mark.parametrize(("pattern", "text", "redacted"), GOOD)
def test_a_pattern_replaces_what_it_matches(pattern: str, text: str, redacted: str) -> None:
    assert Redactor((), [pattern]).redact_text(text) == redacted


@given(before=st.integers(0, 500), after=st.integers(0, 500))
def test_a_match_is_found_wherever_the_pieces_are_cut(before: int, after: int) -> None:
    text = "." * before + "acct-" + "7" * 80 + "." * after
    assert Redactor((), [r"acct-\d+"]).redact_text(text) == "." * before + MARKER + "." * after


def test_a_long_match_is_found_in_pieces() -> None:
    text = "<" + "a" * 1000 + ">"
    assert Redactor((), [r"[0-9a-f]{50,}"]).redact_text(text) == f"<{MARKER}>"


@given(st.text(alphabet="ab()|*+?{}1,[]^$.\\wd=<!:>#i", max_size=30))
def test_what_is_accepted_ends_on_any_text(pattern: str) -> None:
    try:
        redactor = Redactor((), [pattern])
    except ValueError:
        return
    for text in ("a" * 199, "ab" * 99, "a" * 198 + "!", "1a" * 99, "((((" * 40):
        assert len(redactor.redact_text(text)) < 100_000


def test_a_slow_pattern_costs_the_text_and_is_then_switched_off() -> None:
    slow = itertools.count(step=1.0)
    own = OwnPatterns([r"abc", r"[0-9]{3}"], clock=lambda: float(next(slow)))
    assert [own.redact("nothing to see") for _ in range(6)] == [MARKER] * 6
    assert own.overruns == 6
    assert own.switched_off == (r"abc", r"[0-9]{3}")
    assert own.redact("abc 123") == "abc 123"


def test_a_pattern_in_time_stays() -> None:
    own = OwnPatterns(["abc"], clock=lambda: 0.0)
    assert own.redact("abc " * 1000) == f"{MARKER} " * 1000
    assert (own.overruns, own.switched_off) == (0, ())


def test_without_the_parser_of_re_patterns_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re._parser", None)
    with pytest.raises(ValueError, match="does not let us check it"):
        Redactor((), ["abc"])
    assert Redactor(["iban"]).redact_text("iban=x") == f"iban={MARKER}"
