"""Starts a server as a child process, waits until it answers, stops it by its pid."""

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

Result = TypeVar("Result")

#: Every log written since the list was last cleared: (name of the server, file).
#: The report of a failed test shows their ends (tests/conftest.py).
LOGS: list[tuple[str, Path]] = []

_root: Path | None = None

#: Ports of the first test process, and how many each has.
_FIRST_PORT, _PORTS_EACH = 12_000, 2_000
_ports = itertools.count(os.getpid())


def scratch(name: str) -> Path:
    """Make a directory of its own for one server; all go when the test session ends."""
    global _root
    if _root is None:
        _root = Path(tempfile.mkdtemp(prefix="z4j-tests-"))
        # For those who start servers outside pytest.
        atexit.register(_remove_at_exit, os.getpid())
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_root))


def remove_scratch() -> None:
    """Remove every server's directory."""
    global _root
    if _root is not None:
        shutil.rmtree(_root, ignore_errors=True)
        _root = None


def _remove_at_exit(owner_pid: int) -> None:
    if os.getpid() == owner_pid:  # not in a forked child
        remove_scratch()


def require(program: str, *more_places: str) -> str:
    """Return the path of a program; when it is not installed, skip, or fail where CI=true."""
    found = shutil.which(program) or next((p for p in more_places if os.access(p, os.X_OK)), None)
    if found:
        return found
    sentence = f"{program} is not installed (make test installs it when run as root)"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


def free_port() -> int:
    """Return a TCP port that is free on the loopback address, and that no other caller gets.

    Below the ports that the kernel gives to outgoing connections, and for each of several test
    processes a range of its own: nobody takes it between this call and the server's start.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = _FIRST_PORT + int(worker) * _PORTS_EACH
    for _ in range(_PORTS_EACH):
        port = first + next(_ports) % _PORTS_EACH
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"none of {_PORTS_EACH} ports from {first} is free")


def wait_until(
    predicate: Callable[[], Result],
    timeout: float = 10.0,
    message: str | Callable[[], str] = "",
    *,
    every: float = 0.02,
) -> Result:
    """Call ``predicate`` until it returns something true, and return that.

    Raises AssertionError with ``message`` after ``timeout`` seconds. What the predicate raises
    passes through, but OSError and httpx errors, which mean "not yet" while a server starts.
    """
    deadline = time.monotonic() + timeout
    last: BaseException | None = None
    while True:
        try:
            result = predicate()
        except Exception as error:
            if not isinstance(error, OSError) and not type(error).__module__.startswith("httpx"):
                raise
            last = error
        else:
            last = None
            if result:
                return result
        if time.monotonic() > deadline:
            text = message() if callable(message) else message
            why = f" (last error: {last!r})" if last else ""
            raise AssertionError(f"not within {timeout:g} s: {text or predicate}{why}")
        time.sleep(every)


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


@dataclass
class Process:
    """A running child process in a process group of its own, with its log."""

    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path
    stop_seconds: float = 10.0
    #: What to release after the process has ended.
    on_stop: list[Callable[[], Any]] = field(default_factory=list)

    def output(self) -> str:
        """Everything the process has written so far."""
        return self.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process id of the child itself."""
        return self.popen.pid

    def signal(self, number: int) -> None:
        """Send a signal to the child (not to its group)."""
        self.popen.send_signal(number)

    def pause(self) -> None:
        """Stop it as a hung machine would: its sockets stay open, nothing is answered."""
        os.killpg(self.popen.pid, signal.SIGSTOP)
        wait_until(lambda: stands_still(self.popen.pid), message=f"{self.name} goes on")

    def resume(self) -> None:
        """Let a paused process go on."""
        os.killpg(self.popen.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it and its children without a chance to say goodbye; return when it is gone."""
        self._signal_group(signal.SIGKILL)
        self.popen.wait(10)

    def wait(self, timeout: float) -> int:
        """Wait for its end and return the exit code."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout:g} s") from None

    def stop(self) -> int:
        """Ask it to end (SIGTERM), kill it after ``stop_seconds``; return the exit code."""
        if self.popen.poll() is None:
            self._signal_group(signal.SIGCONT)
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(self.stop_seconds)
        # Children that outlived their parent (a pool's, say) are ours to end too.
        self._signal_group(signal.SIGKILL)
        code = self.popen.wait(10)
        while self.on_stop:
            self.on_stop.pop()()
        return code

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def stands_still(pid: int) -> bool:
    """Whether every thread of a process has taken note that it was stopped; some take a while."""
    threads = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/stat")]
    # The state follows the program's name, which may hold anything.
    return all(thread.rpartition(")")[2].split()[0] in "TtZX" for thread in threads)


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    directory: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Start ``command`` with its output in a log file; does not wait for anything."""
    directory = directory or scratch(name)
    log = directory / "output.log"
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd or directory,
            start_new_session=True,
        )
    LOGS.append((name, log))
    return Process(name, popen, log)


def wait_ready(process: Process, ready: Callable[[], Any], timeout: float) -> None:
    """Wait until ``ready`` is true; a process that ended or is late fails with its log."""

    def check() -> Any:
        if process.popen.poll() is not None:
            raise AssertionError(
                f"{process.name} ended with code {process.popen.returncode}:\n{process.output()}"
            )
        return ready()

    try:
        wait_until(check, timeout, lambda: f"{process.name} is not ready:\n{process.output()}")
    except BaseException:
        process.stop()
        raise
