"""``z4j-exporter demo`` as people run it: it shows everything, and leaves nothing behind."""

import os
import pty
import re
import signal
import socket
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.otlp_receiver import receiving
from tests.support.process import Process, scratch, start, wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="leftovers are found in /proc, and only Linux ties processes"
)

COMMAND = str(Path(sys.executable).with_name("z4j-exporter"))
#: Carried by every process that descends from a demo, whatever its group or parent is by then.
MARK = "Z4J_TEST_MARK"
#: Seconds a demo may take to be in full swing, on a busy machine.
START_SECONDS = 60.0
#: Seconds it may take to end: workers 4, exporter 10, broker 2, and some.
STOP_SECONDS = 25.0


@dataclass
class Demo:
    """Where one demo runs and how its processes are known."""

    directory: Path
    mark: str

    @property
    def temporary(self) -> Path:
        return self.directory / "tmp"

    def environment(self) -> dict[str, str]:
        return {
            MARK: self.mark,
            "TMPDIR": str(self.temporary),
            # Somebody's real broker, which must not get the demo's tasks: nothing listens there.
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
            "TERM": "xterm",
        }

    def start(self, *options: str) -> Process:
        command = [COMMAND, "demo", *options]
        return start("demo", command, directory=self.directory, env=self.environment())

    def processes(self) -> dict[int, str]:
        """Return the demo's living processes: process id → command line."""
        needle = f"{MARK}={self.mark}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                # A zombie has neither: it is gone.
                environment = (entry / "environ").read_bytes().split(b"\0")
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            # The broker writes its title over its environment; its socket is in the title.
            if needle in environment or str(self.temporary) in line:
                found[int(entry.name)] = line
        return found

    def in_full_swing(self, process: Process) -> str:
        """Wait until the traffic runs, and return the URL to open."""
        wait_until(
            lambda: "Open http" in process.output() or process.popen.poll() is not None,
            START_SECONDS,
            process.output,
        )
        url = re.search(r"Open (http://\S+)/ ", process.output())
        assert url, process.output()
        # The broker, two workers with four processes each, the traffic, and the demo itself.
        wait_until(lambda: len(self.processes()) >= 13, 10, lambda: str(self.processes()))
        return url[1]

    def nothing_left(self) -> None:
        """Assert that no process lives on; killed ones may take a moment."""
        wait_until(lambda: not self.processes(), 5, lambda: f"left behind: {self.processes()}")


@pytest.fixture
def demo() -> Iterator[Demo]:
    made = Demo(scratch("demo"), uuid.uuid4().hex)
    made.temporary.mkdir()
    yield made
    for pid in made.processes():
        os.kill(pid, signal.SIGKILL)


def test_once_ends_well_when_every_transition_has_shown(demo: Demo) -> None:
    process = demo.start("--once", "--listen-address", "127.0.0.1:0")
    code = process.wait(150)
    output = process.output()
    assert code == 0, output
    assert re.search(r"All \d+ transitions have shown", output)
    for title in ("retried, then failed", "rejected and put back", "expired", "nested workflow"):
        assert f"✓ {title}:" in output
    assert "Traceback" not in output
    # The trace at the end: its heading, and what the task has started below it.
    tree = output.partition("One of its traces:\n")[2].splitlines()
    assert re.fullmatch(r"orders\.publish  [\d.]+ s, 22 spans  [0-9a-f]{32}", tree[0]), output
    assert tree[1].startswith("orders.publish SUCCESS")
    started = [line.split()[1] for line in tree if line[:1] in "├└"]
    thumbnails = ["media.thumbnail"] * 3
    assert sorted(started) == sorted([*thumbnails, "orders.charge", "orders.place"])
    below = " ".join(line for line in tree if line[:1] in "│ ")
    for task in ("media.album SUCCESS", "orders.receipt SUCCESS", "CardDeclinedError: no answer"):
        assert task in below
    demo.nothing_left()
    assert list(demo.temporary.iterdir()) == []


def test_spans_go_to_an_endpoint_and_are_shown_as_well(demo: Demo) -> None:
    with receiving() as receiver:
        process = demo.start("--otlp", receiver.endpoint, "--listen-address", "127.0.0.1:0")
        url = demo.in_full_swing(process)
        wait_until(lambda: len(receiver.spans()) >= 20, 30, process.output)

        def kept() -> set[str]:
            traces = httpx.get(f"{url}/traces", timeout=5).json()["traces"]
            return {each["trace_id"] for each in traces}

        # Spans are sent a second after they were made, and the page shows the latest only.
        wait_until(lambda: {span.trace_id for span in receiver.spans()} & kept(), 20)
        process.signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0, process.output()
    demo.nothing_left()


