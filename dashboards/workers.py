"""Workers: who is up, who is busy, whose tasks fail, whose events are missing."""

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links
from dashboards.board import Row, dashboard
from dashboards.panels import (
    FAILURES,
    GREEN,
    ORANGE,
    PLAIN,
    RED,
    YES_NO,
    Query,
    lines,
    number,
)
from dashboards.promql import AT_END, gauge, increase, or_none, rate, series, top, total
from dashboards.tables import Column, rows_of
from dashboards.variables import several
from dashboards.worker_panels import columns, missing_events, verdicts

WORKER = 'worker=~"$worker"'
_EVENTS = "celery_worker_task_events_total"
_BY = ("worker",)


def build() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        links.WORKERS,
        "Celery / Workers",
        "Who is up, who is busy, whose tasks fail, and whose events are missing.",
        [several("worker", "Worker", "celery_worker_up", "worker")],
        [
            Row("Are the workers well?", _verdicts()),
            Row("Workers", [_table(), _versions()]),
            Row("Work", _work()),
            Row("Health", _health()),
            Row("How the workers are asked", _inspect(), collapsed=True),
        ],
    )


def _busy() -> str:
    active = total("celery_worker_active_tasks", WORKER)
    return f"{active} / ({total('celery_worker_pool_size', WORKER)} > 0)"


def _verdicts() -> list[stat.Panel]:
    failed = rate(_EVENTS, 'state="failed"', WORKER)
    ends = rate(_EVENTS, 'state=~"succeeded|failed"', WORKER)
    skew = f"max(abs({gauge('celery_worker_clock_skew_seconds', WORKER)}))"
    return [
        *verdicts(WORKER),
        number(
            "Slots",
            "Tasks that these workers can run at one time.",
            total("celery_worker_pool_size", WORKER),
            "short",
            PLAIN,
            absent="unknown",
        ),
        number(
            "Busy",
            "The part of all slots that run a task now. Near 100 % with messages waiting: more"
            " workers or a larger --concurrency.",
            _busy(),
            "percentunit",
            (GREEN, (0.8, ORANGE), (0.95, RED)),
            absent="unknown",
        ),
        number(
            "Failures",
            "The failed part of the tasks that ended on these workers in the last minutes.",
            f"{failed} / ({ends} > 0)",
            "percentunit",
            FAILURES,
            absent="no task ended",
        ),
        missing_events(WORKER),
        number(
            "Largest clock error",
            "How far a worker's clock is off the exporter's. Durations between hosts (wait, end"
            " to end) are wrong by that much: look after NTP.",
            skew,
            "s",
            (GREEN, (1, ORANGE), (10, RED)),
        ),
        number(
            "Workers answer",
            "Whether the workers could be asked in the last round. If not, slots and consumers of"
            " queues are absent; the exporter's log says why.",
            total("celery_fleet_inspect_success", how="min"),
            "short",
            (RED, (1, GREEN)),
            texts=YES_NO,
        ),
    ]


def _table() -> table.Panel:
    more = [
        Column("Prefetch", total("celery_worker_prefetch_limit", WORKER, by=_BY, how="max")),
        Column("Knows", total("celery_worker_registered_tasks", WORKER, by=_BY, how="max")),
    ]
    return rows_of(
        "worker",
        "Worker",
        "All workers",
        "Heartbeat: seconds since the last one, by the worker's own clock. Slots: tasks it can run"
        " at one time. Failed: part of the tasks that ended. Unseen: tasks whose events did not"
        " arrive in the time shown. Clock: how far its clock is off. Prefetch: messages it takes"
        " before it has finished one, 0 for any number. Knows: registered task names.",
        [*columns(WORKER), *more],
        links=[links.to(links.WORKERS, "Only this worker", "worker")],
        sort="Heartbeat",
        height=12,
    )


def _versions() -> table.Panel:
    info = gauge("celery_worker_info", WORKER)
    return rows_of(
        "sw_ver",
        "Celery",
        "What runs",
        "Workers by version of Celery, pool and system. More than one version for longer than a"
        " deployment takes: somebody was left behind.",
        [Column("Workers", f"count by (sw_ver, pool, sw_sys, sw_ident) ({info})")],
        also=[("pool", "Pool"), ("sw_sys", "System"), ("sw_ident", "Program")],
        sort="Workers",
        height=6,
    )


def _ranked(state: str) -> str:
    return increase(_EVENTS, f'state="{state}"', WORKER, by=_BY, at=AT_END)


def _of_state(state: str) -> Query:
    expr = rate(_EVENTS, f'state="{state}"', WORKER, by=_BY)
    return Query(top(expr, _ranked(state), "worker"), "{{worker}}")


