"""The application's broker, whichever it is: messages found and put, queues counted and emptied."""

from collections.abc import Iterable

from z4j_exporter.actions.celery_amqp import AmqpBroker
from z4j_exporter.actions.celery_errors import queue_unknown
from z4j_exporter.actions.celery_redis import RedisBroker
from z4j_exporter.actions.messages import Outgoing
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.actions.payload import of_envelope
from z4j_exporter.actions.perform_receipts import PurgeReceipt
from z4j_exporter.config import Settings
from z4j_exporter.sources.transports import check_transport


class Broker:
    """Redis or RabbitMQ; on every other transport whatever is asked for is refused (501).

    Deadlines are monotonic. Raises BrokerUrlError, ConfigError or FileError for settings that
    cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        kind = check_transport(settings.broker_url or "")
        self._redis = RedisBroker(settings) if kind == "redis" else None
        self._amqp = AmqpBroker(settings) if kind == "amqp" else None

    def find(self, task_id: str, queues: Iterable[str], deadline: float) -> Payload | None:
        """Return the payload of a message that is still there; None on all but Redis.

        RabbitMQ shows a message only to who takes it. Raises ActionError: 422, 503.
        """
        if self._redis is None:
            return None
        found = self._redis.find(task_id, queues, deadline)
        return of_envelope(found.envelope, found.queue) if found else None

    def deliver(
        self,
        payload: Payload,
        message: Outgoing,
        deadline: float,
        *,
        queue: str | None,
        new_queue: bool,
    ) -> tuple[str, str]:
        """Send where it was asked for, else where it went before; return exchange and routing key.

        Straight into one queue where one is known: an exchange may lead to several. Raises
        ActionError, see RedisBroker.put and AmqpBroker.put.
        """
        name = queue or payload.queue or (payload.routing_key if not payload.exchange else None)
        if self._redis is not None:
            if not name and payload.exchange:
                name = _only_queue(self._redis, payload, deadline)
            if not name:
                raise queue_unknown(422)
            self._redis.put(name, message, deadline, new_queue=new_queue)
            return "", name
        if not name and not payload.exchange:
            raise queue_unknown(422)
        exchange = "" if name else payload.exchange or ""
        routing_key = name or payload.routing_key or ""
        self._rabbit().put(exchange, routing_key, message, deadline)
        return exchange, routing_key

    def count(self, queue: str, deadline: float) -> PurgeReceipt:
        """Return how many messages are ready. Raises ActionError: 404, 501, 502, 503."""
        if self._redis is not None:
            counts = self._redis.count(queue, deadline)
            return PurgeReceipt(sum(counts.values()), counts)
        return PurgeReceipt(self._rabbit().count(queue, deadline), {})

    def purge(self, queue: str, deadline: float) -> PurgeReceipt:
        """Remove what is ready. Raises ActionError: 404, 409, 501, 502, 503, 504."""
        if self._redis is not None:
            counts = self._redis.purge(queue, deadline)
            return PurgeReceipt(sum(counts.values()), counts)
        return PurgeReceipt(self._rabbit().purge(queue, deadline), {})

    def _rabbit(self) -> AmqpBroker:
        if self._amqp is None:
            raise ActionError(
                "transport-unsupported", 501, "this can be done on Redis and RabbitMQ only"
            )
        return self._amqp


def _only_queue(redis: RedisBroker, payload: Payload, deadline: float) -> str | None:
    reached = redis.route(payload.exchange or "", payload.routing_key or "", deadline)
    return next(iter(reached)) if len(reached) == 1 else None
