"""Overview: is anything wrong, and where."""

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import exporter_panels, links, queue_panels, worker_panels
from dashboards.board import Row, dashboard
from dashboards.groups import group_panels
from dashboards.in_progress import OLDEST
from dashboards.outcomes import COLORS, outcomes
from dashboards.panels import (
    FAILURES,
    NONE_ALLOWED,
    ORANGE,
    PLAIN,
    RED,
    RUNNING,
    WAITING,
    Query,
    lines,
    number,
)
from dashboards.promql import (
    AT_END,
    ended,
    failure_ratio,
    gauge,
    increase,
    or_none,
    or_zero,
    quantile,
    rate,
    ready,
    series,
    top,
    total,
)
from dashboards.queue_panels import QUEUE
from dashboards.tables import Column, rows_of
from dashboards.variables import queue, several

#: Not called task: the dashboard of one task has a variable of that name, and links carry it there.
TASKS = 'task=~"$tasks"'
_CHOSEN = (TASKS, QUEUE)
#: Rows of the table of tasks.
_ROWS = 50


def build() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        links.OVERVIEW,
        "Celery / Overview",
        "Is anything wrong, and where: tasks, queues and workers, as z4j-exporter sees them.",
        [several("tasks", "Tasks", "celery_task_received_total", "task"), queue()],
        [
            Row("Is anything wrong?", [*_verdicts(), *_figures()]),
            Row("Where?", [_tasks(), queue_panels.brief_table(), worker_panels.brief_table()]),
            Row("Over time", _trends()),
            Row("Groups and chords", group_panels(TASKS), collapsed=True),
        ],
    )


def _verdicts() -> list[stat.Panel]:
    """Return what an operator looks at first; green is well."""
    return [
        exporter_panels.connected(),
        *worker_panels.verdicts(),
        number(
            "Failures",
            "The failed part of the tasks that ended in the last minutes. Which tasks: the table"
            " below, then the task's own dashboard.",
            failure_ratio(*_CHOSEN),
            "percentunit",
            FAILURES,
            absent="no task ended",
        ),
        number(
            "Tasks lost",
            "Tasks that started in the time shown and will not end: their worker died (out of"
            " memory, killed), or no event came for --task-give-up-seconds. Without acks_late"
            " nobody does their work.",
            or_zero(increase("celery_task_lost_total", *_CHOSEN)),
            "short",
            NONE_ALLOWED,
            decimals=0,
        ),
        number(
            "Oldest running",
            "How long the oldest task has been running: a stuck one shows here. Beyond an hour"
            " Redis may give it out a second time (visibility timeout).",
            or_zero(total(OLDEST, 'state="running"', *_CHOSEN, how="max")),
            "s",
            RUNNING,
        ),
        *queue_panels.verdicts(),
    ]


def _figures() -> list[stat.Panel]:
    retried = rate("celery_task_retried_total", *_CHOSEN)
    started = rate("celery_task_started_total", *_CHOSEN)
    return [
        number(
            "Tasks ended", "Tasks that ended, well or not, a second.", ended(*_CHOSEN), "ops", PLAIN
        ),
        number(
            "Running",
            "Attempts that have started and not ended.",
            or_zero(total("celery_tasks_in_progress", 'state="running"', *_CHOSEN)),
            "short",
            PLAIN,
        ),
        number(
            "Retried part",
            "The part of attempts that ended in a retry. High while failures are low: something"
            " that tasks depend on is shaky, and retries cover it.",
            f"{retried} / ({started} > 0)",
            "percentunit",
            ("green", (0.1, ORANGE), (0.5, RED)),
            absent="none started",
        ),
        number(
            "Wait (p95)",
            "From sent, or its eta, to started, over all tasks. High: too few slots. Unknown"
            " without task_send_sent_event.",
            quantile(0.95, "celery_task_queue_wait_seconds", *_CHOSEN),
            "s",
            WAITING,
            absent="unknown",
        ),
        queue_panels.messages_waiting(),
        queue_panels.slowest_to_drain(),
        worker_panels.missing_events(),
        exporter_panels.losses(),
    ]


