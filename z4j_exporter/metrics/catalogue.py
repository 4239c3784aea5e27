"""Every metric family of the native profile, as data: code refers to these declarations.

Names are Prometheus's: base units, ``_total`` for counters. ``task`` and ``queue`` come first in
every task family; ``worker`` joins them where ``--task-worker-label`` asks for it.
"""

from dataclasses import replace

from z4j_exporter.metrics.store import Family

#: Seconds: run times and waits, from milliseconds to hours.
DURATION_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0,
)  # fmt: skip
#: Seconds: the whole life of a task, up to a day.
END_TO_END_BUCKETS = (
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0,
)  # fmt: skip
ATTEMPT_BUCKETS = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)

_TASK = ("task", "queue")


def _count(name: str, text: str, *labels: str) -> Family:
    return Family(f"celery_task_{name}_total", "counter", text, (*_TASK, *labels))


TASK_SENT = _count("sent", "task-sent events: messages published (with task_send_sent_event).")
TASK_RECEIVED = _count("received", "task-received events: tasks that a worker took.")
TASK_STARTED = _count("started", "task-started events: attempts that began to run.")
TASK_SUCCEEDED = _count("succeeded", "task-succeeded events.")
TASK_FAILED = _count("failed", "Tasks that failed, by the exception's class.", "exception")
TASK_RETRIED = _count(
    "retried", "Attempts that ended in a retry, by the exception's class.", "exception"
)
TASK_REJECTED = _count(
    "rejected", "task-rejected events; requeued says whether the task comes back.", "requeued"
)
TASK_REVOKED = _count(
    "revoked", "Tasks that were revoked, terminated or expired; each task once.", "reason"
)
TASK_CANCELLED = _count(
    "cancelled", "task-cancelled events (Celery 5.7): the worker lost its broker; it comes back."
)
TASK_LOST = _count(
    "lost", "Tasks that started and will not end: their worker died, or no event for too long.",
    "reason",
)  # fmt: skip
TASK_UNSEEN = Family(
    "celery_task_ended_unseen_total",
    "counter",
    "Tasks whose worker says it runs nothing, though no end came: Ignore, or a missed event.",
    _TASK,
)


def _histogram(
    name: str, text: str, buckets: tuple[float, ...], *labels: str, unit: str = "seconds"
) -> Family:
    return Family(f"celery_task_{name}", "histogram", text, (*_TASK, *labels), unit, buckets)


TASK_RUNTIME = _histogram(
    "runtime_seconds", "Run time of an attempt, start to end.", DURATION_BUCKETS, "outcome"
)
TASK_QUEUE_WAIT = _histogram(
    "queue_wait_seconds",
    "From sent (or eta, if later) to started; each attempt by itself.",
    DURATION_BUCKETS,
)
TASK_PREFETCH_WAIT = _histogram(
    "prefetch_wait_seconds",
    "From received by a worker (or eta, if later) to started.",
    DURATION_BUCKETS,
)
TASK_END_TO_END = _histogram(
    "end_to_end_seconds",
    "From first sent (or its eta) to the final end, all retries included.",
    END_TO_END_BUCKETS,
    "outcome",
)
TASK_ATTEMPTS = _histogram(
    "attempts", "Attempts used when the task ended.", ATTEMPT_BUCKETS, "outcome", unit=""
)
TASKS_IN_PROGRESS = Family(
    "celery_tasks_in_progress",
    "gauge",
    "Tasks that have not ended: waiting (sent), reserved (received), running (started).",
    (*_TASK, "state"),
)
TASK_OLDEST = Family(
    "celery_task_oldest_in_progress_seconds",
    "gauge",
    "How long the oldest task in this state has been in it.",
    (*_TASK, "state"),
    "seconds",
)

_WORKER = ("worker",)
WORKER_UP = Family(
    "celery_worker_up", "gauge", "1 while the worker's heartbeats come, else 0.", _WORKER
)
WORKER_TASK_EVENTS = Family(
    "celery_worker_task_events_total",
    "counter",
    "Task transitions by worker, without task names.",
    (*_WORKER, "state"),
)
WORKER_LAST_HEARTBEAT = Family(
    "celery_worker_last_heartbeat_timestamp_seconds",
    "gauge",
    "The worker's own clock at its last heartbeat.",
    _WORKER,
    "seconds",
)
WORKER_ACTIVE = Family(
    "celery_worker_active_tasks", "gauge", "Tasks the worker says it runs.", _WORKER
)
WORKER_PROCESSED = Family(
    "celery_worker_processed_total",
    "counter",
    "Tasks the worker says it started since it was started itself.",
    _WORKER,
)
WORKER_LOAD = Family(
    "celery_worker_load",
    "gauge",
    "Load average of the worker's host over 1, 5 and 15 minutes.",
    (*_WORKER, "period"),
)
WORKER_CLOCK_SKEW = Family(
    "celery_worker_clock_skew_seconds",
    "gauge",
    "How far the worker's clock is ahead of the exporter's (less the quickest delivery).",
    _WORKER,
    "seconds",
)
WORKER_INFO = Family(
    "celery_worker_info",
    "gauge",
    "Always 1: what the worker says of itself.",
    (*_WORKER, "hostname", "sw_ident", "sw_ver", "sw_sys", "pool"),
)
WORKER_MISSING = Family(
    "celery_worker_missing_events_total",
    "counter",
    "Tasks the worker says it started and that sent no task-started which arrived here.",
    _WORKER,
)

