"""The drop-in profiles under the real Prometheus: the peers' dashboards and alerts work unchanged.

The expressions are those of celery-exporter's mixin (celery-mixin/dashboards, prometheus_alerts),
of the older dashboards 17508 and 17509 of grafana.com, and of Flower's
examples/celery-monitoring-grafana-dashboard.json.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import servers
from tests.support.exposed import RECORDINGS, parsed
from tests.support.process import require, wait_until
from tests.support.scenarios import SCENARIOS
from tests.support.servers import Prometheus, Redis
from tests.support.stage import Stage, staged

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
LABELS = """\
    relabel_configs:
      - {target_label: cluster, replacement: c1}
      - {target_label: namespace, replacement: default}
"""
ALERTS = """\
groups:
  - name: celery
    rules:
      - alert: CeleryTaskHighFailRate
        for: 1m
        expr: |
          sum(increase(celery_task_failed_total{job=~".*celery.*", queue_name!~"None", name!~"None"}[10m]))
          by (job, namespace, queue_name, name)
          / (sum(increase(celery_task_failed_total{job=~".*celery.*", queue_name!~"None", name!~"None"}[10m]))
          by (job, namespace, queue_name, name)
          + sum(increase(celery_task_succeeded_total{job=~".*celery.*", queue_name!~"None", name!~"None"}[10m]))
          by (job, namespace, queue_name, name)) * 100 > 5
      - alert: CeleryHighQueueLength
        for: 20m
        expr: |
          sum(celery_queue_length{job=~".*celery.*", queue_name!~"None"})
          by (job, namespace, queue_name) > 100
      - alert: CeleryWorkerDown
        for: 15m
        expr: celery_worker_up{job=~".*celery.*"} == 0
"""  # noqa: E501  # as they stand in the mixin
PLAYED = ("visit_nested", "retry_and_fail", "rejected", "revoked_by_expiry", "odd_exceptions")


class Watched:
    """An exporter in each profile, a Prometheus that scrapes both, and the stage they watch."""

    def __init__(self, prometheus: Prometheus, stage: Stage) -> None:
        self.prometheus = prometheus
        self.stage = stage

    def label_values(self, selector: str, label: str) -> set[str]:
        """Do what Grafana's ``label_values(selector, label)`` does."""
        answer = httpx.get(
            f"{self.prometheus.url}/api/v1/label/{label}/values", params={"match[]": selector}
        )
        answer.raise_for_status()
        return set(answer.json()["data"])

    def by(self, label: str, expression: str) -> dict[str, float]:
        """Return the values of a query by one label."""
        return {
            series["metric"].get(label, ""): float(series["value"][1])
            for series in self.prometheus.query(expression)
        }


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "celery.yml"
    path.write_text(ALERTS)
    return path


@pytest.fixture(scope="module")
def watched(shared_valkey: Redis, rules: Path) -> Iterator[Watched]:
    url = shared_valkey.url
    shared_valkey.client().flushall()
    options = ("--broker-url", url, "--worker-timeout", "8", "--queue-poll-interval", "0.5")
    options += ("--inspect-interval", "1", "--inspect-timeout", "1", "--metrics-profile")
    with (
        servers.exporter(*options, "celery-exporter") as celery_exporter,
        servers.exporter(*options, "flower") as flower,
        servers.prometheus(
            f"127.0.0.1:{celery_exporter.port}",
            f"127.0.0.1:{flower.port}",
            rule_files=[rules],
            scrape=LABELS,
        ) as prometheus,
    ):
        wait_until(lambda: prometheus.value("sum(up)") == 2, 20, "the first scrapes")
        with staged(url, *(SCENARIOS[name] for name in PLAYED)) as stage:
            last = 'sum(celery_task_failed_total{name="errors.raise"})'
            wait_until(lambda: prometheus.value(last) == 8, 20, f"{last} is not 8")
            yield Watched(prometheus, stage)


# -- celery-exporter's dashboards --------------------------------------------------------------

_BASE = 'cluster="c1", namespace="default", job=~"celery"'
_DQ = _BASE + ', queue_name!~"None"'
_Q = _BASE + ', queue_name=~"web|celery", queue_name!~"None"'
_TK = _Q + ', name=~"web.*|errors.*", name!~"None"'
_ALL = ("failed", "succeeded", "sent", "received", "retried", "revoked", "rejected")
_QUANTILES = ("0.50", "0.95", "0.99", "0.999")


def _counter(kind: str, labels: str, window: str, function: str = "increase") -> str:
    return f"{function}(celery_task_{kind}_total{{{labels}}}[{window}])"


def _success(labels: str, window: str, by: str = "") -> str:
    good, bad = (f"sum({_counter(k, labels, window, 'rate')}){by}" for k in ("succeeded", "failed"))
    return f"{good} / ({good} + {bad})"


def _bucket(quantile: str, name: str, labels: str, window: str, by: str, how: str = "rate") -> str:
    series = f"celery_task_{name}_bucket{{{labels}}}[{window}]"
    return f"histogram_quantile({quantile}, sum({how}({series})) by ({by}))"


