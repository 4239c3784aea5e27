"""The real Prometheus scrapes the exporter: what it stores is what happened."""

import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support import servers
from tests.support.process import require, wait_until
from tests.support.scenarios import SCENARIOS
from tests.support.servers import Exporter, Redis
from tests.support.stage import play

#: What Prometheus 2.42 asks for (scrape/scrape.go).
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture(scope="module")
def scraped(shared_valkey: Redis) -> Iterator[tuple[Exporter, servers.Prometheus]]:
    """An exporter that has seen every outcome, under a Prometheus that watched from the start."""
    shared_valkey.client().flushall()
    with (
        servers.exporter("--broker-url", shared_valkey.url) as exporter,
        servers.prometheus(f"127.0.0.1:{exporter.port}") as prometheus,
    ):
        wait_until(lambda: prometheus.value("up") == 1, 10, "the first scrape")
        names = ("visit_nested", "retry_and_fail", "rejected", "terminated", "odd_exceptions")
        play(shared_valkey.url, *(SCENARIOS[name] for name in names))
        yield exporter, prometheus


def by_task(prometheus: servers.Prometheus, family: str) -> dict[str, float]:
    """Ask Prometheus for a family's sums by task; 0 left out."""
    return {
        series["metric"]["task"]: float(series["value"][1])
        for series in prometheus.query(f"sum by (task) ({family}) > 0")
    }


def test_prometheus_stores_the_truth(scraped: tuple[Exporter, servers.Prometheus]) -> None:
    _, prometheus = scraped
    expected = {"web.visit": 1.0, "web.extract": 1.0, "web.store": 1.0}
    wait_until(
        lambda: by_task(prometheus, "celery_task_succeeded_total") == expected,
        message=lambda: str(by_task(prometheus, "celery_task_succeeded_total")),
    )
    assert prometheus.value("up") == 1
    assert by_task(prometheus, "celery_task_failed_total") == {"web.visit": 2, "errors.raise": 8}
    assert by_task(prometheus, "celery_task_retried_total") == {"web.visit": 3}
    assert by_task(prometheus, "celery_task_revoked_total") == {"work.sleep": 1}
    target = prometheus.targets()[0]
    assert (target["health"], target["lastError"]) == ("up", "")


def test_increase_sees_the_first_failure(scraped: tuple[Exporter, servers.Prometheus]) -> None:
    # A counter that is born at 1 has no increase: the failure would never fire an alert.
    _, prometheus = scraped
    first = 'sum(increase(celery_task_failed_total{task="web.visit"}[10m]))'
    wait_until(lambda: (prometheus.value(first) or 0) > 0, message=f"{first} stays 0")


def test_promtool_finds_nothing_to_say(scraped: tuple[Exporter, servers.Prometheus]) -> None:
    exporter, _ = scraped
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=exporter.scrape(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_prometheus_gets_openmetrics(scraped: tuple[Exporter, servers.Prometheus]) -> None:
    exporter, prometheus = scraped
    answer = exporter.get("/metrics", headers={"accept": PROMETHEUS_ACCEPT})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"celery_task_succeeded", "celery_task_runtime_seconds", "celery_worker_up"} <= families
    assert not [line for line in answer.text.splitlines() if "_created" in line.split("{")[0]]
    # In this format Prometheus refuses a scrape as a whole for one bad line: none was refused.
    assert prometheus.value("count_over_time(up[10m]) - sum_over_time(up[10m])") == 0
