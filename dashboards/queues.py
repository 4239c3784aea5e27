"""Queues: how much waits, for how long, and who takes it."""

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links
from dashboards.board import Row, dashboard
from dashboards.panels import (
    DRAINING,
    NONE_EXPECTED,
    PLAIN,
    RED,
    WAITING,
    YES_NO,
    Query,
    lines,
    number,
)
from dashboards.promql import (
    AT_END,
    oldest_message,
    quantile,
    rate,
    ready,
    series,
    time_to_drain,
    top,
    total,
)
from dashboards.queue_panels import (
    MESSAGES,
    QUEUE,
    columns,
    messages_waiting,
    slowest_to_drain,
    verdicts,
)
from dashboards.tables import rows_of
from dashboards.variables import broker_queue

_READY = series(MESSAGES, 'state="ready"', QUEUE)
#: Queues with the most messages on average of the time shown.
_LARGEST = f"sum by (queue) (avg_over_time({_READY}[$__range]{AT_END}))"


def build() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        links.QUEUES,
        "Celery / Queues",
        "How many messages wait, for how long, how soon they are done, and who takes them.",
        [broker_queue()],
        [
            Row("Is anything waiting?", _verdicts()),
            Row("Queues", [_table()]),
            Row("Depth", _depth()),
            Row("Flow", _flow()),
            Row("What RabbitMQ tells", _rabbitmq(), collapsed=True),
            Row("How the queues are read", _poll(), collapsed=True),
        ],
    )


def _verdicts() -> list[stat.Panel]:
    unacked = total(MESSAGES, 'state="unacked"', QUEUE)
    drift = total("celery_fleet_registered_tasks_drift", QUEUE, how="max")
    return [
        *verdicts(),
        slowest_to_drain(),
        messages_waiting(),
        number(
            "Messages held",
            "Unacknowledged: workers have prefetched them, run them with late acknowledgement, or"
            " keep them for their ETA. Those of a dead worker come back after the visibility"
            " timeout.",
            unacked,
            "short",
            PLAIN,
        ),
        number(
            "Wait (p95)",
            "From sent, or its eta, to started, of the tasks of these queues: what users feel."
            " Unknown without task_send_sent_event.",
            quantile(0.95, "celery_task_queue_wait_seconds", QUEUE),
            "s",
            WAITING,
            absent="unknown",
        ),
        number(
            "Unequal workers",
            "Task names that some workers of a queue know and others do not. More than 0 for"
            " longer than a deployment takes: an old worker is left over, and what it does not"
            " know fails there with NotRegistered.",
            drift,
            "short",
            NONE_EXPECTED,
            absent="unknown",
        ),
        number(
            "Queues readable",
            "Whether the last look at the broker's queues succeeded. If not, everything about"
            " queues is absent here; the exporter's log says why.",
            total("celery_queue_poll_success", how="min"),
            "short",
            (RED, (1, "green")),
            texts=YES_NO,
        ),
    ]


def _table() -> table.Panel:
    return rows_of(
        "queue",
        "Queue",
        "All queues",
        "What waits and who takes it. Sent faster than started: the queue grows. Workers 0 in"
        " red: nobody consumes it. Slots: tasks its workers can run at one time. Unequal tasks:"
        " names that not all of its workers know. An empty cell is not known, not 0.",
        columns(),
        links=[links.to(links.QUEUES, "Only this queue", "queue")],
        sort="Ready",
        height=11,
    )


def _depth() -> list[timeseries.Panel]:
    by = ("queue",)
    return [
        lines(
            "Messages ready",
            "What waits on the broker, of the ten queues that were longest in the time shown. A"
            " steady rise is a backlog: compare sent with started below.",
            [Query(top(ready(QUEUE), _LARGEST, "queue"), "{{queue}}")],
            "short",
        ),
        lines(
            "Messages ready by priority",
            "Over all chosen queues. On Redis priority is the step, and 0 is taken first: high"
            " steps starve while low ones are never empty. RabbitMQ tells no priorities: one line.",
            [
                Query(
                    total(MESSAGES, 'state="ready"', QUEUE, by=("priority",)),
                    "priority {{priority}}",
                )
            ],
            "short",
            stacked=True,
        ),
        lines(
            "Messages unacknowledged",
            "Taken by workers and not yet acknowledged. Much more than slots times the prefetch"
            " multiplier: tasks with an ETA are held, or a worker died with its messages.",
            [
                Query(
                    top(total(MESSAGES, 'state="unacked"', QUEUE, by=by), _LARGEST, "queue"),
                    "{{queue}}",
                )
            ],
            "short",
        ),
        lines(
            "Age of the oldest message",
            "How long the next message has waited. It grows by a second each second while"
            " nothing is taken from the queue at all.",
            [Query(top(oldest_message(QUEUE), _LARGEST, "queue"), "{{queue}}")],
            "s",
            steps=WAITING,
        ),
    ]


