"""Starts and stops the demo's processes: own process group each, never left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

#: Seconds between two looks at whether a process has ended.
_POLL_SECONDS = 0.05
#: Seconds the kernel gets to deliver a SIGKILL.
_KILL_SECONDS = 5.0
#: Lines of a log that are shown when its process died.
_TAIL_LINES = 15
#: Bytes read from the end of a log to find these lines.
_TAIL_BYTES = 16_384


class Child:
    """A process of the demo, leader of its own process group, writing to a log file.

    The group keeps the terminal's Ctrl-C away from it: the demo stops its processes in order.
    Must be created by a thread that lives as long as the demo: the kernel takes the end of the
    thread that forked for the end of the parent.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        log: Path,
    ) -> None:
        self.name = name
        self._log = log
        # Append: several processes may share one log file.
        with log.open("ab") as output:
            tether = (sys.executable, "-m", "z4j_exporter.demo.tether", str(os.getpid()))
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                [*tether, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                # What a killed process leaves in its TMPDIR goes with the demo's directory.
                env={**environment, "TMPDIR": str(directory)},
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """How the process ended (negative: by that signal), None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process: a worker then ends the tasks it runs, and leaves."""
        if self.exit_code is None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the process and what is left of its group; return when it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_SECONDS)

    def log_tail(self) -> str:
        """Return the last lines of the process's log."""
        try:
            with self._log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])


def stop_all(children: Iterable[Child], grace_seconds: float) -> None:
    """Ask all to stop, wait up to ``grace_seconds``, kill what is still there."""
    children = list(children)
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and any(child.exit_code is None for child in children):
        time.sleep(_POLL_SECONDS)
    for child in children:
        child.kill()


def clean_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment for a child, with ``variables`` added.

    What Celery would read is left out: a CELERY_BROKER_URL that is set here beats the sample
    application's own setting, and would send the demo's tasks to somebody's real broker.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELERY")}
    return kept | variables
