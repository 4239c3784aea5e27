"""The installed `action`: a running exporter, a real worker; in scripts and at terminals."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.actions import ActionsStage
from tests.support.process import free_port, listening, wait_until
from tests.support.servers import run_command

PROGRAM = str(Path(sys.executable).with_name("z4j-exporter"))


@dataclass
class Bench:
    """A worker, an exporter with actions, and people with tokens."""

    stage: ActionsStage
    exporter: servers.Exporter
    environment: dict[str, str]
    directory: Path

    def run(self, *args: str, role: str = "admin") -> "subprocess.CompletedProcess[str]":
        return run_command("action", *args, env=self.environment_of(role))

    def environment_of(self, role: str) -> dict[str, str]:
        file = str(self.directory / f"{role}.token")
        return self.environment | {"Z4J_EXPORTER_ACTIONS_BEARER_TOKEN_FILE": file}

    def document(self, *args: str, role: str = "admin", code: int = 0) -> dict[str, Any]:
        done = self.run(*args, "--output", "json", role=role)
        assert done.returncode == code, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def known_as(self, task_id: str, state: str) -> None:
        """Wait until the exporter has heard it."""

        def heard() -> bool:
            done = self.run("show", task_id, "--as", "task", "--output", "json")
            return done.returncode == 0 and json.loads(done.stdout)["state"] == state

        wait_until(heard, 20, f"{task_id} {state}", every=0.2)

    def failed(self, *args: Any) -> str:
        """Let a task fail, and return its id."""
        down = self.stage.directory / "down"
        down.touch()
        task_id = self.stage.send("record.fail", *args)
        self.stage.wait_for(task_id, "FAILURE")
        self.known_as(task_id, "failed")
        down.unlink()
        return task_id


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("actions")
    tokens = directory / "tokens.yml"
    for role in ("viewer", "operator", "admin"):
        made = run_command("token", "new", role, "--role", role, "--file", str(tokens))
        assert made.returncode == 0, made.stderr
        (directory / f"{role}.token").write_text(made.stdout)
    port = free_port()
    with servers.valkey() as broker:
        stage = ActionsStage(broker.url, f"{broker.url.removesuffix('/0')}/1")
        stage.worker()
        running = servers.exporter(
            "--broker-url", stage.broker, "--actions", "--actions-token-file", str(tokens),
            "--actions-listen-address", f"127.0.0.1:{port}",
            "--actions-journal-path", str(directory / "journal"),
            "--actions-audit-path", str(directory / "audit"),
            env={"Z4J_EXPORTER_RESULT_BACKEND_URL": stage.backend},
        )  # fmt: skip
        with running:
            wait_until(lambda: listening(port), 10)
            url = f"http://127.0.0.1:{port}"
            yield Bench(stage, running, {"Z4J_EXPORTER_ACTIONS_URL": url}, directory)
        stage.stop()


def test_a_failed_task_is_sent_again_by_its_id(bench: Bench) -> None:
    task_id = bench.failed(1, "ü")
    looked = bench.run("retry", task_id, "--dry-run", role="operator")
    assert looked.returncode == 0, looked.stderr
    assert looked.stdout.startswith(f"task {task_id} would be sent again\n")
    asked = bench.run("retry", task_id, role="operator")
    assert asked.returncode == 2
    assert "say --yes" in asked.stderr
    made = bench.document("retry", task_id, "--yes", role="operator")
    call = bench.stage.written("call", made["new_task_id"])
    assert (call["args"], call["retry_of"]) == ((1, "ü"), task_id)
    again = bench.run("retry", task_id, "--yes")
    assert again.returncode == 15
    assert again.stdout == ""
    assert "z4j-exporter: The task was sent again before. [already-retried]" in again.stderr
    shown = bench.run("show", task_id, role="viewer")
    assert f"task id {made['new_task_id']}" in shown.stdout


def test_what_a_viewer_is_refused(bench: Bench) -> None:
    problem = bench.document("terminate", "some-task", "--yes", role="viewer", code=15)
    assert problem["status"] == 403


def test_a_running_task_is_ended_and_a_waiting_one_never_starts(bench: Bench) -> None:
    running = bench.stage.send("work.wait", 60)
    bench.stage.written("running", running)
    waiting = bench.stage.send("record")
    bench.known_as(waiting, "reserved")
    cancelled = bench.run("cancel", waiting, "--yes", role="operator")
    assert cancelled.returncode == 0, cancelled.stderr
    assert cancelled.stdout.startswith(f"task {waiting} was revoked")
    ended = bench.run("terminate", running, "--yes", role="operator")
    assert ended.returncode == 0, ended.stderr
    bench.stage.written("sigterm", running)
    after = bench.stage.send("record")
    bench.stage.written("call", after)
    assert not bench.stage.wrote("call", waiting)


def test_a_queue_is_counted_then_emptied(bench: Bench) -> None:
    for _ in range(3):
        bench.stage.send("record", queue="spare")
    looked = bench.document("purge", "spare", "--dry-run")
    assert looked["result"]["messages"] == 3
    confirm = looked["result"]["confirm"]
    asked = ("purge", "spare", "--yes", "--confirm", confirm, "--idempotency-key", "k")
    done = bench.run(*asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("removed from queue spare: 3 messages\n")
    bench.stage.send("record", queue="spare")
    again = bench.run(*asked)
    assert again.returncode == 0
    assert "nothing was done now" in again.stderr
    left = bench.run("purge", "spare", "--yes")
    assert left.stdout.startswith("removed from queue spare: 1 message\n")
    assert "1 message would be removed" in left.stderr
    assert bench.run("purge", "no-such-queue", "--yes").returncode == 15


def test_many_are_sent_again_and_each_is_told(bench: Bench) -> None:
    failed = [bench.failed(number) for number in range(3)]
    ids = "".join(f"{task_id}\n" for task_id in [*failed, "not-known"])
    done = subprocess.run(
        [PROGRAM, "action", "bulk-retry", "--ids-file", "-", "--yes", "--output", "json"],
        input=ids, text=True, capture_output=True, timeout=60, check=False,
        env={**os.environ, **bench.environment_of("operator")},
    )  # fmt: skip
    assert done.returncode == 17, done.stderr
    job = json.loads(done.stdout)
    assert [item["state"] for item in job["items"]] == ["sent", "sent", "sent", "refused"]
    for number, item in enumerate(job["items"][:3]):
        assert bench.stage.written("call", item["new_task_id"])["args"] == (number,)
    assert re.search(r"idempotency key: [0-9a-f-]{36}", done.stderr)


# -- at a terminal ---------------------------------------------------------------------------


class Terminal:
    """A command at a pseudo terminal."""

    def __init__(self, *args: str, env: dict[str, str]) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            # A shell that runs the tests in the background has them ignore it, children too.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.environ.update(env, TERM="xterm", COLUMNS="100")
            os.execv(PROGRAM, [PROGRAM, *args])  # noqa: S606
        self.shown = ""

    def until(self, wanted: str) -> None:
        """Read until this is shown."""
        while wanted not in self.shown:
            piece = self._read()
            assert piece, f"{wanted!r} is not in {self.shown!r}"

    def write(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bytes:
        ready, _, _ = select.select([self._terminal], [], [], 30)
        assert ready, f"nothing more came after {self.shown!r}"
        try:
            piece = os.read(self._terminal, 65536)
        except OSError:  # how a pseudo terminal ends
            return b""
        self.shown += piece.decode(errors="replace")
        return piece


def test_at_a_terminal_it_shows_and_asks(bench: Bench) -> None:
    task_id = bench.failed("asked")
    for answer, code in (("n", 20), ("y", 0)):
        terminal = Terminal("action", "retry", task_id, env=bench.environment_of("operator"))
        terminal.until(f"Send task {task_id} again? [y/N]: ")
        assert f"task {task_id} would be sent again" in terminal.shown
        terminal.write(f"{answer}\n")
        assert terminal.end() == code, terminal.shown
    new = bench.document("show", task_id, "--as", "task")["retried_as"]
    assert len(new) == 1


def test_ctrl_c_leaves_the_job_at_work(bench: Bench) -> None:
    failed = [bench.failed(number) for number in range(4)]
    ids = bench.directory / "ids"
    ids.write_text("\n".join(failed))
    terminal = Terminal(
        "action", "bulk-retry", "--ids-file", str(ids), "--rate", "0.25", "--yes",
        env=bench.environment_of("operator"),
    )  # fmt: skip
    terminal.until("1/4")  # twelve seconds are left: enough to interrupt it on a slow machine
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.end() == 130, terminal.shown
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.shown)
    assert "the job goes on in the exporter" in plain
    found = re.search(r"z4j-exporter action show (\S+) --follow", plain)
    assert found, plain
    followed = bench.document("show", found[1], "--follow")
    assert followed["counts"] == {"sent": 4}
    for item in followed["items"]:
        bench.stage.written("call", item["new_task_id"])


# -- when the exporter does not answer -------------------------------------------------------


def test_an_answer_that_is_late_is_asked_for_again_by_its_key(bench: Bench) -> None:
    task_id = bench.failed("late")
    asked = ("retry", task_id, "--yes", "--idempotency-key", "late-1")
    bench.exporter.pause()
    try:
        late = bench.run(*asked, "--timeout", "1")
    finally:
        bench.exporter.resume()
    assert late.returncode == 18, late.stderr
    assert "it may have happened" in late.stderr
    assert "--idempotency-key late-1 tells what came of it" in late.stderr

    def told() -> "subprocess.CompletedProcess[str]":
        # In flight for a moment, where the exporter took the first one when it went on.
        done = bench.run(*asked, "--output", "json")
        return done if "in-flight" not in done.stderr else None  # type: ignore[return-value]

    done = wait_until(told, 20)
    assert done.returncode == 0, done.stderr
    bench.stage.written("call", json.loads(done.stdout)["new_task_id"])
    assert len(bench.document("show", task_id, "--as", "task")["retried_as"]) == 1


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--url", "http://127.0.0.1:1"), 19, "no actions API answers at http://127.0.0.1:1"),
        (("--url", "http://10.0.0.1:1"), 3, "in the clear"),
        (("--url", "ftp://x"), 3, "--url must begin with http://"),
        (("--token-file", "/nowhere"), 5, "/nowhere cannot be read"),
        (("--token-file", __file__), 3, "holds no token"),
        (("--no-such-option",), 2, "no-such-option"),
    ],
)
def test_errors_are_a_sentence_and_an_exit_code(
    bench: Bench, args: tuple[str, ...], code: int, said: str
) -> None:
    done = bench.run("retry", "some-task", "--yes", *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_address_of_the_metrics_is_not_that_of_the_actions(bench: Bench) -> None:
    done = bench.run("retry", "some-task", "--yes", "--url", bench.exporter.url)
    assert done.returncode == 15
    assert "no answer of the actions API" in done.stderr
    assert "port 9809" in done.stderr
