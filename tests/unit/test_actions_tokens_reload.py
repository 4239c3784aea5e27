"""A token file that changes while it is in force; tests call each look themselves."""

import os
import threading
from pathlib import Path

import pytest

from tests.support.process import wait_until
from z4j_exporter.actions.tokens import digest, make_token, stored
from z4j_exporter.actions.tokens_reload import TokenFile
from z4j_exporter.actions.tokens_stats import AccessStats
from z4j_exporter.errors import ConfigError, FileError

A, B = make_token(), make_token()


def entries(*tokens: str) -> str:
    return "tokens:\n" + "".join(
        f"- {{name: t{number}, role: viewer, hash: {stored(token)}}}\n"
        for number, token in enumerate(tokens)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tokens.yml"
    made.touch(0o600)
    made.write_text(entries(A))
    return made


def good(file: TokenFile, token: str) -> bool:
    return file.tokens().of_token(digest(token)) is not None


def test_nothing_changed(path: Path) -> None:
    stats = AccessStats()
    file = TokenFile(path, stats)
    before = file.tokens()
    assert not file.check()
    os.utime(path, (1, 1))
    assert not file.check()
    assert file.tokens() is before
    assert (stats.reloads_ok, stats.reloads_failed, stats.last_reload_ok) == (0, 0, True)
    assert stats.entries == {"token": 1, "certificate": 0}


def test_a_change_takes_effect(path: Path) -> None:
    stats = AccessStats()
    file = TokenFile(path, stats)
    path.write_text(entries(A, B) + "certificates:\n- {name: c, role: viewer, dns: x}\n")
    assert file.check()
    assert good(file, A)
    assert good(file, B)
    assert stats.entries == {"token": 2, "certificate": 1}
    path.write_text(entries(B))
    assert file.check()
    assert not good(file, A)
    assert stats.reloads_ok == 2


def test_a_change_that_keeps_size_inode_and_times_takes_effect(path: Path) -> None:
    file = TokenFile(path, AccessStats())
    before = path.stat()
    path.write_text(entries(B))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_ino) == (before.st_size, before.st_ino)
    assert file.check()
    assert not good(file, A)


def test_a_link_that_turns_takes_effect(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    other.touch(0o600)
    other.write_text(entries(B))
    link = tmp_path / "link.yml"
    link.symlink_to(path)
    file = TokenFile(link, AccessStats())
    turned = tmp_path / "turned"
    turned.symlink_to(other)
    turned.rename(link)
    assert file.check()
    assert good(file, B)


def test_a_broken_change_keeps_what_was_and_is_said_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stats = AccessStats()
    file = TokenFile(path, stats)
    path.write_text(entries(A, B) + f"  hash: {B}\n- {{}}\n")
    assert [file.check() for _ in range(3)] == [False] * 3
    assert good(file, A)
    assert not good(file, B), "nothing of a broken file comes in"
    assert (stats.reloads_failed, stats.last_reload_ok) == (1, False)
    assert caplog.text.count("is refused") == 1
    assert B not in caplog.text
    path.write_text(entries(A, B) + "- {}\n- {}\n")
    assert not file.check()
    assert stats.reloads_failed == 2, "another change, another count"
    path.write_text(entries(B))
    assert file.check()
    assert (stats.reloads_ok, stats.last_reload_ok) == (1, True)
    assert not good(file, A)


def test_a_file_that_is_gone_or_open_to_others_keeps_what_was(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stats = AccessStats()
    file = TokenFile(path, stats)
    away = path.with_name("away")
    path.rename(away)
    assert [file.check() for _ in range(3)] == [False] * 3
    assert good(file, A)
    assert (stats.reloads_failed, stats.last_reload_ok) == (1, False)
    assert caplog.text.count("No such file") == 1
    away.rename(path)
    assert file.check(), "it is back, and that shows"
    assert (stats.reloads_ok, stats.last_reload_ok) == (1, True)
    assert not file.check()

    path.write_text(entries(B))
    path.chmod(0o644)
    assert not file.check()
    assert good(file, A)
    assert not good(file, B)
    path.chmod(0o600)
    assert file.check()
    assert good(file, B)


def test_what_was_broken_stays_so_after_it_was_away(path: Path) -> None:
    stats = AccessStats()
    file = TokenFile(path, stats)
    path.write_text("tokens: 3")
    assert not file.check()
    path.chmod(0o644)
    assert not file.check()
    path.chmod(0o600)
    assert not file.check()
    assert (stats.reloads_failed, stats.last_reload_ok) == (3, False)
    assert good(file, A)


def test_all_tokens_end_with_an_empty_list(path: Path) -> None:
    file = TokenFile(path, AccessStats())
    path.write_text("tokens: []\n")
    assert file.check()
    assert not good(file, A)


def test_a_fault_of_ours_does_not_end_the_looking(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = AccessStats()
    file = TokenFile(path, stats)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("z4j_exporter.actions.tokens_reload.parse", fail)
        path.write_text(entries(B))
        assert not file.check()
    assert not stats.last_reload_ok
    path.write_text(entries(A, B))
    assert file.check()


def test_the_first_file_must_be_good(tmp_path: Path) -> None:
    path = tmp_path / "t.yml"
    with pytest.raises(FileError, match="No such file"):
        TokenFile(path, AccessStats())
    path.write_text("tokens: 3")
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        TokenFile(path, AccessStats())


def test_the_thread_looks_by_itself_and_stops(path: Path) -> None:
    file = TokenFile(path, AccessStats())
    file.start()
    file.start()
    threads = [thread for thread in threading.enumerate() if thread.name == "z4j-tokens"]
    assert len(threads) == 1
    try:
        path.write_text("tokens: []\n")
        wait_until(lambda: not good(file, A), 10)
    finally:
        file.stop()
    assert not threads[0].is_alive()
