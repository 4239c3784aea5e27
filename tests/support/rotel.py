"""A third-party OTLP receiver that writes all it gets to its log: rotel, from PyPI."""

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import Process, free_port, listening, require, start, wait_ready


@dataclass(frozen=True)
class Rotel:
    """A running receiver."""

    process: Process
    grpc_endpoint: str
    http_endpoint: str

    def log(self) -> str:
        """Return what it wrote: every field of every span, in words."""
        return self.process.output()


@contextlib.contextmanager
def rotel() -> Iterator[Rotel]:
    """Run one; without it the test is skipped on a person's machine and fails in CI."""
    ports = free_port(), free_port()
    while ports[0] == ports[1]:
        ports = free_port(), free_port()
    grpc, http = (f"127.0.0.1:{port}" for port in ports)
    command = [
        require("rotel-agent", *_package()),
        "start",
        "--exporter=blackhole",
        "--debug-log=traces",
        "--debug-log-verbosity=detailed",
        f"--otlp-grpc-endpoint={grpc}",
        f"--otlp-http-endpoint={http}",
    ]
    process = start("rotel", command)
    wait_ready(process, lambda: all(map(listening, ports)), 10)
    with process:
        yield Rotel(process, f"http://{grpc}", f"http://{http}")


def _package() -> list[str]:
    """Return where the package of that name has its program."""
    spec = importlib.util.find_spec("rotel")
    found = [] if spec is None else spec.submodule_search_locations or []
    return [str(Path(place) / "rotel-agent") for place in found]
