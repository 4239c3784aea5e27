"""The installed ``z4j-exporter demo``, watched by a real Prometheus with the rules of alerts/."""

import contextlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support import servers
from tests.support.process import Process, scratch, start, wait_ready

_COMMAND = Path(sys.executable).with_name("z4j-exporter")
#: Recording and alerting rules, where they are.
RULES = sorted((servers.PROJECT / "alerts").glob("*.yaml"))
#: Seconds in which the demo is up, on a busy machine.
_START_SECONDS = 90.0
#: Seconds in which its workers and its exporter end.
_STOP_SECONDS = 40.0


@dataclass
class DemoPrometheus:
    """A demo and the Prometheus that scrapes it every second."""

    demo: Process
    prometheus: servers.Prometheus
    #: Where the demo's exporter is.
    exporter_url: str

    @property
    def url(self) -> str:
        """Where Prometheus is."""
        return self.prometheus.url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate now; return the result vector."""
        return self.prometheus.query(expression)

    def query_range(
        self, expression: str, seconds: float = 60.0, step: float = 1.0
    ) -> list[dict[str, Any]]:
        """Evaluate over the last ``seconds``; return the result matrix."""
        now = time.time()
        parameters: dict[str, str | float] = {
            "query": expression, "start": now - seconds, "end": now, "step": step
        }  # fmt: skip
        answer = httpx.get(f"{self.url}/api/v1/query_range", params=parameters, timeout=30)
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])

    def label_values(self, selector: str, label: str) -> list[str]:
        """Return a label's values among the series of ``selector``, as a variable lists them."""
        return label_values(self.url, selector, label)


def label_values(url: str, selector: str, label: str) -> list[str]:
    """Ask the Prometheus at ``url`` for a label's values among the series of ``selector``."""
    address = f"{url}/api/v1/label/{label}/values"
    answer = httpx.get(address, params={"match[]": selector}, timeout=10)
    answer.raise_for_status()
    return list(answer.json()["data"])


@contextlib.contextmanager
def demo_prometheus(
    *options: str, rule_files: Sequence[Path] = RULES, interval: str = "1s"
) -> Iterator[DemoPrometheus]:
    """Run a demo (with more ``options``) and Prometheus until the block ends.

    It begins as soon as the exporter has been scraped; wait for what you need.
    """
    directory = scratch("demo")
    temporary = directory / "tmp"
    temporary.mkdir()
    environment = {
        "TMPDIR": str(temporary),
        # Somebody's real broker, which must not get the demo's tasks: nothing listens there.
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "COLUMNS": "200",
    }
    log = directory / "all.log"
    command = [str(_COMMAND), "demo", "--listen-address", "127.0.0.1:0", "--log-file", str(log)]
    demo = start("demo", [*command, *options], directory=directory, env=environment)
    demo.stop_seconds = _STOP_SECONDS
    with demo:
        wait_ready(demo, lambda: "Open http" in demo.output(), _START_SECONDS)
        found = re.search(r"Open (http://([^/\s]+))/", demo.output())
        assert found, demo.output()
        target = found[2]
        with servers.prometheus(target, interval=interval, rule_files=rule_files) as prometheus:
            wait_ready(prometheus, lambda: prometheus.query("celery_exporter_build_info"), 30)
            yield DemoPrometheus(demo, prometheus, found[1])