def test_once_names_what_is_missing(demo: Demo) -> None:
    process = demo.start("--once", "--duration", "0.5", "--listen-address", "127.0.0.1:0")
    code = process.wait(100)
    output = process.output()
    assert code == 8, output
    assert "have not shown on /metrics within 0.5 seconds" in output
    assert 'celery_task_failed_total{exception="WorkerLostError"}' in output
    assert "Traceback" not in output
    demo.nothing_left()


def test_duration_a_taken_port_and_a_log_file(demo: Demo) -> None:
    log = demo.directory / "all.log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = demo.start("--duration", "5", "--listen-address", address, "--log-file", str(log))
        code = process.wait(120)
    output = process.output()
    assert code == 0, output
    assert "in use" in output
    assert "took a free port" in output
    assert f"Open http://{address}/" not in output
    # No terminal: lines instead of a live view.
    assert re.search(r"^\d+ events/s; tasks: \d+ sent", output, re.MULTILINE), output
    assert "\x1b" not in output
    assert "demo1@sample ready" in log.read_text()
    demo.nothing_left()
    assert list(demo.temporary.iterdir()) == []


def test_sigterm_leaves_nothing_behind(demo: Demo) -> None:
    process = demo.start("--listen-address", "127.0.0.1:0")
    url = demo.in_full_swing(process)
    assert "celery_worker_up" in httpx.get(f"{url}/metrics", timeout=5).text
    process.signal(signal.SIGTERM)
    assert process.wait(STOP_SECONDS) == 0, process.output()
    demo.nothing_left()
    assert list(demo.temporary.iterdir()) == []


def test_sigkill_leaves_no_process_behind(demo: Demo) -> None:
    process = demo.start("--listen-address", "127.0.0.1:0")
    demo.in_full_swing(process)
    # Only the demo itself: what it has started must notice by itself.
    process.signal(signal.SIGKILL)
    process.wait(5)
    demo.nothing_left()


def test_a_worker_that_dies_ends_the_demo_with_its_log(demo: Demo) -> None:
    process = demo.start("--listen-address", "127.0.0.1:0")
    demo.in_full_swing(process)
    # The worker itself was started first, its pool later.
    worker = min(pid for pid, line in demo.processes().items() if "demo2@sample" in line)
    os.kill(worker, signal.SIGKILL)
    assert process.wait(STOP_SECONDS) == 8, process.output()
    output = process.output()
    assert "demo2@sample has ended by itself (exit code -9)" in output
    assert "demo2@sample ready" in output or "ForkPoolWorker" in output
    assert "Traceback" not in output
    demo.nothing_left()


def test_ctrl_c_in_a_terminal_ends_the_live_view_and_everything(demo: Demo) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, **demo.environment(), "COLUMNS": "100", "LINES": "60"}
        os.execve(COMMAND, [COMMAND, "demo", "--listen-address", "127.0.0.1:0"], environment)  # noqa: S606
    os.set_blocking(terminal, False)
    shown = bytearray()

    def read() -> bytes:
        try:
            shown.extend(os.read(terminal, 65536))
        except BlockingIOError:
            pass
        except OSError:
            return b"closed"
        return bytes(shown)

    wait_until(lambda: b"Slowest tasks" in read() and b"crawl.visit" in shown, START_SECONDS)
    wait_until(lambda: "─ Traces ─".encode() in read(), START_SECONDS)
    os.write(terminal, b"\x03")

    def ended() -> tuple[int, int] | None:
        read()
        gone, status = os.waitpid(pid, os.WNOHANG)
        return (gone, status) if gone else None

    end = wait_until(ended, STOP_SECONDS, lambda: shown.decode(errors="replace")[-2000:])
    os.close(terminal)
    assert end is not None
    assert os.waitstatus_to_exitcode(end[1]) == 0, shown.decode(errors="replace")[-2000:]
    # The alternate screen is left, the cursor is back.
    assert b"\x1b[?1049l" in shown
    assert b"\x1b[?25h" in shown
    assert b"Traceback" not in shown
    demo.nothing_left()
    assert list(demo.temporary.iterdir()) == []
