"""What actions do in RabbitMQ: put a message where it is sure to arrive, count and empty a queue.

With py-amqp itself: nothing is declared, each publication is confirmed by the broker, and one
that no queue takes comes back. Every wait has the deadline of the whole.
"""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import amqp
from amqp.exceptions import AccessRefused, ChannelError, MessageNacked, NotFound, ResourceLocked

from z4j_exporter.actions.celery_errors import queue_unknown, refused, unknown, unreachable
from z4j_exporter.actions.messages import Outgoing
from z4j_exporter.actions.model import ActionError
from z4j_exporter.config import Settings
from z4j_exporter.sources.amqp_open import AMQP_FAILURES, discard, open_connection
from z4j_exporter.sources.amqp_url import Endpoint, parse_endpoint
from z4j_exporter.sources.socket_input import printable

#: Seconds: less than this is no time to connect in.
_LEAST_SECONDS: Final = 0.05
#: Bytes of a short string on the wire: queues, exchanges, routing keys.
_MAX_NAME_BYTES: Final = 255

_RIGHTS: Final = "The exporter's user needs write permission for retries, read for purging."

Result = TypeVar("Result")


class AmqpBroker:
    """The RabbitMQ that ``settings`` lead to; a connection for each call.

    Raises BrokerUrlError, ConfigError or FileError for what cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        urls = [url for url in (settings.broker_url or "").split(";") if url]
        self._endpoints = [parse_endpoint(url, settings.broker_tls) for url in urls]

    def put(self, exchange: str, routing_key: str, message: Outgoing, deadline: float) -> None:
        """Publish once; return when the broker has confirmed that a queue has it.

        Raises ActionError: 422 (unroutable) when no queue takes it, 503 when nothing was sent or
        the broker did not take it, 504 when it may have been sent.
        """
        if not (_fits(routing_key) and (not exchange or _fits(exchange))):
            raise queue_unknown(422)
        self._on_channel(
            lambda channel: _publish(channel, exchange, routing_key, message, deadline),
            deadline,
            acts=True,
        )

    def count(self, queue: str, deadline: float) -> int:
        """Return how many messages are ready. Raises ActionError: 503, or 404 (queue-unknown)."""
        if not _fits(queue):
            raise queue_unknown(404)
        return self._on_channel(
            lambda channel: int(channel.queue_declare(queue, passive=True).message_count), deadline
        )

    def purge(self, queue: str, deadline: float) -> int:
        """Remove all that is ready in a queue, and return how many there were.

        Raises ActionError: 404 (queue-unknown), 409 (queue-locked), 502, 503, or 504 when it may
        have happened.
        """
        if not _fits(queue):
            raise queue_unknown(404)

        def act(channel: Any) -> int:
            channel.queue_declare(queue, passive=True)
            return int(channel.queue_purge(queue))

        return self._on_channel(act, deadline, acts=True)

    def _on_channel(
        self, act: Callable[[Any], Result], deadline: float, *, acts: bool = False
    ) -> Result:
        connection, endpoint = self._connect(deadline)
        try:
            connection.sock.settimeout(max(_LEAST_SECONDS, deadline - time.monotonic()))
            return act(connection.channel())
        except ActionError:
            raise
        except NotFound:
            # Nothing is declared here: what is missing is the queue, or the exchange.
            raise queue_unknown(404) from None
        except ResourceLocked:
            raise ActionError(
                "queue-locked", 409, "the queue is exclusive to another connection"
            ) from None
        except MessageNacked:
            raise unreachable("it did not take the message") from None
        except (AccessRefused, ChannelError) as error:
            raise refused(f"{endpoint.location}: {_kind(error)}", _RIGHTS) from None
        except AMQP_FAILURES as error:
            why = f"{endpoint.location}: {_words(error)}"
            raise (unknown(why) if acts else unreachable(why)) from None
        finally:
            discard(connection)

    def _connect(self, deadline: float) -> tuple[amqp.Connection, Endpoint]:
        failures = []
        for position, endpoint in enumerate(self._endpoints):
            left = (deadline - time.monotonic()) / (len(self._endpoints) - position)
            if left < _LEAST_SECONDS:
                failures.append(f"{endpoint.location}: no time was left")
                continue
            try:
                return _open(endpoint, min(left, endpoint.connect_timeout_seconds)), endpoint
            except AMQP_FAILURES as error:
                failures.append(f"{endpoint.location}: {_words(error)}")
        raise unreachable("; ".join(failures))


def _open(endpoint: Endpoint, timeout_seconds: float) -> amqp.Connection:
    return open_connection(
        endpoint,
        name="z4j-exporter actions",
        timeout_seconds=timeout_seconds,
        heartbeat_seconds=0,  # it does not live long enough for one
    )


def _publish(
    channel: Any, exchange: str, routing_key: str, message: Outgoing, deadline: float
) -> None:
    returned: list[int] = []
    channel.events["basic_return"].add(lambda error, *_: returned.append(error.reply_code))
    channel.confirm_select()
    properties = {**message.properties}
    if not properties.get("reply_to"):
        properties.pop("reply_to", None)
    # The return comes before the confirmation, which is for "taken care of", not for "in a queue".
    channel.basic_publish_confirm(
        amqp.Message(
            message.body,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            application_headers=message.headers,
            **properties,
        ),
        exchange,
        routing_key,
        mandatory=True,
        confirm_timeout=max(_LEAST_SECONDS, deadline - time.monotonic()),
    )
    if returned:
        raise ActionError(
            "unroutable",
            422,
            "no queue takes messages with this destination, so the broker returned it",
            hint="Name a queue that is there.",
        )


def _words(error: Exception) -> str:
    if isinstance(error, AccessRefused):
        return "it refused user and password"
    return "no answer in time" if isinstance(error, TimeoutError) else _kind(error)


def _kind(error: Exception) -> str:
    # The broker's text may repeat the queue's name, which is the caller's input.
    code = getattr(error, "reply_code", None) or getattr(error, "code", None)
    return printable(f"{type(error).__name__}" + (f" {code}" if code else ""))


def _fits(name: str) -> bool:
    # The empty name of a queue means "the last that was declared".
    try:
        return 0 < len(name.encode()) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False
