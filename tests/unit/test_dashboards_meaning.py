"""What the dashboards' numbers say when things are well and when they are not, by Prometheus."""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.dashboards import FILES, fill, panels, read
from tests.support.process import require

BOARDS = {path.stem: read(path) for path in FILES}
#: Whatever Grafana would put in; one value of `task`, as its dashboard has.
CHOSEN = {
    "job": "(celery)", "instance": "(a:9808|b:9808)", "queue": ".*", "tasks": ".*", "worker": ".*",
    "task": "shop.pay",
}  # fmt: skip

#: An exporter that is well; series of a test are added to it.
ALIVE = {
    'up{job="celery",instance="a:9808"}': "1x20",
    'celery_exporter_build_info{job="celery",instance="a:9808"}': "1x20",
    'celery_queue_poll_success{job="celery",instance="a:9808"}': "1x20",
    'celery_fleet_inspect_success{job="celery",instance="a:9808"}': "1x20",
}
#: Nothing is shown: what is not known is absent, not 0.
ABSENT: dict[str, float] = {}


class Case(NamedTuple):
    """A state of the world, and what a panel's query says of it."""

    name: str
    dashboard: str
    panel: str
    series: dict[str, str]
    #: By labels as promtool writes them; {} is no label.
    expected: dict[str, float]
    alive: bool = True
    query: int = 0


def here(name: str, instance: str = "a:9808", **labels: str) -> str:
    """Return a series' name with its labels."""
    everything = {"job": "celery", "instance": instance, **labels}
    return f"{name}{{{','.join(f'{key}={json.dumps(v)}' for key, v in everything.items())}}}"


def ready(queue: str, values: str, instance: str = "a:9808", priority: str = "0") -> dict[str, str]:
    labels = {"queue": queue, "state": "ready", "priority": priority}
    return {here("celery_queue_messages", instance, **labels): values}


PAY = {"task": "shop.pay", "queue": "web"}
CONNECTED = here("celery_exporter_source_connected", source="redis")
SUCCEEDED, FAILED = (here(f"celery_task_{what}_total", **PAY) for what in ("succeeded", "failed"))
STARTED = here("celery_task_started_total", **PAY)
SERVED = here("celery_queue_workers", queue="web")

