"""The installed `trace`: of a running exporter with a real worker, of recordings, in a terminal."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.process import wait_until
from tests.support.scenarios import SCENARIOS
from tests.support.servers import Redis, run_command
from tests.support.stage import Stage, staged

PROGRAM = str(Path(sys.executable).with_name("z4j-exporter"))
RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
RETRIES = str(RECORDINGS / "retry_and_fail.jsonl")
#: The id of the only trace of RETRIES.
RETRIES_TRACE = "f415600d7bb346419a1b09c6a763c75e"

#: What a line of a tree has beside the name: offset, duration, who, how long it waited.
BESIDE = r" +\+[\d.]+ m?s +[\d.]+ m?s  \S+.*"


def test_of_a_running_exporter_by_the_id_of_any_task(valkey: Redis) -> None:
    memory = ("--trace-memory-spans", "1000")
    with (
        servers.exporter("--broker-url", valkey.url, *memory) as running,
        staged(valkey.url, SCENARIOS["visit_nested"]) as stage,
    ):
        uuids = sent(stage)
        listed = wait_until(lambda: lines("--url", running.url), 20)
        assert len(listed) == 1
        trace_id = uuids["web.visit"].replace("-", "")
        assert listed[0].startswith(f"{trace_id}  ")
        # The last task ends after the first, and so its spans come later.
        wait_until(lambda: "6 spans" in lines("--url", running.url)[0], 20)
        trees = {
            tuple(lines(wanted, "--url", running.url))
            for wanted in (*uuids.values(), trace_id, uuids["web.store"][:12])
        }
        assert len(trees) == 1
        tree = trees.pop()
        assert tree[0] == f"trace {trace_id} web.visit"
        shape = [
            r"send web\.visit", r"└ process web\.visit SUCCESS", r"  └ send web\.extract",
            r"    └ process web\.extract SUCCESS", r"      └ send web\.store",
            r"        └ process web\.store SUCCESS",
        ]  # fmt: skip
        for line, name in zip(tree[2:], shape, strict=True):
            assert re.fullmatch(name + BESIDE, line), line
        assert "w1@host1, waited " in tree[3]
        made = run_command("trace", trace_id, "--url", running.url, "--format", "otlp-json")
        assert made.returncode == 0, made.stderr
        assert len(json.loads(made.stdout)["resourceSpans"]) >= 2
        missing = run_command("trace", "f" * 32, "--url", running.url)
        assert missing.returncode == 12
        assert missing.stderr.startswith(f"z4j-exporter: {running.url}: no trace or task 'fff")


def test_an_exporter_that_keeps_none_says_so(valkey: Redis) -> None:
    with servers.exporter("--broker-url", valkey.url) as running:
        refused = run_command("trace", "--url", running.url)
    assert refused.returncode == 12
    assert "no traces are kept: start the exporter with --otlp-endpoint" in refused.stderr
    assert refused.stdout == ""


def test_of_a_recording() -> None:
    shown = run_command("trace", "--recording", RETRIES, RETRIES_TRACE, "--utc")
    assert shown.returncode == 0, shown.stderr
    tree = shown.stdout.splitlines()
    assert tree[0] == f"trace {RETRIES_TRACE} web.visit"
    assert tree[1].endswith("8 spans, 1 error, celery-producer, w")
    assert [line.split()[-2:] for line in tree if "retry" in line][-1] == ["retry", "3"]
    assert shown.stdout.count("HTTPError: 404 Not Found") == 4
    assert shown.stderr == ""


def test_of_standard_input_and_a_damaged_line() -> None:
    done = subprocess.run(
        [PROGRAM, "trace", "--recording", "-"],
        input=b"not a line\n" + Path(RETRIES).read_bytes(), capture_output=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.decode().startswith(RETRIES_TRACE)
    assert b"-, line 1: " in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--recording", "/nowhere.jsonl"), 5, "/nowhere.jsonl"),
        (("--recording", RETRIES, "0" * 32), 12, "no trace or task 000"),
        (("--url", "http://127.0.0.1:1"), 12, "no exporter answers at http://127.0.0.1:1"),
        (("--url", "ftp://x"), 3, "--url must begin with http://"),
        (("--url", "http://u:s3cr3t@127.0.0.1:1"), 3, "Z4J_EXPORTER_URL"),
        (("--all", "abc"), 2, "goes with neither"),
    ],
    ids=["no file", "no trace", "nobody", "no url", "password", "usage"],
)
def test_errors_are_a_sentence_and_an_exit_code(
    args: tuple[str, ...], code: int, said: str
) -> None:
    done = run_command("trace", *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cr3t" not in done.stderr


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    line = f"'{PROGRAM}' trace --recording '{RECORDINGS / 'demo.jsonl'}' --all | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=False)
    assert done.stdout.startswith(b"trace ")
    assert done.stderr == b""


@pytest.mark.parametrize("columns", [40, 80, 130])
def test_in_a_terminal_it_is_coloured_and_never_too_wide(columns: int) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(COLUMNS=str(columns), TERM="xterm", NO_COLOR="")
        os.execv(PROGRAM, [PROGRAM, "trace", "--recording", RETRIES, RETRIES_TRACE])  # noqa: S606
    shown = bytearray()
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # how a pseudo terminal ends
            break
        if not piece:
            break
        shown += piece
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    text = shown.decode()
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert "\x1b[31m" in text
    assert "\x1b[33m" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r", "").splitlines()
    assert max(map(len, plain)) <= columns
    assert len(plain) == 2 + 8 + 4
    assert ("━" in text) == (columns == 130)


def lines(*args: str) -> list[str]:
    """Run `trace` and return the lines it printed."""
    done = run_command("trace", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def sent(stage: Stage) -> dict[str, str]:
    """The ids of the tasks that were sent, by name."""
    events = [received.event for received in stage.listener.received]
    return {event["name"]: event["uuid"] for event in events if event["type"] == "task-sent"}
