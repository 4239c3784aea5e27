"""Matchers on labels: Alertmanager's syntax; held to amtool in the integration tests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.actions.alert_matchers import first_unmatched, parse


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('task="shop.pay"', ['task="shop.pay"']),
        ("task=shop.pay", ['task="shop.pay"']),
        (' task =~ "a|b" ', ['task=~"a|b"']),
        ("task!=", ['task!=""']),
        ('{task="a", queue!~"b,c",}', ['task="a"', 'queue!~"b,c"']),
        (r'task="a\"b\\c\nd"', [r'task="a\"b\\c\nd"']),
        (r"task=\d", [r'task="\\d"']),
        ("task=a\\", [r'task="a\\"']),
        ('task="ä{}"', ['task="ä{}"']),
        ("task=a b", ['task="a b"']),
    ],
)
def test_parsed(text: str, shown: list[str]) -> None:
    assert [str(one) for one in parse(text)] == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must not be empty"),
        ("{}", "must not be empty"),
        ("task", "write a matcher as"),
        ("task==a", None),
        ("1task=a", "write a matcher as"),
        ('task="a', "no closing one"),
        (r'task="a\"', "no closing one"),
        ('task="', "no closing one"),
        ('task=a"', "a quote without a backslash"),
        ('task="a"b"', "a quote without a backslash"),
        ("a=b,,c=d", "write a matcher as"),
        ('task=~"("', "is not a regular expression"),
    ],
)
def test_refused(text: str, reason: str | None) -> None:
    if reason is None:  # the second = belongs to the value, there as here
        assert str(parse(text)[0]) == 'task="=a"'
        return
    with pytest.raises(ValueError, match=reason):
        parse(text)


@given(st.text(max_size=30))
def test_any_value_that_is_written_is_read(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert parse(f'a="{quoted}", b=c')[0].value == value


@given(st.text(alphabet='ab="\\{},~! ', max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        matchers = parse(text)
    except ValueError:
        return
    assert [parse(str(one))[0].value for one in matchers] == [one.value for one in matchers]


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {}, False),
        ("a=", {}, True),
        ("a!=b", {}, True),
        ("a=~b.*", {"a": "bc"}, True),
        ("a=~b", {"a": "bc"}, False),
        ("a=~.*", {}, True),
        ("a=~.+", {}, False),
        ("a!~b|c", {"a": "c"}, False),
        ("a!~b|c", {"a": "d"}, True),
        ("a=~.*", {"a": "x" * 1025}, False),
        ("a!~y", {"a": "x" * 1025}, False),  # not looked at, and so not fulfilled either
        ("a!=y", {"a": "x" * 1025}, True),
    ],
)
def test_matched(text: str, labels: dict[str, str], expected: bool) -> None:
    assert parse(text)[0].matches(labels) is expected


def test_the_first_that_does_not_match_is_told() -> None:
    matchers = parse("a=b, c=d, e=f")
    assert first_unmatched(matchers, {"a": "b", "c": "d", "e": "f"}) is None
    assert str(first_unmatched(matchers, {"a": "b", "c": "x"})) == 'c="d"'
