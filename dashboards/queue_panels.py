"""What Overview and Queues both show of queues."""

from grafana_foundation_sdk.builders import stat, table

from dashboards import links
from dashboards.panels import DRAINING, NONE_ALLOWED, ORANGE, PLAIN, RED, WAITING, number
from dashboards.promql import (
    count_or_zero,
    oldest_message,
    rate,
    ready,
    time_to_drain,
    total,
    unserved,
)
from dashboards.tables import Column, rows_of

QUEUE = 'queue=~"$queue"'
MESSAGES = "celery_queue_messages"


def verdicts() -> list[stat.Panel]:
    """Return what is wrong with queues, if anything."""
    return [
        number(
            "Longest wait in a queue",
            "How long the next message of some queue has waited. High with workers busy: more"
            " workers, or fewer slow tasks in this queue. High with workers idle: nobody consumes"
            " the queue, or a worker hangs. Unknown without task_send_sent_event.",
            f"max({oldest_message(QUEUE)})",
            "s",
            WAITING,
            absent="unknown",
            link=links.panel_link(links.QUEUES, "Queues"),
        ),
        number(
            "Queues nobody serves",
            "Queues that hold messages and have no consumer. Start a worker with -Q and the"
            " queue's name, or find the typo in the task's routing. A worker that does not answer"
            " inspect is not seen here.",
            count_or_zero(unserved(QUEUE), "celery_queue_poll_success"),
            "short",
            NONE_ALLOWED,
            absent="unknown",
            link=links.panel_link(links.QUEUES, "Queues"),
        ),
    ]


def slowest_to_drain() -> stat.Panel:
    """Return how long the queue that takes longest needs."""
    return number(
        "Slowest to drain",
        "How long the queue that takes longest needs until it is empty, at the pace at which"
        " its tasks are started now, if nothing new came. Infinite: messages wait and nothing"
        " is started.",
        f"max({time_to_drain(QUEUE)})",
        "s",
        DRAINING,
        absent="unknown",
        link=links.panel_link(links.QUEUES, "Queues"),
    )


def messages_waiting() -> stat.Panel:
    """Return how many messages are ready in all queues together."""
    return number(
        "Messages waiting",
        "Messages that are ready on the broker and that no worker has taken yet.",
        ready(QUEUE, by=()),
        "short",
        PLAIN,
        absent="unknown",
    )


def brief_table() -> table.Panel:
    """Return the table for Overview: the largest queues."""
    return rows_of(
        "queue",
        "Queue",
        "Queues with the most messages",
        "The twenty largest. Workers 0 in red: nobody consumes the queue, its messages wait for"
        " good. Drain: how soon it is empty at the present pace if nothing new came.",
        [
            column._replace(expr=_largest(column.expr, 20))
            for column in columns()
            if column.title in ("Ready", "Unacked", "Oldest", "Drain", "Workers")
        ],
        links=[links.to(links.QUEUES, "This queue", "queue")],
        sort="Ready",
        width=12,
    )


def _largest(expr: str, count: int) -> str:
    return f"({expr}) and on (queue) topk({count}, {ready(QUEUE)})"


def columns() -> list[Column]:
    """Return the columns of a table of queues."""
    by = ("queue",)
    clear = "transparent"
    return [
        Column("Ready", ready(QUEUE), decimals=0),
        Column("Unacked", total(MESSAGES, 'state="unacked"', QUEUE, by=by), decimals=0),
        Column("Oldest", oldest_message(QUEUE), "s", (clear, (60, ORANGE), (600, RED))),
        Column("Drain", time_to_drain(QUEUE), "s", (clear, (600, ORANGE), (3600, RED))),
        Column("Sent", rate("celery_task_sent_total", QUEUE, by=by), "ops"),
        Column("Started", rate("celery_task_started_total", QUEUE, by=by), "ops"),
        Column("Workers", total("celery_queue_workers", QUEUE, by=by), "short", (RED, (1, clear))),
        Column("Slots", total("celery_queue_pool_size", QUEUE, by=by)),
        Column(
            "Unequal tasks",
            total("celery_fleet_registered_tasks_drift", QUEUE, by=by, how="max"),
            "short",
            (clear, (1, ORANGE)),
        ),
    ]
