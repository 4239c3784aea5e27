"""What a user gets who types something wrong: one sentence, a hint, an exit code, no traceback."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.servers import run_command

USAGE, CONFIG, URL, FILE, LISTEN, APP = 2, 3, 4, 5, 6, 7

CASES: list[tuple[Sequence[str], int, str]] = [
    (["run"], CONFIG, "no broker is configured"),
    (["run", "-b", ""], CONFIG, "no broker is configured"),
    (["run", "-b", "foo"], URL, "no scheme"),
    (["run", "-b", "sqs://"], URL, "cannot carry events"),
    (["run", "-b", "sqla+sqlite:///x.db"], URL, "Celery sends no events over SQL"),
    (["run", "-b", "zookeeper://h"], URL, "cannot carry events"),
    (["run", "-b", "redsi://h"], URL, "redis"),
    (["run", "-b", "redis://h:99999/0"], URL, "port"),
    (["run", "-b", "redis://h/zero"], URL, "number"),
    (["run", "-b", "sentinel://h:26379"], CONFIG, "master"),
    (["run", "-A", "nope_nope:app"], APP, "nope_nope"),
    (["run", "-A", "json"], APP, "Celery application"),
    (["run", "--recording", "/nowhere.jsonl"], FILE, "/nowhere.jsonl"),
    (["run", "--config", "/nowhere.yml"], FILE, "/nowhere.yml"),
    (["run", "-b", "redis://h", "--web-config-file", "/nowhere.yml"], FILE, "/nowhere.yml"),
    (["run", "-b", "redis://h", "--max-tasks", "many"], CONFIG, "--max-tasks"),
    (["run", "-b", "redis://h", "--buckets", "x=1"], CONFIG, "--buckets"),
    (["run", "-b", "redis://h", "--task-label-deny", "("], CONFIG, "--task-label-deny"),
    (["run", "-b", "redis://h", "--worker-label-rewrite", "x"], CONFIG, "--worker-label-rewrite"),
    (["run", "-b", "redis://h", "--metrics-profile", "graphite"], CONFIG, "--metrics-profile"),
    (["run", "-b", "redis://h", "--listen-address", "nine"], LISTEN, "nine"),
    (["run", "-b", "redis://h", "--listen-address", "192.0.2.1:9"], LISTEN, "192.0.2.1"),
    (["run", "--nonsense"], USAGE, "--nonsense"),
    (["nonsense"], USAGE, "nonsense"),
    (["replay", "/nowhere.jsonl"], FILE, "/nowhere.jsonl"),
    (["events"], CONFIG, "no broker is configured"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), CASES, ids=lambda v: str(v)[:60])
def test_a_mistake_gets_a_sentence(arguments: Sequence[str], code: int, says: str) -> None:
    result = run_command(*arguments)
    assert result.returncode == code, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    if code != USAGE:
        first, *_ = result.stderr.splitlines()
        assert first.startswith("z4j-exporter: ")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@localhost:x/0",
        "redis://:hun/ter2hunter2@localhost/0",
        "amqp://user:hunter2@host:x//",
        "amqp://user:hunt/hunter2@host//",
        "sqla+postgresql://u:hunter2@h/db",
        "rediss://:hunter2@localhost?ssl_bogus=hunter2",
    ],
)
def test_no_mistake_shows_the_password(url: str) -> None:
    result = run_command("run", "--broker-url", url)
    assert result.returncode in (CONFIG, URL)
    assert "hunter2" not in result.stderr + result.stdout


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run_command("run", "-b", "redis://h", "--listen-address", address)
    assert result.returncode == LISTEN
    assert address in result.stderr


def test_a_misspelt_variable_is_a_warning_and_no_error() -> None:
    environment = {
        "Z4J_EXPORTER_BROKER_URl": "redis://:hunter2@h",
        "Z4J_EXPORTER_PORT": "tcp://10.0.0.1:9808",
    }
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run_command("run", "-b", "redis://h", "--listen-address", address, env=environment)
    assert result.returncode == LISTEN
    warnings = [line for line in result.stderr.splitlines() if "is ignored" in line]
    assert len(warnings) == 1
    assert "Z4J_EXPORTER_BROKER_URl is ignored" in warnings[0]
    assert "did you mean Z4J_EXPORTER_BROKER_URL?" in warnings[0]
    assert "hunter2" not in result.stderr


def test_help_and_version() -> None:
    assert run_command("--version").stdout.startswith("z4j-exporter, version ")
    listed = run_command("--help").stdout
    assert all(name in listed for name in ("run", "demo", "events", "replay", "metrics"))


def test_the_catalogue_stands_in_the_documentation() -> None:
    """docs/metrics.md holds what the command prints: it cannot fall behind."""
    document = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    printed = run_command("metrics", "--format", "markdown").stdout
    missing = [line for line in printed.splitlines() if line not in document]
    assert not missing, f"run: z4j-exporter metrics --format markdown  ({os.linesep.join(missing)})"


def test_the_catalogue_as_a_table() -> None:
    shown = run_command("metrics").stdout
    assert "celery_task_failed_total" in shown
    assert "celery_exporter_source_gaps_total" in shown
