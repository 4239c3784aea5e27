"""Real servers on free loopback ports: Prometheus, workers, the exporter, and all the others.

Each function starts one and returns it when it is ready; use it as a context manager, or call
``stop()``. Redis, Valkey and Sentinel are in redis_servers.py, RabbitMQ in rabbitmq.py;
all can be imported from here. conftest.py has the fixtures of those that tests share.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.certs import Certificates, certificates
from tests.support.process import (
    Process,
    free_port,
    listening,
    require,
    scratch,
    start,
    wait_ready,
    wait_until,
)
from tests.support.rabbitmq import Rabbit, Vhost, rabbitmq
from tests.support.redis_servers import Redis, SentinelGroup, redis_server, sentinel, valkey

__all__ = [
    "Certificates",
    "Exporter",
    "Process",
    "Prometheus",
    "Rabbit",
    "Redis",
    "SentinelGroup",
    "Vhost",
    "Worker",
    "certificates",
    "exporter",
    "free_port",
    "listening",
    "prometheus",
    "rabbitmq",
    "redis_server",
    "require",
    "run_command",
    "scratch",
    "sentinel",
    "start",
    "valkey",
    "wait_until",
    "worker",
]

#: The project's root: where ``tests`` can be imported from.
PROJECT = Path(__file__).resolve().parents[2]


@dataclass
class Prometheus(Process):
    """A running Prometheus."""

    url: str = ""

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an instant query and return its result vector."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])

    def value(self, expression: str) -> float | None:
        """Return the one value of a query, None when it has none."""
        result = self.query(expression)
        assert len(result) <= 1, f"{expression} has {len(result)} results"
        return float(result[0]["value"][1]) if result else None

    def targets(self) -> list[dict[str, Any]]:
        """Return the active targets, with their health and last error."""
        answer = httpx.get(f"{self.url}/api/v1/targets", timeout=10)
        return list(answer.json()["data"]["activeTargets"])


def prometheus(
    *targets: str, interval: str = "250ms", rule_files: Sequence[Path] = (), scrape: str = ""
) -> Prometheus:
    """Start Prometheus scraping ``targets`` ("127.0.0.1:9808").

    ``scrape`` is more YAML for the scrape configuration, indented by four (basic_auth, scheme …).
    """
    program = require("prometheus")
    directory = scratch("prometheus")
    port = free_port()
    conf = directory / "prometheus.yml"
    hosts = ", ".join(f'"{target}"' for target in targets)
    rules = ", ".join(f'"{path}"' for path in rule_files)
    conf.write_text(
        f"global: {{scrape_interval: {interval}, evaluation_interval: {interval}}}\n"
        f"rule_files: [{rules}]\n"
        "scrape_configs:\n"
        "  - job_name: celery\n"
        f"    scrape_timeout: {interval}\n"
        f"    static_configs: [{{targets: [{hosts}]}}]\n{scrape}\n"
    )
    command = [
        program,
        f"--config.file={conf}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    ]
    process = start("prometheus", command, directory=directory)
    url = f"http://127.0.0.1:{port}"
    server = Prometheus("prometheus", process.popen, process.log, url=url)
    wait_ready(server, lambda: httpx.get(f"{url}/-/ready").status_code == 200, 30)
    return server


@dataclass
class Worker(Process):
    """A running Celery worker."""

    nodename: str = ""


def worker(
    app: str,
    broker: str,
    *args: str,
    nodename: str = "w1@test",
    concurrency: int = 1,
    pool: str = "prefork",
    events: bool = True,
    quiet: bool = True,
    env: dict[str, str] | None = None,
    cwd: Path = PROJECT,
    wait: bool = True,
) -> Worker:
    """Start a real ``celery worker``; ``app`` is what ``-A`` takes, importable from ``cwd``.

    ``quiet`` leaves out mingle and gossip: a faster start, and no events but its own.
    Returns when the worker says "ready".
    """
    command = [sys.executable, "-m", "celery", "-A", app, "-b", broker, "worker"]
    command += ["-n", nodename, "-c", str(concurrency), "-P", pool, "-l", "INFO"]
    if events:
        command.append("-E")
    if quiet:
        command += ["--without-mingle", "--without-gossip"]
    # Celery refuses nothing as root but says so on every start; the variable silences it.
    env = {"C_FORCE_ROOT": "1", "PYTHONPATH": str(cwd), **(env or {})}
    process = start(f"worker-{nodename}", [*command, *args], env=env, cwd=cwd)
    started = Worker(process.name, process.popen, process.log, nodename=nodename)
    if wait:
        wait_ready(started, lambda: f"{nodename} ready." in started.output(), 30)
    return started


@dataclass
class Exporter(Process):
    """A running ``z4j-exporter run``."""

    url: str = ""
    port: int = 0

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask for a path; the answer may be an error."""
        return httpx.get(self.url + path, **{"timeout": 10, "verify": False, **options})

    def scrape(self, **options: Any) -> str:
        """Return the text of /metrics."""
        answer = self.get("/metrics", **options)
        answer.raise_for_status()
        return answer.text

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.signal(signal.SIGINT)


def exporter(
    *args: str,
    ready: Callable[[Exporter], Any] | None = None,
    timeout: float = 20.0,
    scheme: str = "http",
    env: dict[str, str] | None = None,
    cwd: Path = PROJECT,
) -> Exporter:
    """Start the installed ``z4j-exporter run`` with ``args`` on a free port.

    Returns when ``ready(exporter)`` is true; by default when /-/ready answers 200 (the broker is
    connected). Pass ``lambda e: listening(e.port)`` where it cannot become ready.
    """
    program = Path(sys.executable).with_name("z4j-exporter")
    assert program.exists(), f"{program} is missing: install the project (pip install -e .)"
    port = free_port()
    command = [str(program), "run", "--listen-address", f"127.0.0.1:{port}", *args]
    process = start("exporter", command, env=env, cwd=cwd)
    url = f"{scheme}://127.0.0.1:{port}"
    started = Exporter("exporter", process.popen, process.log, url=url, port=port)
    condition = ready or (lambda e: e.get("/-/ready").status_code == 200)
    wait_ready(started, lambda: condition(started), timeout)
    return started


def run_command(
    *args: str, timeout: float = 30.0, env: dict[str, str] | None = None, cwd: Path = PROJECT
) -> "subprocess.CompletedProcess[str]":
    """Run the installed ``z4j-exporter`` with ``args`` to its end and return what it printed."""
    program = Path(sys.executable).with_name("z4j-exporter")
    return subprocess.run(
        [str(program), *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        check=False,
    )
