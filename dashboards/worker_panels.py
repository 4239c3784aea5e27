"""What Overview and Workers both show of workers."""

from grafana_foundation_sdk.builders import stat, table

from dashboards import links
from dashboards.panels import GREEN, NONE_EXPECTED, ORANGE, RED, number
from dashboards.promql import gauge, increase, or_zero, rate, total
from dashboards.tables import Column, rows_of

_EVENTS = "celery_worker_task_events_total"
_CLEAR = "transparent"


def verdicts(*worker: str) -> list[stat.Panel]:
    """Return the numbers that Overview shows too."""
    up = gauge("celery_worker_up", *worker)
    return [
        number(
            "Workers up",
            "Workers whose heartbeats come. 0: no worker runs, or none sends events (start them"
            " with -E). z4j-exporter doctor tells which.",
            or_zero(f"sum({up})"),
            "short",
            (RED, (1, GREEN)),
            link=links.panel_link(links.WORKERS, "Workers"),
        ),
        number(
            "Workers down",
            "Workers that were there and whose heartbeats stopped. After a deployment or a"
            " scale-down the old ones stay for 30 minutes (--purge-offline-worker-metrics); join"
            " the pods of a deployment with --worker-label-rewrite. Otherwise: the worker died or"
            " hangs.",
            or_zero(f"sum(1 - {up})"),
            "short",
            NONE_EXPECTED,
            link=links.panel_link(links.WORKERS, "Workers"),
        ),
    ]


def missing_events(*worker: str) -> stat.Panel:
    """Return the number of tasks that nobody told of."""
    return number(
        "Tasks unseen",
        "Tasks that workers say they started in the time shown, and whose events never arrived."
        " The figures of tasks are too low by that much. Causes: a worker without -E, a task with"
        " send_events=False, an event lost on the way.",
        or_zero(increase("celery_worker_missing_events_total", *worker)),
        "short",
        NONE_EXPECTED,
        decimals=0,
        link=links.panel_link(links.WORKERS, "Workers"),
    )


def columns(*worker: str) -> list[Column]:
    """Return the columns of a table of workers."""
    by = ("worker",)
    active = total("celery_worker_active_tasks", *worker, by=by)
    pool = total("celery_worker_pool_size", *worker, by=by)
    failed = rate(_EVENTS, 'state="failed"', *worker, by=by)
    ends = rate(_EVENTS, 'state=~"succeeded|failed"', *worker, by=by)
    last = total("celery_worker_last_heartbeat_timestamp_seconds", *worker, by=by, how="max")
    skew = f"max by (worker) (abs({gauge('celery_worker_clock_skew_seconds', *worker)}))"
    return [
        Column(
            "Up",
            total("celery_worker_up", *worker, by=by, how="max"),
            texts={"1": ("up", GREEN), "0": ("down", RED)},
        ),
        Column("Heartbeat", f"time() - {last}", "s", (_CLEAR, (60, ORANGE))),
        Column("Active", active, decimals=0),
        Column("Slots", pool, decimals=0),
        Column("Busy", f"{active} / ({pool} > 0)", "percentunit"),
        Column("Started", rate(_EVENTS, 'state="started"', *worker, by=by), "ops"),
        Column(
            "Failed",
            f"{failed} / ({ends} > 0)",
            "percentunit",
            (_CLEAR, (0.01, ORANGE), (0.05, RED)),
        ),
        Column(
            "Unseen",
            increase("celery_worker_missing_events_total", *worker, by=by),
            steps=(_CLEAR, (0.5, ORANGE)),
            decimals=0,
        ),
        Column("Load", total("celery_worker_load", 'period="1m"', *worker, by=by, how="max")),
        Column("Clock", skew, "s", (_CLEAR, (1, ORANGE), (10, RED))),
    ]


def brief_table() -> table.Panel:
    """Return the table for Overview: the workers that give the most reason to look."""
    up = total("celery_worker_up", by=("worker",), how="max")
    events = rate(_EVENTS, by=("worker",))
    reason = f"(1 - {up}) * 1e9 + on (worker) ({events} or on (worker) 0 * {up})"
    return rows_of(
        "worker",
        "Worker",
        "Workers: those that are down, then the busiest",
        "Twenty of them; all are on the dashboard Workers. Heartbeat: seconds since the last one,"
        " by the worker's own clock. Busy: the part of its slots that run a task.",
        [
            column._replace(expr=f"({column.expr}) and on (worker) topk(20, {reason})")
            for column in columns()
            if column.title in ("Up", "Heartbeat", "Busy", "Failed", "Unseen")
        ],
        links=[links.to(links.WORKERS, "This worker", "worker")],
        sort="Heartbeat",
        width=12,
    )
