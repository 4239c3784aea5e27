"""Scopes: a glob matches the whole name, and an unknown name lies in no scope."""

import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter.actions.scopes import check_glob, within


@pytest.mark.parametrize(
    ("glob", "inside", "outside"),
    [
        ("shop.mail", ["shop.mail"], ["shop.mails", "xshop.mail", "Shop.mail", "shop-mail", ""]),
        ("shop.*", ["shop.mail", "shop.a.b", "shop.", "shop.a\nb"], ["shop", "shopx", "a.shop.b"]),
        ("*.send", ["mail.send", ".send"], ["mail.send2", "mail.send\n"]),
        ("q?", ["q1", "qé"], ["q", "q12"]),
        ("q[0-2]", ["q0", "q2"], ["q3", "q"]),
        ("q[!0-2]", ["q3", "qx"], ["q0", "q"]),
        ("a[*]b", ["a*b"], ["axb"]),
        ("a[b", ["a[b"], ["ab"]),
        ("[z-a]", [], ["a", "z", "-"]),
        ("*", ["", "anything", "\ud800"], []),
    ],
)
def test_globs(glob: str, inside: list[str], outside: list[str]) -> None:
    assert [name for name in inside if not within(name, [glob])] == []
    assert [name for name in outside if within(name, [glob])] == []


def test_one_of_several_is_enough() -> None:
    assert within("b.x", ["a.*", "b.*"])
    assert not within("c.x", ["a.*", "b.*"])


def test_no_globs_are_no_restriction_and_an_unknown_name_is_in_no_scope() -> None:
    assert within(None, [])
    assert within("x", [])
    assert not within(None, ["*"])


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_they_are_those_of_fnmatch(name: str, glob: str) -> None:
    assert within(name, [glob]) == fnmatchcase(name, glob)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_a_name_lies_in_the_scope_of_itself_when_its_signs_are_escaped(name: str) -> None:
    import glob

    assert within(name, [glob.escape(name)])
    assert not within(name + "x", [glob.escape(name)])
    assert not within("x" + name, [glob.escape(name)]) or name.startswith("x" * len(name) + "x")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "*", "?", "[ab]"]), max_size=40).map("".join))
def test_no_glob_is_slow(glob: str) -> None:
    begun = time.process_time()
    within("a" * 2000 + "c", [glob])
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("glob", ["", "a" * 257, "a\nb", " a", "a ", "a\x1bb", "\u202e"])
def test_globs_that_may_not_stand_in_a_file(glob: str) -> None:
    with pytest.raises(ValueError, match="a glob"):
        check_glob(glob)
    assert check_glob("shop.*") == "shop.*"
