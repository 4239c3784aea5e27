"""The key of the audit log: where it is looked for, when one is made, and what is refused."""

import re
from pathlib import Path

import pytest

from z4j_exporter.actions.audit_key import ENVIRONMENT_VARIABLE, beside, existing_key, find_key
from z4j_exporter.errors import ConfigError, FileError

TEXT = "k" * 32


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def key_file(path: Path, content: str = TEXT, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_the_first_start_makes_a_key_that_later_starts_find(log: Path) -> None:
    key = find_key(log, environment={})
    assert re.fullmatch(rb"[0-9a-f]{64}", key)
    assert beside(log).stat().st_mode & 0o777 == 0o600
    log.write_text("entries")
    assert find_key(log, environment={}) == existing_key(log, environment={}) == key


@pytest.mark.parametrize("name", ["audit.jsonl", "audit.jsonl.000001"])
def test_no_key_is_made_for_a_log_that_has_entries(log: Path, name: str) -> None:
    log.with_name(name).write_text("entries")
    with pytest.raises(ConfigError, match="key of the audit log is missing"):
        find_key(log, environment={})
    assert not beside(log).exists()


def test_a_file_goes_before_the_environment_and_that_before_what_was_made(
    log: Path, tmp_path: Path
) -> None:
    find_key(log, environment={})
    environment = {ENVIRONMENT_VARIABLE: "e" * 32}
    given = key_file(tmp_path / "key", f"{TEXT}\n")
    assert find_key(log, environment=environment) == b"e" * 32
    assert find_key(log, key_file=given, environment=environment) == TEXT.encode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(log: Path, tmp_path: Path, mode: int) -> None:
    given = key_file(tmp_path / "key", mode=mode)
    with pytest.raises(ConfigError, match="others than its owner"):
        find_key(log, key_file=given, environment={})


@pytest.mark.parametrize("content", ["", "short", "\n" * 40, "k" * 31, "k" * 4097])
def test_a_key_of_the_wrong_length_is_refused_and_not_shown(
    log: Path, tmp_path: Path, content: str
) -> None:
    given = key_file(tmp_path / "key", content)
    with pytest.raises(ConfigError, match="32 to 4096 characters") as error:
        find_key(log, key_file=given, environment={})
    assert not content.strip() or content.strip() not in str(error.value)


def test_a_key_file_that_is_not_there_is_a_sentence(log: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        find_key(log, key_file=tmp_path / "nowhere", environment={})
    with pytest.raises(FileError, match="nowhere"):
        find_key(tmp_path / "nowhere" / "audit.jsonl", environment={})
