"""The families of tasks: ``task`` and ``queue`` first, then ``worker`` where it is asked for."""

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

_TASK = ("task", "queue")


def _count(name: str, text: str, *labels: str) -> Family:
    return Family(f"celery_task_{name}_total", "counter", text, (*_TASK, *labels), counts="task")


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
    counts="task",
)


def _histogram(
    name: str,
    text: str,
    buckets: tuple[float, ...],
    *labels: str,
    unit: str = "seconds",
    counts: str = "",
) -> Family:
    return Family(
        f"celery_task_{name}", "histogram", text, (*_TASK, *labels), unit, buckets, counts=counts
    )


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
    "attempts",
    "Attempts used when the task ended.",
    ATTEMPT_BUCKETS,
    "outcome",
    unit="",
    counts="attempt",
)
TASKS_IN_PROGRESS = Family(
    "celery_tasks_in_progress",
    "gauge",
    "Tasks that have not ended: waiting (sent), reserved (received), running (started).",
    (*_TASK, "state"),
    counts="task",
)
TASK_OLDEST = Family(
    "celery_task_oldest_in_progress_seconds",
    "gauge",
    "How long the oldest task in this state has been in it.",
    (*_TASK, "state"),
    "seconds",
)

TASK_FAMILIES = (
    TASK_SENT, TASK_RECEIVED, TASK_STARTED, TASK_SUCCEEDED, TASK_FAILED, TASK_RETRIED,
    TASK_REJECTED, TASK_REVOKED, TASK_CANCELLED, TASK_LOST, TASK_UNSEEN,
    TASK_RUNTIME, TASK_QUEUE_WAIT, TASK_PREFETCH_WAIT, TASK_END_TO_END, TASK_ATTEMPTS,
    TASKS_IN_PROGRESS, TASK_OLDEST,
)  # fmt: skip


def with_worker(family: Family) -> Family:
    """Return a task family with the ``worker`` label added."""
    return replace(family, labels=(*_TASK, "worker", *family.labels[len(_TASK) :]))