def _overview() -> Iterator[str]:
    yield f"count(celery_worker_up{{{_DQ}}} == 1)"
    yield f"sum(celery_worker_tasks_active{{{_DQ}}})"
    received = _counter("received", _Q, "1h", "rate")
    yield f"sum({received})"
    yield f"topk(10, sum({received}) by (name))"
    yield f"topk(10, sum({_counter('received', _DQ, '1h', 'rate')}) by (queue_name))"
    yield _success(_Q, "1h")
    yield _success(_Q, "1m")
    for kind in _ALL:
        yield f"sum({_counter(kind, _Q, '1h')})"
        yield f"sum({_counter(kind, _Q, '1m', 'rate')})"
        yield f"sum({_counter(kind, _Q, '6h')})"
    yield f"sum({_counter('received', _Q, '1m', 'rate')}) by (queue_name)"
    for quantile in _QUANTILES:
        yield _bucket(quantile, "queue_wait_time", _Q, "1m", "le")
        yield _bucket(quantile, "runtime", _Q, "1m", "le")
    top = f"topk(40, sum({_counter('received', _Q, '24h', 'rate')}) by (job, name))"
    top = f"and on (job, name) ({top})"
    for kind in ("succeeded", "failed", "retried"):
        yield f"round(sum({_counter(kind, _Q, '24h')}) by (job, name)) {top}"
    yield f"{_success(_Q, '24h', ' by (job, name)')} {top}"
    for quantile in ("0.50", "0.95"):
        yield f"{_bucket(quantile, 'runtime', _Q, '24h', 'le, job, name')} {top}"
    yield f"{_bucket('0.95', 'queue_wait_time', _Q, '24h', 'le, job, name')} {top}"
    yield f"round(sum({_counter('failed', _Q, '24h')}) by (job, name, exception)) > 0"


def _by_task() -> Iterator[str]:
    for window in ("1w", "1m"):
        for kind in _ALL:
            yield f"sum(round({_counter(kind, _TK, window)})) by (name)"
    yield f"round(sum({_counter('failed', _TK, '1w')}) by (name, exception))"
    good = f"sum(round({_counter('succeeded', _TK, '1w')})) by (name)"
    bad = f"sum(round({_counter('failed', _TK, '1w')})) by (name)"
    yield f"{good}/({good}+{bad}) > -1"
    yield f"sum(round({_counter('failed', _TK, '1m')})) by (name, exception)"
    yield _success(_TK, "1m")
    for quantile in _QUANTILES:
        yield _bucket(quantile, "runtime", _TK, "1m", "name, job, le", "irate")
    for by in ("queue_name", "name"):
        yield f"topk(10, sum({_counter('received', _Q, '6h', 'rate')}) by ({by}))"


def _older() -> Iterator[str]:
    for by in ("", " by (name)"):
        total, count = (
            f"sum(rate(celery_task_runtime_{part}{{{_BASE}}}[1w])){by}" for part in ("sum", "count")
        )
        yield f"{total} / {count} > 0"
    failed = _counter("failed", _BASE, "1w")
    yield f"round(sum({failed} > 0) by (job, name))"
    yield f"round(sum({failed}) by (job, exception) > 0)"


@pytest.mark.parametrize("expression", [*_overview(), *_by_task(), *_older()])
def test_the_dashboards_have_data(watched: Watched, expression: str) -> None:
    wait_until(
        lambda: watched.prometheus.query(expression),
        10,
        f"nothing comes of {expression}",
        every=0.2,
    )


@pytest.mark.parametrize(
    "expression",
    [
        f"count(group by (queue_name) (celery_queue_length{{{_Q}}}))",
        f"sum(celery_queue_length{{{_Q}}}) by (queue_name)",
        f"topk(10, sum(celery_queue_length{{{_DQ}}}) by (queue_name))",
        'sum(celery_queue_length{job="celery", queue_name=~"web"}) by (job, queue_name)',
        'celery_active_worker_count{queue_name="web"} > 0',
        'celery_active_process_count{queue_name="celery"} > 0',
    ],
)
def test_the_panels_of_queues_have_data(watched: Watched, expression: str) -> None:
    wait_until(lambda: watched.prometheus.query(expression), 20, f"nothing comes of {expression}")


def test_redis_has_no_count_of_consumers(watched: Watched) -> None:
    assert watched.prometheus.query("celery_active_consumer_count") == []


def test_the_dashboards_variables(watched: Watched) -> None:
    assert watched.label_values("celery_worker_up{}", "cluster") == {"c1"}
    assert watched.label_values('celery_worker_up{cluster="c1"}', "namespace") == {"default"}
    received = f"celery_task_received_total{{{_DQ}}}"
    assert watched.label_values(received, "queue_name") == {"web", "celery"}
    names = {"web.visit", "web.extract", "web.store", "errors.raise"}
    received = f'celery_task_received_total{{{_BASE}, queue_name=~"web|celery", name!~"None"}}'
    assert watched.label_values(received, "name") == names
    assert watched.label_values("celery_task_sent_total", "name") == names


