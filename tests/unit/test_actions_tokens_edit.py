"""Changes of a token file: its own entry comes or goes, and people's words stay."""

import fcntl
import os
import stat
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter import strict_yaml
from z4j_exporter.actions.tokens import make_token, stored
from z4j_exporter.actions.tokens_edit import TokenNameError, with_token, without_entry
from z4j_exporter.actions.tokens_file import parse, read
from z4j_exporter.actions.tokens_write import change
from z4j_exporter.errors import ConfigError, FileError


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "role": "operator", "hash": stored(make_token()), **more}


def names(text: str) -> list[str]:
    return [found.name for found in parse(text, name="t.yml").entries]


HASHES = [stored(make_token()) for _ in range(3)]
#: As a person would write it.
BY_HAND = f"""\
# Who may act. Ask the platform team.
---
certificates:   # of machines
  - name: gate
    role: alert
    dns: alertmanager.example.org   # the pair

tokens:
  # the pipeline
  - name: deploy
    role: operator   # not admin
    hash: {HASHES[0]}
    tasks:
      - "shop.*"
      - mail.send  # since May

  # people
  - hash: {HASHES[1]}
    name: alice
    role: admin
    comment: >
      until she
      leaves

  - {{name: bob, role: viewer, hash: "{HASHES[2]}"}}   # looks only
# the end
"""


def test_a_new_token_is_added_behind_the_others_and_nothing_else_changes() -> None:
    new = entry("new", tasks=["a.*", "*"], comment="# no: [comment]")
    text = with_token(BY_HAND, new, name="t.yml")
    assert names(text) == ["deploy", "alice", "bob", "new", "gate"]
    head, tail = BY_HAND.removesuffix("# the end\n"), "# the end\n"
    assert text.startswith(head + "  - name: new\n    role: operator\n")
    assert text.endswith(tail)
    assert strict_yaml.load(text, name="")["tokens"][-1] == new


@pytest.mark.parametrize(
    ("gone", "lines"),
    [
        ("gate", slice(3, 6)),
        ("deploy", slice(9, 15)),
        ("alice", slice(17, 23)),
        ("bob", slice(24, 25)),
    ],
)
def test_an_entry_that_goes_takes_its_lines_along(gone: str, lines: slice) -> None:
    text = without_entry(BY_HAND, gone, name="t.yml")
    assert names(text) == [n for n in ("deploy", "alice", "bob", "gate") if n != gone]
    left = BY_HAND.splitlines()
    removed = left[lines]
    del left[lines]
    assert any(gone in line for line in removed)
    # A blank line that a folded text ends with may go with it.
    assert [line for line in text.splitlines() if line] == [line for line in left if line]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "---\n",
        "# only words",
        "tokens:",
        "tokens:\n",
        "tokens:   # none yet\n",
        "tokens: []",
        "tokens: []   # none yet\ncertificates: []\n",
        "tokens: [\n]\n",
        "{}",
        "{tokens: []}",
        "{tokens: [], certificates: []}",
        f"tokens: [{{name: a, role: viewer, hash: {HASHES[0]}}}]\n",
        f"{{tokens: [{{name: a, role: viewer, hash: {HASHES[0]}}}]}}",
        "certificates:\n- {name: a, role: viewer, dns: x}",
        "certificates: [{name: a, role: viewer, dns: x}]\ntokens:\n",
        f"tokens:\n-   name: a\n    role: viewer\n    hash: {HASHES[0]}",
        f"tokens:\n    -\n        name: a\n        role: viewer\n        hash: {HASHES[0]}\n",
        f"tokens:\r\n- name: a\r\n  role: viewer\r\n  hash: {HASHES[0]}\r\n",
        f"tokens: &all\n- &x {{name: a, role: viewer, hash: {HASHES[0]}}}\n...\n",
        f"tokens:\n- name: a\n  hash: {HASHES[0]}\n  role: viewer\n  comment: |\n    x\n\n\n",
        f"tokens:\n- name: a\n  hash: {HASHES[0]}\n  role: viewer\n  comment:\n",
        f'"tokens":\n- "name": a\n  hash: {HASHES[0]}\n  role: viewer\n  tasks: ["a",\n "b"]\n',
    ],
)
def test_every_way_to_write_a_file_can_be_added_to_and_taken_from(text: str) -> None:
    before = names(text)
    more = with_token(text, entry("new", queues=["é*", "'\"#: x"]), name="t.yml")
    assert sorted(names(more)) == sorted([*before, "new"])
    for line in text.splitlines():
        if line.startswith("#"):
            assert line in more
    twice = with_token(more, entry("newer"), name="t.yml")
    assert sorted(names(twice)) == sorted([*before, "new", "newer"])
    less = without_entry(twice, "new", name="t.yml")
    assert sorted(names(less)) == sorted([*before, "newer"])
    for name in [*before, "newer"]:
        less = without_entry(less, name, name="t.yml")
    assert names(less) == []
    assert names(with_token(less, entry("last"), name="t.yml")) == ["last"]


