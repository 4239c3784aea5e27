"""Parameters filled from labels: nothing but the labels, and no glob out of them."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.actions.alert_template import Template, UnfilledError, literal_glob


def test_filled() -> None:
    template = Template("{{ labels.app }}.{{labels.task}}-x")
    assert template.labels == ("app", "task")
    assert template.fill({"app": "shop", "task": "pay"}) == "shop.pay-x"
    assert Template("shop.pay").fill({}) == "shop.pay"
    assert str(template) == "{{ labels.app }}.{{labels.task}}-x"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{{ labels.task | upper }}",
        "{{ task }}",
        "{{ labels.a.b }}",
        "{{ labels }}",
        "{{ range . }}",
        "{{ $labels.task }}",
        "labels.task }}",
        "a\nb",
        "x" * 1001,
    ],
)
def test_nothing_else_is_a_template(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Template(text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "has no label task"),
        ("x" * 257, "more than 256 characters"),
        ("a\x1b[2Jb", "control characters"),
        ("a\u202eb", "control characters"),
        ("a\ud800", "control characters"),
        ("a\nb", "control characters"),
    ],
)
def test_hostile_values_fill_nothing(value: str, reason: str) -> None:
    with pytest.raises(UnfilledError, match=reason) as refused:
        Template("{{ labels.task }}").fill({"task": value})
    assert value == "" or value not in str(refused.value)


def test_a_value_is_not_filled_again() -> None:
    assert Template("{{ labels.a }}").fill({"a": "{{ labels.b }}", "b": "x"}) == "{{ labels.b }}"


@pytest.mark.parametrize("value", ["*", "shop.*", "a?", "[ab]", "[!a]", "a[", "a]"])
def test_a_label_is_no_glob(value: str) -> None:
    glob = Template("{{ labels.task }}").fill_glob({"task": value})
    assert fnmatchcase(value, glob)
    assert not fnmatchcase("shop.pay", glob)
    assert not fnmatchcase("a", glob)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_literal_glob_matches_its_text_alone(text: str, other: str) -> None:
    assert fnmatchcase(text, literal_glob(text))
    assert fnmatchcase(other, literal_glob(text)) is (other == text)


def test_the_rule_itself_may_have_a_glob() -> None:
    template = Template("{{ labels.app }}.*")
    assert template.is_glob
    assert template.fill_glob({"app": "*"}) == "[*].*"
    assert not Template("{{ labels.app }}").is_glob
