"""``z4j-exporter audit verify`` as an auditor runs it: what it says, and its exit code."""

import json
from pathlib import Path

import pytest

from tests.support.servers import run_command
from z4j_exporter.actions.audit import AuditLog, Entry
from z4j_exporter.actions.audit_chain import Head
from z4j_exporter.actions.audit_key import find_key
from z4j_exporter.actions.model import Actor, Target, Verb

INTACT, CONFIG, FILE, NOT_INTACT = 0, 3, 5, 13
ACTOR = Actor("deploy-bot", "operator", "token")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def write(log: Path, count: int) -> Head:
    writer = AuditLog(log, find_key(log, environment={}), max_file_bytes=2_000)
    for number in range(count):
        writer.append(Entry("requested", Verb.RETRY, Target(task_id=f"t{number}"), ACTOR))
    writer.close()
    return writer.head


def test_an_intact_log_over_several_files(log: Path) -> None:
    head = write(log, 12)
    result = run_command("audit", "verify", str(log), "--head", str(head))
    assert (result.returncode, result.stderr) == (INTACT, "")
    first, second, third = result.stdout.splitlines()
    assert first.startswith("intact: 12 entries in 3 files")
    assert second == f"head: {head}"
    assert third.startswith("note: the key lies beside the log")


def test_one_changed_byte_is_found(log: Path) -> None:
    write(log, 4)
    log.write_bytes(log.read_bytes().replace(b'"task_id":"t2"', b'"task_id":"t9"'))
    result = run_command("audit", "verify", str(log))
    assert (result.returncode, result.stderr) == (NOT_INTACT, "")
    assert result.stdout.startswith(f"NOT INTACT: {log}, line 3: the line was changed")


def test_a_cut_at_the_end_is_found_against_the_head(log: Path) -> None:
    head = write(log, 4)
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    assert run_command("audit", "verify", str(log)).returncode == INTACT
    result = run_command("audit", "verify", str(log), "--head", f"{head.seq}:{head.mac[:16]}")
    assert result.returncode == NOT_INTACT
    assert "the log ends with entry 2, 4 is expected: cut at the end" in result.stdout


def test_for_programs(log: Path) -> None:
    head = write(log, 3)
    log.write_bytes(log.read_bytes() + b'{"seq":4,"torn')
    write(log, 1)
    result = run_command("audit", "verify", str(log), "--format", "json")
    assert result.returncode == INTACT
    document = json.loads(result.stdout)
    assert document["ok"] is True
    assert document["entries"] == head.seq + 2
    assert [place["line"] for place in document["recovered_places"]] == [4]


def test_the_settings_of_the_exporter_name_the_log(log: Path) -> None:
    write(log, 1)
    environment = {
        "Z4J_EXPORTER_ACTIONS_AUDIT_PATH": str(log),
        "Z4J_EXPORTER_ACTIONS_AUDIT_KEY_FILE": f"{log}.key",
    }
    assert run_command("audit", "verify", env=environment).returncode == INTACT


def test_what_is_torn_is_named(log: Path) -> None:
    write(log, 1)
    log.write_bytes(log.read_bytes() + b'{"seq":2,"torn')
    write(log, 1)
    result = run_command("audit", "verify", str(log))
    assert result.returncode == INTACT
    assert f"torn: {log}, line 2: 15 bytes" in result.stdout


def test_a_key_from_a_file_or_the_environment(log: Path, tmp_path: Path) -> None:
    write(log, 2)
    key = log.with_name("audit.jsonl.key").rename(tmp_path / "moved.key")
    assert run_command("audit", "verify", str(log)).returncode == FILE
    given = run_command("audit", "verify", str(log), "--key-file", str(key))
    assert given.returncode == INTACT
    assert "note:" not in given.stdout
    environment = {"Z4J_EXPORTER_ACTIONS_AUDIT_KEY": key.read_text().strip()}
    assert run_command("audit", "verify", str(log), env=environment).returncode == INTACT
    other = {"Z4J_EXPORTER_ACTIONS_AUDIT_KEY": "0" * 64}
    result = run_command("audit", "verify", str(log), env=other)
    assert result.returncode == NOT_INTACT
    assert "not the key" in result.stdout
    key.chmod(0o644)
    refused = run_command("audit", "verify", str(log), "--key-file", str(key))
    assert refused.returncode == CONFIG
    assert "others than its owner can read the audit key" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--head", "nonsense"], CONFIG, "a head must look like"),
        (["--after", "5"], CONFIG, "a head must look like"),
        (["--key-file", "/nowhere"], FILE, "/nowhere"),
    ],
)
def test_a_mistake_gets_a_sentence(log: Path, arguments: list[str], code: int, says: str) -> None:
    write(log, 1)
    result = run_command("audit", "verify", str(log), *arguments)
    assert result.returncode == code
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_in_the_log_reaches_the_terminal_unescaped(log: Path) -> None:
    write(log, 1)
    odd = log.with_name("odd\x1b[2J\n.jsonl")
    for suffix in ("", ".key"):
        log.with_name(f"{log.name}{suffix}").rename(f"{odd}{suffix}")
    odd.write_bytes(b"\x1b[2J" + odd.read_bytes())
    result = run_command("audit", "verify", str(odd))
    assert result.returncode == NOT_INTACT
    assert "\x1b" not in result.stdout
