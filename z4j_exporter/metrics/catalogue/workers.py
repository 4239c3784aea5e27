"""The families of workers, as their heartbeats and events tell."""

from z4j_exporter.metrics.store import Family

_WORKER = ("worker",)
WORKER_UP = Family(
    "celery_worker_up", "gauge", "1 while the worker's heartbeats come, else 0.", _WORKER
)
WORKER_TASK_EVENTS = Family(
    "celery_worker_task_events_total",
    "counter",
    "Task transitions by worker, without task names.",
    (*_WORKER, "state"),
    counts="transition",
)
WORKER_LAST_HEARTBEAT = Family(
    "celery_worker_last_heartbeat_timestamp_seconds",
    "gauge",
    "The worker's own clock at its last heartbeat.",
    _WORKER,
    "seconds",
)
WORKER_ACTIVE = Family(
    "celery_worker_active_tasks",
    "gauge",
    "Tasks the worker says it runs.",
    _WORKER,
    counts="task",
)
WORKER_PROCESSED = Family(
    "celery_worker_processed_total",
    "counter",
    "Tasks the worker says it started since it was started itself.",
    _WORKER,
    counts="task",
    elsewhere=True,
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
    counts="event",
)

WORKER_FAMILIES = (
    WORKER_UP, WORKER_TASK_EVENTS, WORKER_LAST_HEARTBEAT, WORKER_ACTIVE, WORKER_PROCESSED,
    WORKER_LOAD, WORKER_CLOCK_SKEW, WORKER_INFO, WORKER_MISSING,
)  # fmt: skip