def _work() -> list[timeseries.Panel]:
    active = total("celery_worker_active_tasks", WORKER)
    pool = total("celery_worker_pool_size", WORKER)
    running = series("celery_worker_active_tasks", WORKER)
    rank = f"max by (worker) (avg_over_time({running}[$__range]{AT_END}))"
    return [
        lines(
            "Tasks running and slots",
            "Running at the slots' height: all workers are busy, and what comes waits.",
            [Query(active, "running"), Query(pool, "slots")],
            "short",
            colors={"slots": "#808080", "running": "green"},
        ),
        lines(
            "Busiest workers",
            "The ten workers that ran the most tasks at a time. One that stands at its slots while"
            " others are idle: long tasks, or too large a prefetch.",
            [
                Query(
                    top(total("celery_worker_active_tasks", WORKER, by=_BY), rank, "worker"),
                    "{{worker}}",
                )
            ],
            "short",
        ),
        lines(
            "Tasks started by worker",
            "The ten workers that started the most in the time shown.",
            [_of_state("started")],
            "ops",
        ),
        lines(
            "Tasks failed by worker",
            "The ten workers with the most failures. Only one of many: its host, its code or its"
            " network differs. All alike: the task or what it depends on.",
            [Query(or_none(_of_state("failed").expr, "worker"), "{{worker}}")],
            "ops",
        ),
        lines(
            "What happens on the workers",
            "Transitions of tasks a second, over all chosen workers, without task names.",
            [Query(rate(_EVENTS, WORKER, by=("state",)), "{{state}}")],
            "ops",
        ),
        lines(
            "Tasks started, as workers count them",
            "By their heartbeats' own counter. It differs from the events by the tasks unseen.",
            [
                Query(rate("celery_worker_processed_total", WORKER), "counted by workers"),
                Query(rate(_EVENTS, 'state="started"', WORKER), "told by events"),
            ],
            "ops",
        ),
    ]


def _health() -> list[timeseries.Panel]:
    up = gauge("celery_worker_up", WORKER)
    missing = "celery_worker_missing_events_total"
    load = series("celery_worker_load", 'period="1m"', WORKER)
    skew = series("celery_worker_clock_skew_seconds", WORKER)
    return [
        lines(
            "Up and down",
            "Workers over time. Saw teeth: they restart again and again, or their heartbeats stop"
            " while long tasks run in a solo pool (raise --worker-timeout).",
            [Query(f"sum({up})", "up"), Query(f"sum(1 - {up})", "down")],
            "short",
            stacked=True,
            colors={"up": "green", "down": "red"},
        ),
        lines(
            "Tasks unseen by worker",
            "Tasks a second that the worker started and whose events did not arrive, of the ten"
            " worst. All of one worker's: it runs without -E.",
            [
                Query(
                    top(
                        rate(missing, WORKER, by=_BY),
                        increase(missing, WORKER, by=_BY, at=AT_END),
                        "worker",
                    ),
                    "{{worker}}",
                )
            ],
            "ops",
        ),
        lines(
            "Load of the hosts",
            "Load average over a minute, as the worker reads it on its host, the ten highest."
            " Compare with the host's processors.",
            [
                Query(
                    top(
                        f"max by (worker) ({load})",
                        f"max by (worker) (avg_over_time({load}[$__range]{AT_END}))",
                        "worker",
                    ),
                    "{{worker}}",
                )
            ],
            "short",
        ),
        lines(
            "Clock errors",
            "How far the worker's clock is ahead of the exporter's (below 0: behind), the ten"
            " furthest off.",
            [
                Query(
                    top(
                        f"max by (worker) ({skew})",
                        f"max by (worker) (max_over_time({skew}[$__range]{AT_END}) ^ 2)",
                        "worker",
                    ),
                    "{{worker}}",
                )
            ],
            "s",
            lowest=None,
        ),
    ]


def _inspect() -> list[timeseries.Panel]:
    last = "celery_fleet_inspect_last_success_timestamp_seconds"
    return [
        lines(
            "Time since the workers were asked",
            "More than a few times --inspect-interval: the broker does not take the question."
            " Slots and consumers of queues are then absent.",
            [Query(f"time() - {total(last, by=('instance',), how='min')}", "{{instance}}")],
            "s",
        ),
        lines(
            "Duration of asking",
            "How long a round took; --inspect-timeout when some worker did not answer.",
            [
                Query(
                    total("celery_fleet_inspect_duration_seconds", by=("instance",), how="max"),
                    "{{instance}}",
                )
            ],
            "s",
        ),
    ]