_QUEUE = ("queue",)
QUEUE_MESSAGES = Family(
    "celery_queue_messages",
    "gauge",
    "Messages on the broker: ready, or unacked (a worker has them); ready by priority on Redis.",
    (*_QUEUE, "state", "priority"),
)
QUEUE_CONSUMERS = Family(
    "celery_queue_consumers", "gauge", "Consumers that the broker sees (RabbitMQ).", _QUEUE
)
QUEUE_OLDEST = Family(
    "celery_queue_oldest_message_age_seconds",
    "gauge",
    "How long the message to be taken next has waited; absent where that is not known.",
    _QUEUE,
    "seconds",
)
QUEUE_MEMORY = Family(
    "celery_queue_memory_bytes",
    "gauge",
    "Memory that the queue takes on the broker (RabbitMQ).",
    _QUEUE,
    "bytes",
)
QUEUE_PUBLISHED = Family(
    "celery_queue_messages_published_total",
    "counter",
    "Messages published to the queue since it was declared (RabbitMQ).",
    _QUEUE,
)
QUEUE_DELIVERED = Family(
    "celery_queue_messages_delivered_total",
    "counter",
    "Messages given to consumers since the queue was declared (RabbitMQ).",
    _QUEUE,
)
QUEUE_ACKED = Family(
    "celery_queue_messages_acked_total",
    "counter",
    "Messages acknowledged since the queue was declared (RabbitMQ).",
    _QUEUE,
)
QUEUE_POLL_SUCCESS = Family(
    "celery_queue_poll_success",
    "gauge",
    "1 when the last look at the queues succeeded; at 0 the queues' values are absent.",
)
QUEUE_POLL_DURATION = Family(
    "celery_queue_poll_duration_seconds",
    "gauge",
    "How long the last look at the queues took.",
    unit="seconds",
)
QUEUE_POLL_LAST_SUCCESS = Family(
    "celery_queue_poll_last_success_timestamp_seconds",
    "gauge",
    "When the queues were last read, epoch seconds.",
    unit="seconds",
)

TASK_FAMILIES = (
    TASK_SENT, TASK_RECEIVED, TASK_STARTED, TASK_SUCCEEDED, TASK_FAILED, TASK_RETRIED,
    TASK_REJECTED, TASK_REVOKED, TASK_CANCELLED, TASK_LOST, TASK_UNSEEN,
    TASK_RUNTIME, TASK_QUEUE_WAIT, TASK_PREFETCH_WAIT, TASK_END_TO_END, TASK_ATTEMPTS,
    TASKS_IN_PROGRESS, TASK_OLDEST,
)  # fmt: skip
WORKER_FAMILIES = (
    WORKER_UP, WORKER_TASK_EVENTS, WORKER_LAST_HEARTBEAT, WORKER_ACTIVE, WORKER_PROCESSED,
    WORKER_LOAD, WORKER_CLOCK_SKEW, WORKER_INFO, WORKER_MISSING,
)  # fmt: skip
QUEUE_FAMILIES = (
    QUEUE_MESSAGES, QUEUE_CONSUMERS, QUEUE_OLDEST, QUEUE_MEMORY, QUEUE_PUBLISHED,
    QUEUE_DELIVERED, QUEUE_ACKED, QUEUE_POLL_SUCCESS, QUEUE_POLL_DURATION, QUEUE_POLL_LAST_SUCCESS,
)  # fmt: skip

# What workers answer when they are asked; "by inspect" is said in docs/fleet.md.
WORKER_POOL_SIZE = Family(
    "celery_worker_pool_size", "gauge", "Tasks the worker can run at one time.", _WORKER
)
WORKER_PREFETCH = Family(
    "celery_worker_prefetch_limit",
    "gauge",
    "Messages the worker takes from its queues before it has finished one; 0: any number.",
    _WORKER,
)
WORKER_REGISTERED = Family(
    "celery_worker_registered_tasks", "gauge", "Task names the worker knows.", _WORKER
)
QUEUE_WORKERS = Family(
    "celery_queue_workers", "gauge", "Workers that consume the queue.", ("queue",)
)
QUEUE_POOL_SIZE = Family(
    "celery_queue_pool_size",
    "gauge",
    "Tasks that all the workers which consume the queue can run at one time.",
    ("queue",),
)
FLEET_DRIFT = Family(
    "celery_fleet_registered_tasks_drift",
    "gauge",
    "Task names that some of the workers which consume the queue know, but not all of them.",
    ("queue",),
)
FLEET_SUCCESS = Family(
    "celery_fleet_inspect_success", "gauge", "1 if the workers could be asked last time, else 0."
)
FLEET_DURATION = Family(
    "celery_fleet_inspect_duration_seconds",
    "gauge",
    "How long it took to ask the workers last time.",
    unit="seconds",
)
FLEET_LAST_SUCCESS = Family(
    "celery_fleet_inspect_last_success_timestamp_seconds",
    "gauge",
    "When the workers were last asked with success.",
    unit="seconds",
)

