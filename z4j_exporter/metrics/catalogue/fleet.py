"""What workers answer when they are asked (by inspect; see docs/fleet.md)."""

from z4j_exporter.metrics.store import Family

_WORKER = ("worker",)
_QUEUE = ("queue",)
WORKER_POOL_SIZE = Family(
    "celery_worker_pool_size",
    "gauge",
    "Tasks the worker can run at one time.",
    _WORKER,
    counts="task",
)
WORKER_PREFETCH = Family(
    "celery_worker_prefetch_limit",
    "gauge",
    "Messages the worker takes from its queues before it has finished one; 0: any number.",
    _WORKER,
    counts="message",
)
WORKER_REGISTERED = Family(
    "celery_worker_registered_tasks",
    "gauge",
    "Task names the worker knows.",
    _WORKER,
    counts="task",
)
QUEUE_WORKERS = Family(
    "celery_queue_workers",
    "gauge",
    "Workers that consume the queue.",
    _QUEUE,
    counts="worker",
)
QUEUE_POOL_SIZE = Family(
    "celery_queue_pool_size",
    "gauge",
    "Tasks that all the workers which consume the queue can run at one time.",
    _QUEUE,
    counts="task",
)
FLEET_DRIFT = Family(
    "celery_fleet_registered_tasks_drift",
    "gauge",
    "Task names that some of the workers which consume the queue know, but not all of them.",
    _QUEUE,
    counts="task",
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
