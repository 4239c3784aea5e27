"""Publishes events over a broker connection of its own, which gives up instead of waiting."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from celery.events.event import get_exchange
from kombu import connection as kombu_connection
from kombu import messaging

if TYPE_CHECKING:
    from z4j_exporter.capture.settings import Settings

# kombu ships no types.
_Connection: Any = kombu_connection.Connection
_Producer: Any = messaging.Producer

#: Transports that cannot carry events (Celery's own dispatcher refuses them too).
_WITHOUT_EVENTS = frozenset({"sql"})


class NoEventsError(Exception):
    """The broker's transport carries no events."""


class EventBroker:
    """An open connection to the broker, for events only.

    It lives in the sender's thread and in no attribute that others reach: a forked child then never
    frees it, which would shut the parent's socket down (py-amqp does that when it is collected).
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        connection = _connection(app, settings)
        options = _impatient(connection, settings.timeout_seconds)
        connection.transport_options = options
        self._connection = connection
        if connection.transport.driver_type in _WITHOUT_EVENTS:
            raise NoEventsError(connection.transport.driver_type)
        connection.connect()  # one try; the channel below would try for ever
        self._exchange = get_exchange(connection, name=app.conf.event_exchange)
        self._producer = _Producer(
            connection.channel(), exchange=self._exchange, auto_declare=False
        )

    def publish(self, body: bytes, routing_key: str, hostname: str) -> None:
        """Send JSON text as Celery's dispatcher sends an event; raises what the driver raises."""
        self._producer.publish(
            body,
            routing_key=routing_key,
            exchange=self._exchange.name,
            declare=[self._exchange],
            content_type="application/json",
            content_encoding="utf-8",
            headers={"hostname": hostname},
            delivery_mode=1,
            retry=False,
        )

    def close(self) -> None:
        """Close the connection; what that raises is of no interest any more."""
        with contextlib.suppress(Exception):  # a dead connection raises anything
            self._connection.collapse()


def load_transport(app: Any, settings: Settings) -> None:
    """Import the driver of the broker, without connecting to it; raises ImportError."""
    try:
        _ = _connection(app, settings).transport
    except KeyError as error:  # kombu's, with the scheme of the URL
        raise ImportError(str(error.args[0])[:100]) from None


def _connection(app: Any, settings: Settings) -> Any:
    timeout = settings.timeout_seconds
    if not settings.broker_url:
        return app.connection_for_write(connect_timeout=timeout)
    # The application's transport options and TLS are for its own broker.
    return _Connection(settings.broker_url, connect_timeout=timeout)


def _impatient(connection: Any, timeout: float) -> dict[str, Any]:
    """Give the application's transport options, with deadlines of our own."""
    options = dict(connection.transport_options or {})
    driver = connection.transport.driver_type
    if driver == "redis":
        options.update(
            socket_timeout=timeout, socket_connect_timeout=timeout, retry_on_timeout=False
        )
    elif driver == "amqp":
        # No confirms: an event may be lost, and nobody may wait for it.
        options.update(read_timeout=timeout, write_timeout=timeout, confirm_publish=False)
    options.pop("max_retries", None)
    return options
