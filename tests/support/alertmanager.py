"""A real Alertmanager that posts to a webhook, and the part of Prometheus' configuration for it."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.process import Process, free_port, require, scratch, start, wait_ready


@dataclass
class Alertmanager(Process):
    """A running Alertmanager."""

    url: str = ""

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are active: labels, startsAt, fingerprint …"""
        answer = httpx.get(f"{self.url}/api/v2/alerts", timeout=10)
        answer.raise_for_status()
        return list(answer.json())

    def send(self, *alerts: dict[str, Any]) -> None:
        """Send alerts as Prometheus does: labels, startsAt, endsAt, annotations."""
        httpx.post(f"{self.url}/api/v2/alerts", json=list(alerts), timeout=10).raise_for_status()

    def posts(self) -> float:
        """Return how many posts to the webhook were tried."""
        name = 'alertmanager_notification_requests_total{integration="webhook"} '
        return self._metric(name)

    def failed_posts(self) -> float:
        """Return how many of them failed."""
        name = 'alertmanager_notification_requests_failed_total{integration="webhook"} '
        return self._metric(name)

    def _metric(self, start_of_line: str) -> float:
        lines = httpx.get(f"{self.url}/metrics", timeout=10).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(start_of_line))


def alertmanager(webhook: str, token: str, *, group_wait: str = "100ms") -> Alertmanager:
    """Start Alertmanager: it posts what it gets, and again each second while it fires."""
    program = require("prometheus-alertmanager")
    directory = scratch("alertmanager")
    port = free_port()
    conf = directory / "alertmanager.yml"
    conf.write_text(
        "route:\n"
        "  receiver: exporter\n"
        "  group_by: [alertname]\n"
        f"  group_wait: {group_wait}\n"
        "  group_interval: 500ms\n"
        "  repeat_interval: 1s\n"
        "receivers:\n"
        "  - name: exporter\n"
        "    webhook_configs:\n"
        f"      - url: {webhook}\n"
        "        send_resolved: true\n"
        "        http_config:\n"
        f"          authorization: {{type: Bearer, credentials: {token}}}\n"
    )
    command = [
        program,
        f"--config.file={conf}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",  # on its own
        "--log.level=debug",
    ]
    process = start("alertmanager", command, directory=directory)
    url = f"http://127.0.0.1:{port}"
    server = Alertmanager("alertmanager", process.popen, process.log, url=url)
    wait_ready(server, lambda: httpx.get(f"{url}/-/ready").status_code == 200, 30)
    return server


def alerting(*servers: Alertmanager) -> str:
    """Return what tells Prometheus of them; a part of its configuration of its own."""
    hosts = ", ".join(f'"{server.url.removeprefix("http://")}"' for server in servers)
    return f"alerting: {{alertmanagers: [{{static_configs: [{{targets: [{hosts}]}}]}}]}}"
