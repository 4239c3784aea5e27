"""Chooses how the queues of the broker are read."""

from z4j_exporter.config import Settings
from z4j_exporter.queues.base import QueueReader
from z4j_exporter.queues.rabbitmq import RabbitQueues
from z4j_exporter.queues.redis import RedisQueues
from z4j_exporter.sources.transports import check_transport


def open_queue_reader(settings: Settings) -> QueueReader | None:
    """Return the reader for the settings; it is not connected yet.

    None where there is nothing to read: without a broker (a recording), with
    ``queue_poll_interval`` 0, and for kombu's other transports, which have no way to it.

    Raises BrokerUrlError, ConfigError or FileError for what cannot be used.
    """
    if settings.recording is not None or not settings.broker_url:
        return None
    if settings.queue_poll_interval == 0:
        return None
    kind = check_transport(settings.broker_url)
    if kind == "redis":
        return RedisQueues(settings)
    if kind == "amqp":
        return RabbitQueues(settings)
    return None
