"""Panels and rules have data on a real Prometheus, fed by the demo (one for all) and RabbitMQ."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.dashboards import (
    FILES,
    Target,
    escaped,
    fill,
    label_values,
    panels,
    query_variables,
    read,
    targets,
)
from tests.support.demo_prometheus import DemoPrometheus, demo_prometheus
from tests.support.demo_prometheus import label_values as values_of
from tests.support.process import wait_until
from tests.support.rabbitmq import Rabbit
from tests.support.rules import plain, rules, selectors

BOARDS = {path.stem: read(path) for path in FILES}
#: Redis tells none of it: the row is tested on RabbitMQ.
RABBIT_ROW = "What RabbitMQ tells"
#: Seconds until all that the demo does has been seen, some of it twice, on a busy machine.
ENOUGH_SECONDS = 150.0

#: What rules select and the demo never has, and where it is tested.
NOT_IN_THE_DEMO = {
    "celery_queue_consumers{}": "only RabbitMQ knows its consumers: the last test here",
    "celery_exporter_series_dropped_total{}": "few names, nothing overflows: test_alerts_data.py",
    "celery_exporter_web_config_current{}": "no web configuration: test_alerts_data.py",
}

by_board = pytest.mark.parametrize("name", BOARDS)


def rabbit_targets(board: Mapping[str, Any]) -> list[Target]:
    row = [each for each in board["panels"] if each["title"] == RABBIT_ROW]
    return [target for each in row for target in targets({**board, "panels": each["panels"]})]


def has_data(result: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a vector has a value that is one; infinite is: a queue that stands still."""
    return any(not math.isnan(float(each["value"][1])) for each in result)


def all_values(url: str, board: Mapping[str, Any]) -> dict[str, str]:
    """Return what Grafana puts in for the variables when All is chosen, or the first of one."""
    values: dict[str, str] = {}
    for variable in query_variables(board):
        selector, label = label_values(variable)
        found = values_of(url, fill(selector, values, interval="30s", over="2m"), label)
        assert found, f"variable {variable['name']} has no values: {selector}"
        if variable.get("allValue"):
            values[variable["name"]] = variable["allValue"]
        elif variable["includeAll"]:
            values[variable["name"]] = f"({'|'.join(map(escaped, found))})"
        else:
            values[variable["name"]] = found[0]
    return values


def without_data(url: str, wanted: Sequence[Target], values: Mapping[str, str]) -> list[str]:
    """Ask until all have had data, or enough time has passed; return those that have not."""
    missing = list(wanted)
    prometheus = httpx.Client(base_url=url, timeout=30)

    def data(target: Target) -> bool:
        expr = fill(target.expr, values, interval="30s", over="2m")
        answer = prometheus.get("/api/v1/query", params={"query": expr})
        assert answer.status_code == 200, f"{target}: {answer.text}"
        return has_data(answer.json()["data"]["result"])

    deadline = time.monotonic() + ENOUGH_SECONDS
    with prometheus:
        while missing := [target for target in missing if not data(target)]:
            if time.monotonic() > deadline:
                break
            time.sleep(1)
    return [str(target) for target in missing]


@pytest.fixture(scope="module")
def watched() -> Iterator[DemoPrometheus]:
    with demo_prometheus() as running:
        yield running


def demo_targets(name: str) -> list[Target]:
    elsewhere = set(rabbit_targets(BOARDS[name]))
    return [target for target in targets(BOARDS[name]) if target not in elsewhere]


@by_board
@pytest.mark.timeout(240)
def test_every_panel_has_data_when_all_is_chosen(watched: DemoPrometheus, name: str) -> None:
    values = wait_for_values(watched, name)
    if name == "task":
        values["task"] = troubled(watched)
    assert without_data(watched.url, demo_targets(name), values) == []


@by_board
@pytest.mark.timeout(240)
def test_every_panel_has_data_for_one_value(watched: DemoPrometheus, name: str) -> None:
    values = wait_for_values(watched, name)
    task = troubled(watched)
    queues = f'sum by (queue) (celery_task_received_total{{task="{task}"}})'
    (received,) = watched.query(f"topk(1, {queues})")
    one = {
        "task": task,
        "tasks": escaped(task),
        "queue": escaped(received["metric"]["queue"]),
        "worker": escaped(busiest(watched)),
    }
    values |= {key: value for key, value in one.items() if key in values}
    assert without_data(watched.url, demo_targets(name), values) == []


def wait_for_values(watched: DemoPrometheus, name: str) -> dict[str, str]:
    """Return the variables' values once all have some."""

    def ready() -> dict[str, str] | None:
        with contextlib.suppress(AssertionError):
            return all_values(watched.url, BOARDS[name])
        return None

    return wait_until(ready, 60, lambda: str(all_values(watched.url, BOARDS[name])), every=0.5)