FLEET_FAMILIES = (
    WORKER_POOL_SIZE, WORKER_PREFETCH, WORKER_REGISTERED, QUEUE_WORKERS, QUEUE_POOL_SIZE,
    FLEET_DRIFT, FLEET_SUCCESS, FLEET_DURATION, FLEET_LAST_SUCCESS,
)  # fmt: skip


def _own(
    name: str, kind: str, text: str, *labels: str, unit: str = "", buckets: tuple[float, ...] = ()
) -> Family:
    return Family(f"celery_exporter_{name}", kind, text, labels, unit, buckets)  # type: ignore[arg-type]  # literals below


BUILD_INFO = _own(
    "build_info", "gauge", "Always 1: versions of the exporter.",
    "version", "python_version", "celery_version", "profile",
)  # fmt: skip
SOURCE_CONNECTED = _own(
    "source_connected", "gauge", "1 while connected to the event source, else 0.", "source"
)
SOURCE_RECONNECTS = _own(
    "source_reconnects_total",
    "counter",
    "Connections to the event source after the first.",
    "source",
)
SOURCE_GAPS = _own(
    "source_gaps_total", "counter", "Times that events may have been missed, between connections.",
    "source",
)  # fmt: skip
EVENTS = _own("events_total", "counter", "Events applied; other is every custom type.", "type")
EVENTS_REFUSED = _own(
    "events_refused_total", "counter", "Messages and events that were not applied.", "reason"
)
EVENTS_DROPPED = _own(
    "events_dropped_total",
    "counter",
    "Messages dropped unread (a message carries one event or several).",
    "reason",
)
EVENT_LAG = _own(
    "event_lag_seconds", "histogram", "From the stamping of a message's last event to its receipt.",
    unit="seconds", buckets=LAG_BUCKETS,
)  # fmt: skip
BUFFER_BYTES = _own(
    "buffer_bytes", "gauge", "Bytes of messages read and not yet applied.", unit="bytes"
)
TRACKED_TASKS = _own("tracked_tasks", "gauge", "Tasks remembered, ended or not.")
TRACKER_EVICTIONS = _own(
    "tracker_evictions_total",
    "counter",
    "Tasks forgotten to make room, by their state; and workers.",
    "state",
)
DUPLICATE_EVENTS = _own(
    "duplicate_events_total", "counter", "Events that told again what was told: not counted twice."
)
LATE_EVENTS = _own(
    "late_events_total", "counter", "Events that came after one which must have followed them."
)
SERIES_DROPPED = _own(
    "series_dropped_total",
    "counter",
    "Updates that went to __overflow__, beyond the cap.",
    "family",
)
SINK_ERRORS = _own("sink_errors_total", "counter", "Transitions a sink failed on.", "sink")
HTTP_REQUESTS = _own("http_requests_total", "counter", "Requests answered.", "path", "code")
HTTP_AUTH_FAILURES = _own(
    "http_auth_failures_total", "counter", "Requests refused: wrong password."
)
HTTP_SLOW_CLOSED = _own(
    "http_slow_connections_closed_total", "counter", "Connections closed: too slow, or too many."
)
WEB_CONFIG_RELOADS = _own(
    "web_config_reloads_total", "counter", "Times the web configuration was read again.", "outcome"
)

EXPORTER_FAMILIES = (
    BUILD_INFO, SOURCE_CONNECTED, SOURCE_RECONNECTS, SOURCE_GAPS, EVENTS, EVENTS_REFUSED,
    EVENTS_DROPPED, EVENT_LAG, BUFFER_BYTES, TRACKED_TASKS, TRACKER_EVICTIONS, DUPLICATE_EVENTS,
    LATE_EVENTS, SERIES_DROPPED, SINK_ERRORS, HTTP_REQUESTS, HTTP_AUTH_FAILURES,
    HTTP_SLOW_CLOSED, WEB_CONFIG_RELOADS,
)  # fmt: skip

CATALOGUE = (
    *TASK_FAMILIES, *WORKER_FAMILIES, *QUEUE_FAMILIES, *FLEET_FAMILIES, *EXPORTER_FAMILIES,
)  # fmt: skip


def with_worker(family: Family) -> Family:
    """Return a task family with the ``worker`` label added."""
    return replace(family, labels=(*_TASK, "worker", *family.labels[len(_TASK) :]))


def with_buckets(family: Family, buckets: tuple[float, ...] | None) -> Family:
    """Return a histogram family with other buckets, if any are given."""
    return family if buckets is None else replace(family, buckets=buckets)
