"""Alerts about what the demo does not do fire on a real Prometheus: a killed worker, for one."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.process import wait_until
from tests.support.rules import DIRECTORY, FILES, alerts
from tests.support.servers import Redis

APP = "tests.support.celeryapp"


def test_a_family_that_overflows_raises_its_alert(valkey: Redis) -> None:
    """The counter is born with its first overflow: what increase() does not see."""
    with (
        servers.exporter("--broker-url", valkey.url, "--max-series", "1") as exporter,
        servers.prometheus(f"127.0.0.1:{exporter.port}", rule_files=FILES) as prometheus,
    ):
        wait_until(lambda: prometheus.value("up") == 1, 20)
        app = client(valkey.url)
        for name in ("shop.pay", "shop.ship", "shop.thank"):
            app.send_task(name)
        app.close()

        def families() -> set[str]:
            found = firing(prometheus, "CeleryExporterSeriesOverflow")
            return {alert["labels"]["family"] for alert in found}

        wait_until(lambda: "celery_task_received_total" in families(), 60, lambda: str(families()))


def test_a_broken_web_configuration_raises_its_alert(valkey: Redis, tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    current = "celery_exporter_web_config_current"
    with (
        servers.exporter("--broker-url", valkey.url, "--web-config-file", str(config)) as exporter,
        servers.prometheus(
            f"127.0.0.1:{exporter.port}", interval="1s", rule_files=hurried(tmp_path)
        ) as prometheus,
    ):
        wait_until(lambda: prometheus.value(current) == 1, 20)
        config.write_text("nonsense: true\n")
        (alert,) = wait_until(lambda: firing(prometheus, "CeleryExporterWebConfigRefused"), 40)
        assert "refuses its web configuration" in alert["annotations"]["summary"]
        config.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
        wait_until(lambda: not firing(prometheus, "CeleryExporterWebConfigRefused"), 40)


def firing(prometheus: servers.Prometheus, name: str) -> list[dict[str, Any]]:
    """Return the alerts of this name that fire."""
    answer = httpx.get(f"{prometheus.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
    return [a for a in answer if a["labels"]["alertname"] == name and a["state"] == "firing"]


def hurried(directory: Path) -> list[Path]:
    """Return the rules with a second for each minute of ``for``; nothing else is changed."""
    text = (DIRECTORY / "alerts.yaml").read_text(encoding="utf-8")
    for rule in alerts():
        text = text.replace(f"        for: {rule.for_}\n", f"        for: {rule.for_[:-1]}s\n")
    path = directory / "alerts.yaml"
    path.write_text(text, encoding="utf-8")
    return [DIRECTORY / "recording.yaml", path]


@pytest.mark.timeout(240)
def test_a_killed_worker_is_told_of_before_and_after_its_series_go(
    valkey: Redis, tmp_path: Path
) -> None:
    options = ("--worker-timeout", "4", "--purge-offline-worker-metrics", "12")
    usual = "count_over_time((job:celery_worker_up:sum == 2)[5m:250ms])"
    with (
        servers.exporter("--broker-url", valkey.url, *options) as exporter,
        servers.worker(APP, valkey.url, nodename="w1@shop") as doomed,
        servers.worker(APP, valkey.url, nodename="w2@shop"),
        servers.prometheus(
            f"127.0.0.1:{exporter.port}", interval="1s", rule_files=hurried(tmp_path)
        ) as prometheus,
    ):
        # Two are usual for longer than the dead one's series live, and its alert is waited for.
        wait_until(lambda: (prometheus.value(usual) or 0) > 4 * 32, 90, "two workers are usual")
        assert not firing(prometheus, "CeleryWorkerDown")
        doomed.kill()
        (alert,) = wait_until(lambda: firing(prometheus, "CeleryWorkerDown"), 40)
        assert prometheus.value('celery_worker_up{worker="w1@shop"}') == 0
        assert alert["labels"] == {
            "alertname": "CeleryWorkerDown", "job": "celery", "severity": "warning"
        }  # fmt: skip
        notes = alert["annotations"]
        assert notes["summary"] == "Celery workers are missing in celery: 1 fewer are up than usual"
        assert notes["description"] == "Down (at most five are named): w1@shop"
        assert notes["runbook_url"].endswith("/docs/runbooks/CeleryWorkerDown.md")
        wait_until(lambda: not prometheus.query('celery_worker_up{worker="w1@shop"}'), 40)
        assert firing(prometheus, "CeleryWorkerDown")
        assert not firing(prometheus, "CeleryNoWorkers")