def troubled(watched: DemoPrometheus) -> str:
    """Return a task that has failed and was retried, as some of the demo's always do."""
    failed, retried = (
        f"sum by (task) (celery_task_{what}_total)" for what in ("failed", "retried")
    )
    expr = f"topk(1, {failed} * {retried} > 0)"
    (found,) = wait_until(lambda: watched.query(expr), 60, "a task that failed and was retried")
    return str(found["metric"]["task"])


def busiest(watched: DemoPrometheus) -> str:
    """Return the worker that has started most."""
    expr = 'topk(1, sum by (worker) (celery_worker_task_events_total{state="started"}))'
    (found,) = wait_until(lambda: watched.query(expr), 60, "a worker that started a task")
    return str(found["metric"]["worker"])


def test_a_task_leads_to_its_traces(watched: DemoPrometheus) -> None:
    """What Grafana asks for where a query has exemplars: a trace's id under the name trace_id."""
    values = wait_for_values(watched, "task") | {"task": troubled(watched)}
    wanted = [
        target["expr"]
        for panel in panels(BOARDS["task"])
        if panel["title"] in ("Run time", "Failures by exception")
        for target in panel["targets"]
    ]
    assert len(wanted) == 4

    def traces(expr: str) -> list[str]:
        now = time.time()
        filled = fill(expr, values, interval="30s", over="2m")
        parameters = {"query": filled, "start": str(now - 300), "end": str(now)}
        answer = httpx.get(f"{watched.url}/api/v1/query_exemplars", params=parameters, timeout=10)
        found = [one for each in answer.json()["data"] for one in each["exemplars"]]
        return [each["labels"]["trace_id"] for each in found]

    for expr in wanted:
        ids = wait_until(lambda expr=expr: traces(expr), 60, expr, every=0.5)
        assert all(len(each) == 32 for each in ids)


@pytest.mark.timeout(240)
def test_every_selector_of_the_rules_has_data(watched: DemoPrometheus) -> None:
    wanted = {plain(selector) for rule in rules() for selector in selectors(rule.tree)}
    assert set(NOT_IN_THE_DEMO) <= wanted
    missing = wanted - set(NOT_IN_THE_DEMO)
    assert len(missing) > 35

    def none_is_missing() -> bool:
        # A gauge that comes and goes with tasks need not be there at this very moment.
        missing.difference_update(
            [s for s in missing if watched.query(f"last_over_time({s}[10m])")]
        )
        return not missing

    wait_until(none_is_missing, ENOUGH_SECONDS, lambda: str(sorted(missing)), every=1.0)


def test_prometheus_evaluates_every_rule(watched: DemoPrometheus) -> None:
    def states() -> list[tuple[str, str, str]]:
        groups = httpx.get(f"{watched.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return [
            (r["name"], r["health"], r.get("lastError", "")) for g in groups for r in g["rules"]
        ]

    wait_until(lambda: all(health != "unknown" for _, health, _ in states()), 60, "all evaluated")
    assert sorted(states()) == sorted((rule.name, "ok", "") for rule in rules())


@contextlib.contextmanager
def calling(broker_url: str) -> Iterator[None]:
    """Send tasks all the time, five a second."""
    over = threading.Event()
    app = client(broker_url)

    def send() -> None:
        while not over.wait(0.2):
            app.send_task("math.add", (1, 2))

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)
        app.close()
        assert not thread.is_alive()


@pytest.mark.timeout(240)
def test_what_only_rabbitmq_tells_has_data_there(rabbit: Rabbit) -> None:
    vhost = rabbit.vhost()
    options = ["--queue-poll-interval", "1", "--inspect-interval", "2"]
    options += ["--rabbitmq-management-url", vhost.management_url.removesuffix("/api")]
    with (
        servers.exporter("--broker-url", vhost.url, *options) as exporter,
        servers.worker("tests.support.celeryapp", vhost.url),
        servers.prometheus(f"127.0.0.1:{exporter.port}", interval="1s") as prometheus,
        calling(vhost.url),
    ):
        wait_until(lambda: prometheus.query("celery_queue_messages_acked_total"), 60)
        wait_until(lambda: prometheus.value("max(celery_queue_consumers)") == 1, 60)
        board = BOARDS["queues"]
        values = all_values(prometheus.url, board)
        wanted = rabbit_targets(board)
        assert len(wanted) >= 6
        assert without_data(prometheus.url, wanted, values) == []
    rabbit.drop(vhost)
