"""What the rules in alerts/ select is there on a real Prometheus, and a killed worker fires one."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.demo_prometheus import DemoPrometheus, demo_prometheus
from tests.support.process import free_port, wait_until
from tests.support.rabbitmq import Vhost
from tests.support.rules import DIRECTORY, FILES, alerts, plain, rules, selectors
from tests.support.servers import Redis

APP = "tests.support.celeryapp"
#: Seconds until the demo has done everything once, on a busy machine.
ENOUGH_SECONDS = 150.0
#: What the demo never has, and why; each is tested elsewhere in this file.
NOT_IN_THE_DEMO = {
    "celery_queue_consumers{}": "only RabbitMQ knows its consumers",
    "celery_exporter_series_dropped_total{}": "the demo has few names: nothing overflows",
}


def selected() -> set[str]:
    """Return every selector of every rule, once."""
    return {plain(selector) for rule in rules() for selector in selectors(rule.tree)}


def without_data(prometheus: servers.Prometheus, wanted: set[str]) -> list[str]:
    """Ask until all have had a sample, or enough time has passed; return those that have not."""
    missing = set(wanted)
    deadline = time.monotonic() + ENOUGH_SECONDS
    while missing and time.monotonic() < deadline:
        # A gauge that comes and goes with tasks need not be there at this very moment.
        missing -= {s for s in missing if prometheus.query(f"last_over_time({s}[10m])")}
        time.sleep(1)
    return sorted(missing)


@pytest.fixture(scope="module")
def watched() -> Iterator[DemoPrometheus]:
    # Nobody listens there: requests are made, and fail.
    with demo_prometheus("--otlp", f"http://127.0.0.1:{free_port()}") as running:
        yield running


@pytest.mark.timeout(300)
def test_every_selector_has_data(watched: DemoPrometheus) -> None:
    wanted = selected()
    assert set(NOT_IN_THE_DEMO) <= wanted
    assert len(wanted) > 40
    assert without_data(watched.prometheus, wanted - set(NOT_IN_THE_DEMO)) == []


def test_prometheus_evaluates_every_rule(watched: DemoPrometheus) -> None:
    def states() -> list[tuple[str, str, str]]:
        groups = httpx.get(f"{watched.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return [
            (r["name"], r["health"], r.get("lastError", "")) for g in groups for r in g["rules"]
        ]

    wait_until(lambda: all(health != "unknown" for _, health, _ in states()), 60, "all evaluated")
    assert sorted(states()) == sorted((rule.name, "ok", "") for rule in rules())


def test_the_consumers_of_rabbitmq(vhost: Vhost) -> None:
    management = vhost.management_url.removesuffix("/api")
    options = ("--queue-poll-interval", "1", "--rabbitmq-management-url", management)
    with (
        servers.exporter("--broker-url", vhost.url, *options) as exporter,
        servers.worker(APP, vhost.url, "-Q", "web"),
        servers.prometheus(f"127.0.0.1:{exporter.port}") as prometheus,
    ):
        wait_until(lambda: prometheus.value('celery_queue_consumers{queue="web"}') == 1, 60)


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
    options = ("--worker-timeout", "4", "--purge-offline-worker-metrics", "15")
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
        wait_until(lambda: (prometheus.value(usual) or 0) > 4 * 40, 90, "two workers are usual")
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