a_name = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=8).filter(
    lambda name: name[0].isalnum()
)
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
globs = st.lists(
    words.filter(lambda glob: glob.strip() == glob != "" and glob.isprintable()),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(a_name, globs, words), max_size=6, unique_by=lambda made: made[0]))
def test_what_was_added_is_what_is_read_and_goes_again(
    made: list[tuple[str, list[str], str]],
) -> None:
    text = BY_HAND
    for name, tasks, comment in made:
        if name in ("deploy", "alice", "bob", "gate"):
            continue
        new = entry(name, tasks=tasks, comment=comment)
        text = with_token(text, new, name="t.yml")
        assert strict_yaml.load(text, name="")["tokens"][-1] == new
    for name in names(text):
        if name not in ("deploy", "alice", "bob", "gate"):
            text = without_entry(text, name, name="t.yml")
    assert text == BY_HAND


def test_a_name_is_there_once_and_known() -> None:
    for name in ("alice", "gate"):
        with pytest.raises(TokenNameError, match="already"):
            with_token(BY_HAND, entry(name), name="t.yml")
    with pytest.raises(TokenNameError, match="no such entry"):
        without_entry(BY_HAND, "mallory\x1b", name="t.yml")


def test_a_file_that_is_broken_is_not_made_worse() -> None:
    with pytest.raises(ConfigError):
        with_token("tokens: 3", entry("a"), name="t.yml")
    with pytest.raises(ConfigError):
        without_entry("tokens: 3", "a", name="t.yml")
    with pytest.raises(ConfigError, match="role"):
        with_token("", entry("a") | {"role": "root"}, name="t.yml")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tokens.yml"
    made.touch(0o600)
    made.write_text("tokens: []\n")
    return made


def test_the_file_is_replaced_as_a_whole(path: Path) -> None:
    old = path.open()
    change(path, lambda text: text + "# more\n")
    assert path.read_text() == "tokens: []\n# more\n"
    assert old.read() == "tokens: []\n", "who had it open reads the old one to its end"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(item.name for item in path.parent.iterdir()) == [
        "tokens.yml", "tokens.yml.lock",
    ]  # fmt: skip


def test_a_new_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.yml"
    before = os.umask(0)
    try:
        change(path, lambda text: text + "tokens: []\n", create=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(path).entries == ()
    with pytest.raises(FileError):
        change(tmp_path / "other.yml", lambda text: text)


def test_a_link_stays_one(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yml"
    link.symlink_to(path)
    change(link, lambda _: "# new\n")
    assert link.is_symlink()
    assert path.read_text() == "# new\n"


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileError, match="No space left"):
        change(path, lambda _: "# new\n")
    monkeypatch.undo()
    with pytest.raises(TokenNameError):
        change(path, lambda text: without_entry(text, "x", name="t"))
    assert path.read_text() == "tokens: []\n"
    assert {item.name for item in path.parent.iterdir()} == {"tokens.yml", "tokens.yml.lock"}


def test_one_writer_waits_for_the_other_but_not_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("z4j_exporter.actions.tokens_write._WAIT_SECONDS", 0.0)
    with path.with_name("tokens.yml.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FileError, match="another process"):
            change(path, lambda _: "# new\n")
    change(path, lambda _: "# new\n")
    assert path.read_text() == "# new\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_does_not_take_the_file_from_its_owner(path: Path) -> None:
    os.chown(path, 12345, 12346)
    change(path, lambda text: text + "# more\n")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_file_open_to_others_is_not_changed(path: Path) -> None:
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="others than its owner"):
        change(path, lambda _: "# new\n")
    assert path.read_text() == "tokens: []\n"