def test_what_the_panels_show_is_what_happened(watched: Watched) -> None:
    assert watched.prometheus.value(f"count(celery_worker_up{{{_DQ}}} == 1)") == 1
    visits = f'sum by (name) (celery_task_succeeded_total{{{_Q}, name=~"web.*"}})'
    assert watched.by("name", visits) == {"web.visit": 1, "web.extract": 1, "web.store": 1}
    failed = 'sum by (exception) (celery_task_failed_total{name="web.visit"}) > 0'
    assert watched.by("exception", failed) == {"HTTPError": 1, "Reject": 1}
    waits = "sum by (name) (celery_task_queue_wait_time_count)"
    # visit: one well, four that fail, one rejected, two before the expiry.
    assert watched.by("name", waits) == {
        "web.visit": 8,
        "web.extract": 1,
        "web.store": 1,
        "errors.raise": 8,
    }


@pytest.mark.parametrize("exception", ["HTTPError", "Reject"])
def test_the_first_failure_of_its_kind_is_an_increase(watched: Watched, exception: str) -> None:
    # In the peer the series is born at 1: no increase, no alert.
    first = f'increase(celery_task_failed_total{{name="web.visit", exception="{exception}"}}[10m])'
    assert (watched.prometheus.value(first) or 0) > 0


# -- Flower's dashboard --------------------------------------------------------------------------

_OF_TYPE = 'sum(avg_over_time(flower_events_total{{type=~"{}"}}[15m])) by (task)'
_ENDED = _OF_TYPE.format("task-failed|task-succeeded")


@pytest.mark.parametrize(
    "expression",
    [
        "flower_worker_online",
        "flower_worker_number_of_currently_executing_tasks",
        "rate(flower_task_runtime_seconds_sum[5m]) / rate(flower_task_runtime_seconds_count[5m])",
        "flower_task_prefetch_time_seconds",
        "flower_worker_prefetched_tasks",
        f"({_OF_TYPE.format('task-succeeded')} / {_ENDED}) * 100",
        f"({_OF_TYPE.format('task-failed')} / {_ENDED}) * 100",
    ],
)
def test_flowers_dashboard_has_data(watched: Watched, expression: str) -> None:
    wait_until(lambda: watched.prometheus.query(expression), 10, expression, every=0.2)


def test_flowers_numbers(watched: Watched) -> None:
    assert watched.by("worker", "flower_worker_online") == {"w1@host1": 1}
    assert set(watched.by("worker", "flower_worker_prefetched_tasks").values()) == {0}
    visits = 'sum by (type) (flower_events_total{task="web.visit"})'
    assert watched.by("type", visits) == {
        "task-sent": 1 + 4 + 1 + 3,
        "task-received": 1 + 4 + 1 + 3,
        "task-started": 1 + 4 + 1 + 2,
        "task-succeeded": 1,
        "task-failed": 2,
        "task-retried": 3 + 2,
        "task-rejected": 1,
        "task-revoked": 1,
    }


def test_no_scrape_was_refused(watched: Watched) -> None:
    # Prometheus asks for OpenMetrics, and refuses a whole scrape for one bad line.
    assert watched.prometheus.value("min(min_over_time(up[10m]))") == 1


# -- alerts; the last one ends the worker ----------------------------------------------------------


def test_promtool_takes_the_rules(rules: Path) -> None:
    command = [require("promtool"), "check", "rules", str(rules)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "3 rules found" in checked.stdout


def test_the_alert_on_failures_goes_off(watched: Watched) -> None:
    alert = 'ALERTS{alertname="CeleryTaskHighFailRate", alertstate="pending"}'
    wait_until(
        lambda: watched.by("name", alert).keys() == {"web.visit", "errors.raise"},
        20,
        lambda: str(watched.prometheus.query(alert)),
        every=0.2,
    )
    assert watched.by("queue_name", alert).keys() == {"web", "celery"}


def test_the_alert_on_a_killed_worker_goes_off(watched: Watched) -> None:
    alert = 'ALERTS{alertname="CeleryWorkerDown", alertstate="pending"}'
    assert watched.prometheus.query(alert) == []
    watched.stage.kill("w1@host1")
    wait_until(lambda: watched.by("hostname", alert) == {"host1": 1}, 30, alert, every=0.2)
    down = "flower_worker_online == 0"
    wait_until(lambda: watched.by("worker", down) == {"w1@host1": 0}, 10, down, every=0.2)


# -- a recording as the source -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "golden"),
    [
        ("celery-exporter", "demo.celery-exporter.metrics"),
        ("flower", "demo.flower.metrics"),
    ],
)
def test_a_recording_gives_its_golden_counts(profile: str, golden: str) -> None:
    def counts(text: str) -> dict[object, float]:
        return {
            key: value
            for key, value in parsed(text).items()
            if key[0].endswith(("_total", "_count"))
            and not key[0].startswith(("celery_exp", "proc"))
        }

    wanted = counts((GOLDEN / golden).read_text())
    recording = str(RECORDINGS / "demo.jsonl")
    with servers.exporter("--recording", recording, "--metrics-profile", profile) as exporter:
        wait_until(lambda: counts(exporter.scrape()) == wanted, 20, every=0.2)