def _tasks() -> table.Panel:
    by = ("task",)
    clear = "transparent"
    failed = increase("celery_task_failed_total", *_CHOSEN, by=by)
    rank = (
        f"{failed} * 1e6 + {increase('celery_task_lost_total', *_CHOSEN, by=by)} * 1e6"
        f" + {increase('celery_task_received_total', *_CHOSEN, by=by)}"
    )
    running = total(OLDEST, 'state="running"', *_CHOSEN, by=by, how="max")
    columns = [
        Column("Ended", ended(*_CHOSEN, by=by), "ops"),
        Column("Failed", failed, decimals=0, steps=(clear, (0.5, ORANGE))),
        Column(
            "Failed part",
            failure_ratio(*_CHOSEN, by=by),
            "percentunit",
            (clear, (0.01, ORANGE), (0.05, RED)),
        ),
        Column("Retried", increase("celery_task_retried_total", *_CHOSEN, by=by), decimals=0),
        Column(
            "Lost",
            increase("celery_task_lost_total", *_CHOSEN, by=by),
            decimals=0,
            steps=(clear, (0.5, RED)),
        ),
        Column(
            "Run time (p95)", quantile(0.95, "celery_task_runtime_seconds", *_CHOSEN, by=by), "s"
        ),
        Column(
            "Wait (p95)",
            quantile(0.95, "celery_task_queue_wait_seconds", *_CHOSEN, by=by),
            "s",
            (clear, (60, ORANGE), (600, RED)),
        ),
        Column("Running", total("celery_tasks_in_progress", 'state="running"', *_CHOSEN, by=by)),
        Column("Oldest running", running, "s", (clear, (1800, ORANGE), (3600, RED))),
    ]
    return rows_of(
        "task",
        "Task",
        "Tasks: those that failed most, then the busiest",
        f"{_ROWS} of them. Failed, retried and lost are counts in the time shown, the others are of"
        " the last minutes. Click a name for everything about that task.",
        [
            column._replace(expr=f"({column.expr}) and on (task) topk({_ROWS}, {rank})")
            for column in columns
        ],
        links=[links.to(links.TASK, "This task", "task")],
        sort="Failed",
    )


def _trends() -> list[timeseries.Panel]:
    failed = "celery_task_failed_total"
    messages = series("celery_queue_messages", 'state="ready"', QUEUE)
    up = gauge("celery_worker_up")
    return [
        lines(
            "What becomes of tasks",
            "Attempts a second by how they ended. Lost and failed want a look; retried and"
            " rejected come back.",
            outcomes(*_CHOSEN),
            "ops",
            stacked=True,
            colors=COLORS,
        ),
        lines(
            "Failures by task",
            "The ten tasks with the most failures in the time shown. The dots are traces.",
            [
                Query(
                    top(
                        rate(failed, *_CHOSEN, by=("task",)),
                        increase(failed, *_CHOSEN, by=("task",), at=AT_END),
                        "task",
                    ),
                    "{{task}}",
                    exemplar=True,
                )
            ],
            "ops",
        ),
        lines(
            "Failures by exception",
            "By the exception's class, the ten most frequent. One that rises in several tasks at"
            " once: something they all depend on.",
            [
                Query(
                    or_none(
                        top(
                            rate(failed, 'exception!=""', *_CHOSEN, by=("exception",)),
                            increase(
                                failed, 'exception!=""', *_CHOSEN, by=("exception",), at=AT_END
                            ),
                            "exception",
                        ),
                        "exception",
                    ),
                    "{{exception}}",
                )
            ],
            "ops",
        ),
        lines(
            "Run time, wait, end to end (p95)",
            "Over all chosen tasks: nineteen of twenty took no longer. A rise of the wait alone:"
            " too few slots. Of the run time: the tasks or what they depend on. The dots are"
            " traces.",
            [
                Query(quantile(0.95, f"celery_task_{name}_seconds", *_CHOSEN), title, exemplar=True)
                for name, title in (
                    ("runtime", "run time"),
                    ("queue_wait", "wait"),
                    ("end_to_end", "end to end"),
                )
            ],
            "s",
        ),
        lines(
            "Messages ready",
            "What waits on the broker, of the ten queues that were longest in the time shown.",
            [
                Query(
                    top(
                        ready(QUEUE),
                        f"sum by (queue) (avg_over_time({messages}[$__range]{AT_END}))",
                        "queue",
                    ),
                    "{{queue}}",
                )
            ],
            "short",
        ),
        lines(
            "Workers",
            "Up and down over time. Saw teeth: they restart again and again.",
            [Query(f"sum({up})", "up"), Query(f"sum(1 - {up})", "down")],
            "short",
            stacked=True,
            colors={"up": "green", "down": "red"},
        ),
    ]