def _flow() -> list[timeseries.Panel]:
    by = ("queue",)
    sent = rate("celery_task_sent_total", QUEUE)
    started = rate("celery_task_started_total", QUEUE)
    return [
        lines(
            "Sent and started",
            "Tasks a second, over all chosen queues. Sent above started for long: the backlog"
            " grows. Sent needs task_send_sent_event.",
            [Query(sent, "sent"), Query(started, "started")],
            "ops",
            colors={"sent": "blue", "started": "green"},
        ),
        lines(
            "Time to drain",
            "Messages ready divided by the pace at which tasks of the queue are started: how long"
            " until it is empty if nothing new came.",
            [Query(top(time_to_drain(QUEUE), _LARGEST, "queue"), "{{queue}}")],
            "s",
            steps=DRAINING,
        ),
        lines(
            "Wait until started (p95)",
            "From sent, or its eta, to started: what users of the queue feel. The dots are traces.",
            [
                Query(
                    top(
                        quantile(0.95, "celery_task_queue_wait_seconds", QUEUE, by=by),
                        "sum by (queue) (rate("
                        + series("celery_task_queue_wait_seconds_count", QUEUE)
                        + f"[$__range]{AT_END}))",
                        "queue",
                    ),
                    "{{queue}}",
                    exemplar=True,
                )
            ],
            "s",
            steps=WAITING,
        ),
        lines(
            "Workers and slots",
            "Workers that consume the queue, and tasks they can run at one time, of the ten"
            " longest queues. A fall to 0 with messages waiting: start workers.",
            [
                Query(
                    top(total("celery_queue_workers", QUEUE, by=by), _LARGEST, "queue"),
                    "{{queue}}: workers",
                ),
                Query(
                    top(total("celery_queue_pool_size", QUEUE, by=by), _LARGEST, "queue"),
                    "{{queue}}: slots",
                ),
            ],
            "short",
        ),
    ]


def _rabbitmq() -> list[timeseries.Panel]:
    by = ("queue",)
    moved = [
        Query(rate(f"celery_queue_messages_{what}_total", QUEUE), what)
        for what in ("published", "delivered", "acked")
    ]
    return [
        lines(
            "Messages moved",
            "As RabbitMQ's management API counts them, whoever sends. Published above"
            " acknowledged: the queue grows. Delivered well above acknowledged: messages come"
            " back, since workers die or lose their connection. Absent on Redis.",
            moved,
            "ops",
        ),
        lines(
            "Published by queue",
            "Messages published a second, of the ten longest queues. Absent on Redis.",
            [
                Query(
                    top(
                        rate("celery_queue_messages_published_total", QUEUE, by=by),
                        _LARGEST,
                        "queue",
                    ),
                    "{{queue}}",
                )
            ],
            "ops",
        ),
        lines(
            "Memory of queues",
            "What the ten longest queues take in RabbitMQ's memory. Near the broker's high"
            " watermark it blocks whoever publishes. Absent on Redis.",
            [
                Query(
                    top(total("celery_queue_memory_bytes", QUEUE, by=by), _LARGEST, "queue"),
                    "{{queue}}",
                )
            ],
            "bytes",
        ),
        lines(
            "Consumers that RabbitMQ sees",
            "0 with messages waiting: no worker is connected to the queue. More than there are"
            " workers: other programs consume it too. Absent on Redis, which knows none.",
            [
                Query(
                    top(total("celery_queue_consumers", QUEUE, by=by), _LARGEST, "queue"),
                    "{{queue}}",
                )
            ],
            "short",
        ),
    ]


def _poll() -> list[timeseries.Panel]:
    last = total("celery_queue_poll_last_success_timestamp_seconds", by=("instance",), how="min")
    return [
        lines(
            "Time since the queues were read",
            "More than a few times --queue-poll-interval: the broker does not answer in time, or"
            " refuses. What is shown of queues is then absent, not old.",
            [Query(f"time() - {last}", "{{instance}}")],
            "s",
        ),
        lines(
            "Duration of a look",
            "How long it took to read all queues. Near --queue-poll-timeout: raise it, or watch"
            " fewer queues.",
            [
                Query(
                    total("celery_queue_poll_duration_seconds", by=("instance",), how="max"),
                    "{{instance}}",
                )
            ],
            "s",
        ),
    ]
