"""The families of queues, as the broker tells."""

from z4j_exporter.metrics.store import Family

_QUEUE = ("queue",)
QUEUE_MESSAGES = Family(
    "celery_queue_messages",
    "gauge",
    "Messages on the broker: ready, or unacked (a worker has them); ready by priority on Redis.",
    (*_QUEUE, "state", "priority"),
    counts="message",
)
QUEUE_CONSUMERS = Family(
    "celery_queue_consumers",
    "gauge",
    "Consumers that the broker sees (RabbitMQ).",
    _QUEUE,
    counts="consumer",
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
    counts="message",
    elsewhere=True,
)
QUEUE_DELIVERED = Family(
    "celery_queue_messages_delivered_total",
    "counter",
    "Messages given to consumers since the queue was declared (RabbitMQ).",
    _QUEUE,
    counts="message",
    elsewhere=True,
)
QUEUE_ACKED = Family(
    "celery_queue_messages_acked_total",
    "counter",
    "Messages acknowledged since the queue was declared (RabbitMQ).",
    _QUEUE,
    counts="message",
    elsewhere=True,
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

QUEUE_FAMILIES = (
    QUEUE_MESSAGES, QUEUE_CONSUMERS, QUEUE_OLDEST, QUEUE_MEMORY, QUEUE_PUBLISHED,
    QUEUE_DELIVERED, QUEUE_ACKED, QUEUE_POLL_SUCCESS, QUEUE_POLL_DURATION, QUEUE_POLL_LAST_SUCCESS,
)  # fmt: skip