CASES = [
    Case("connected", "overview", "Exporter", {CONNECTED: "1x20"}, {"{}": 1}),
    Case("broker away", "overview", "Exporter", {CONNECTED: "1x10 0x10"}, {"{}": 0}),
    # The exporter went away a minute ago: its other series are still known to have been.
    Case(
        "not scraped", "overview", "Exporter",
        {here("up"): "1x10 0x10", CONNECTED: "1x10 stale"}, {"{}": -1}, alive=False,
    ),
    Case(
        "one of two away", "overview", "Exporter",
        {CONNECTED: "1x20", here("up", "b:9808"): "0x20"}, {"{}": -1},
    ),
    Case("no exporter at all", "overview", "Exporter", {}, ABSENT, alive=False),
    Case("no exporter, no zero", "overview", "Workers down", {}, ABSENT, alive=False),
    Case("no exporter, no worker", "overview", "Workers up", {}, ABSENT, alive=False),
    Case("never a worker", "overview", "Workers up", {}, {"{}": 0}),
    Case(
        "one of two workers down", "overview", "Workers down",
        {
            here("celery_worker_up", worker="w1"): "1x20",
            here("celery_worker_up", worker="w2"): "0x20",
        },
        {"{}": 1},
    ),
    Case(
        "two exporters tell of one worker", "overview", "Workers up",
        {
            here("celery_worker_up", worker="w1"): "1x20",
            here("celery_worker_up", "b:9808", worker="w1"): "1x20",
        },
        {"{}": 1},
    ),
    Case(
        "a quarter fails", "overview", "Failures", {SUCCEEDED: "0+45x20", FAILED: "0+15x20"},
        {"{}": 0.25},
    ),
    Case(
        "two exporters tell of the same tasks", "overview", "Tasks ended",
        {SUCCEEDED: "0+60x20", FAILED: "0x20", SUCCEEDED.replace("a:", "b:"): "0+60x20"},
        {"{}": 1},
    ),
    Case("nothing runs", "overview", "Failures", {SUCCEEDED: "7x20", FAILED: "3x20"}, ABSENT),
    Case(
        "a task was lost", "overview", "Tasks lost",
        {here("celery_task_lost_total", reason="worker_lost", **PAY): "0x15 1x5"}, {"{}": 1},
    ),
    Case("nothing was lost", "overview", "Tasks lost", {}, {"{}": 0}),
    Case(
        "an empty queue", "overview", "Longest wait in a queue", ready("web", "0x20"), {"{}": 0}
    ),
    Case(
        "age not known", "overview", "Longest wait in a queue", ready("web", "5x20"), ABSENT
    ),
    Case(
        "age known", "overview", "Longest wait in a queue",
        {
            **ready("web", "5x20"),
            here("celery_queue_oldest_message_age_seconds", queue="web"): "700x20",
        },
        {"{}": 700},
    ),
    Case(
        "nobody consumes", "overview", "Queues nobody serves",
        {**ready("web", "5x20"), SERVED: "0x20"}, {"{}": 1},
    ),
    Case(
        "nobody ever consumed", "overview", "Queues nobody serves", ready("web", "5x20"), {"{}": 1}
    ),
    Case(
        "consumed", "overview", "Queues nobody serves",
        {**ready("web", "5x20"), SERVED: "2x20"}, {"{}": 0},
    ),
    Case(
        "consumed by what RabbitMQ sees only", "overview", "Queues nobody serves",
        {**ready("web", "5x20"), here("celery_queue_consumers", queue="web"): "1x20"}, {"{}": 0},
    ),
    Case(
        "the queues cannot be read", "overview", "Queues nobody serves",
        {here("celery_queue_poll_success"): "0x20"}, ABSENT,
    ),
    Case(
        "half a second each", "queues", "Slowest to drain",
        {**ready("web", "60x20"), **ready("web", "60x20", priority="3"), STARTED: "0+120x20"},
        {"{}": 60},
    ),
    Case(
        "stands still", "queues", "Slowest to drain", {**ready("web", "60x20"), STARTED: "9x20"},
        {"{}": float("inf")},
    ),
    Case(
        "empty and idle", "queues", "Slowest to drain", {**ready("web", "0x20"), STARTED: "9x20"},
        {"{}": 0},
    ),
    Case(
        "two exporters tell of one queue", "queues", "Messages waiting",
        {**ready("web", "5x20"), **ready("web", "5x20", "b:9808")}, {"{}": 5},
    ),
    Case(
        "busy", "workers", "Busy",
        {
            here("celery_worker_active_tasks", worker="w1"): "3x20",
            here("celery_worker_pool_size", worker="w1"): "4x20",
        },
        {"{}": 0.75},
    ),
    Case(
        "slots not known", "workers", "Busy",
        {here("celery_worker_active_tasks", worker="w1"): "3x20"}, ABSENT,
    ),
    Case("no failure yet", "task", "Failures by exception", {FAILED: "0x20"},
         {'{exception="none"}': 0}),
    Case(
        "failures", "task", "Failures by exception",
        {FAILED.replace('queue="web"', 'queue="web",exception="ValueError"'): "0+60x20"},
        {'{exception="ValueError"}': 1},
    ),
    Case("actions are off", "actions", "Denied", {}, ABSENT),
    Case(
        "nobody was denied", "actions", "Denied", {here("celery_exporter_audit_entries"): "4x20"},
        {"{}": 0},
    ),
    Case(
        "the audit log was cut", "actions", "Audit log cut",
        {here("celery_exporter_audit_entries"): "9x12 3x8"}, {"{}": 1},
    ),
    Case("nothing was lost in the exporter", "overview", "Events not counted", {}, {"{}": 0}),
    Case(
        "a gap and ten messages", "exporter", "Events not counted",
        {
            here("celery_exporter_source_gaps_total", source="redis"): "0x15 1x5",
            here("celery_exporter_events_dropped_total", reason="buffer_full"): "0x15 10x5",
        },
        {"{}": 11},
    ),
]  # fmt: skip


def expression(case: Case) -> str:
    board = BOARDS[case.dashboard]
    (panel,) = [each for each in panels(board) if each["title"] == case.panel]
    return fill(panel["targets"][case.query]["expr"], CHOSEN, interval="4m", over="15m")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_meaning(case: Case, tmp_path: Path) -> None:
    series = {**(ALIVE if case.alive else {}), **case.series}
    expr = expression(case)
    expected = [{"labels": labels, "value": value} for labels, value in case.expected.items()]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": "20m", "exp_samples": expected}],
    }
    written = tmp_path / "test.yml"
    # JSON is YAML, but for infinity.
    text = json.dumps({"tests": [test]}).replace("Infinity", ".inf")
    written.write_text(text)
    command = [require("promtool"), "test", "rules", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
