"""Reads events from RabbitMQ: an exclusive queue bound to the topic exchange ``celeryev``.

py-amqp connects, logs in, declares and subscribes; then AmqpSession reads the socket.
"""

import ssl
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import amqp
from amqp.exceptions import AccessRefused, NotAllowed, PreconditionFailed

from z4j_exporter.errors import BrokerUrlError, ConfigError, SourceLostError
from z4j_exporter.events.decode import DEFAULT_MAX_MESSAGE_BYTES
from z4j_exporter.sources.amqp_frames import FrameParser
from z4j_exporter.sources.amqp_open import AMQP_FAILURES, discard, open_connection
from z4j_exporter.sources.amqp_session import AmqpSession
from z4j_exporter.sources.amqp_url import Endpoint, parse_endpoint
from z4j_exporter.sources.base import Session, Source
from z4j_exporter.sources.socket_input import printable

#: Seconds an event may wait in the queue. Celery's 5 s (``event_queue_ttl``) loses events
#: whenever a consumer is held up for longer, by a paused machine or a slow network. RabbitMQ
#: drops the connection, and the queue with it, after two missed heartbeats (20 s), so that a
#: minute never matters to a live consumer and still bounds what a dead one can cost.
DEFAULT_QUEUE_TTL_SECONDS: Final = 60.0
#: Seconds after which RabbitMQ deletes a queue without a consumer: Celery's
#: ``event_queue_expires``.
DEFAULT_QUEUE_EXPIRES_SECONDS: Final = 60.0

_ROUTING_KEY = "#"


class AmqpSource(Source):
    """The events of one RabbitMQ vhost.

    ``urls`` is a failover list: each connection tries them in order. An item may itself be a
    list with semicolons, as Celery writes it. ``ssl`` and ``login_method`` are Celery's
    ``broker_use_ssl`` and ``broker_login_method``.
    A TTL or an expiry of None leaves the limit to the broker's policies. An exclusive queue goes
    with its connection; a durable one has the same name for as long as this object lives, so
    that a reconnection finds the events of the gap. The next process has another: two exporters
    (or an old one and its successor) must not take events from each other.

    Raises BrokerUrlError, ConfigError or FileError for what cannot be used.
    """

    system = "rabbitmq"

    def __init__(
        self,
        urls: Sequence[str] | str,
        *,
        event_exchange: str = "celeryev",
        event_queue_prefix: str = "celeryev",
        queue_ttl_seconds: float | None = DEFAULT_QUEUE_TTL_SECONDS,
        queue_expires_seconds: float | None = DEFAULT_QUEUE_EXPIRES_SECONDS,
        exclusive: bool = True,
        durable: bool = False,
        ssl: Mapping[str, Any] | bool | None = None,
        login_method: str | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        if exclusive and durable:
            raise ConfigError(
                "the event queue cannot be both exclusive and durable",
                hint="Celery's event_queue_exclusive and event_queue_durable: choose one.",
            )
        listed = (urls,) if isinstance(urls, str) else urls
        single = [url for item in listed for url in item.split(";") if url]
        if not single:
            raise BrokerUrlError("no broker URL was given")
        self._endpoints = tuple(parse_endpoint(url, ssl, login_method) for url in single)
        self._exchange = _short("event_exchange", event_exchange)
        self._queue_prefix = _short("event_queue_prefix", event_queue_prefix)
        self._lasting_name = None if exclusive else self._new_queue_name()
        self._exclusive = exclusive
        self._durable = durable
        self._arguments: dict[str, int] = {
            **_milliseconds("x-message-ttl", queue_ttl_seconds, least=0),
            **_milliseconds("x-expires", queue_expires_seconds, least=1),
        }
        self._max_message_bytes = max_message_bytes
        self.location = ", ".join(endpoint.location for endpoint in self._endpoints)

    def connect(self) -> Session:
        """See Source.connect. Every endpoint is tried before this fails."""
        failures: list[str] = []
        for endpoint in self._endpoints:
            # The source's location says where; in a failover list it says not which.
            place = endpoint.location if len(self._endpoints) > 1 else ""
            try:
                return self._connect_to(endpoint, place)
            except SourceLostError as failure:
                failures.append(f"{place}: {failure.message}" if place else failure.message)
        raise SourceLostError("; ".join(failures))

    def __repr__(self) -> str:
        return f"AmqpSource({self.location})"

    def _connect_to(self, endpoint: Endpoint, place: str) -> AmqpSession:
        connection = _open(endpoint)
        try:
            # py-amqp waits without limit for answers after the handshake.
            connection.sock.settimeout(endpoint.connect_timeout_seconds)
            channel_id = self._subscribe(connection)
        except AMQP_FAILURES as error:
            discard(connection)
            raise _explain(error, endpoint, subscribing=True) from None
        parser = FrameParser(
            channel=channel_id,
            frame_max=connection.frame_max,
            max_message_bytes=self._max_message_bytes,
        )
        return AmqpSession(
            connection.sock,
            parser=parser,
            heartbeat_seconds=connection.heartbeat,
            # py-amqp keeps here what it read beyond the frame it wanted.
            received=bytes(connection.transport._read_buffer),
            place=place,
        )

    def _subscribe(self, connection: amqp.Connection) -> int:
        """Declare as Celery does (celery/events/event.py, receiver.py); return the channel."""
        channel = connection.channel()
        channel.exchange_declare(self._exchange, "topic", durable=True, auto_delete=False)
        # An exclusive queue may outlive a broken connection for a while: never the same name.
        queue = self._lasting_name or self._new_queue_name()
        channel.queue_declare(
            queue,
            durable=self._durable,
            exclusive=self._exclusive,
            auto_delete=not self._durable,
            arguments=self._arguments,
        )
        channel.queue_bind(queue, self._exchange, _ROUTING_KEY)
        channel.basic_consume(queue, no_ack=True)
        return int(channel.channel_id)

    def _new_queue_name(self) -> str:
        return f"{self._queue_prefix}.{uuid.uuid4()}"


def _open(endpoint: Endpoint) -> amqp.Connection:
    try:
        return open_connection(
            endpoint,
            name="z4j-exporter",
            timeout_seconds=endpoint.connect_timeout_seconds,
            heartbeat_seconds=endpoint.heartbeat_seconds,
        )
    except AMQP_FAILURES as error:
        raise _explain(error, endpoint, subscribing=False) from None


def _explain(error: Exception, endpoint: Endpoint, *, subscribing: bool) -> SourceLostError:
    """Say in one sentence what was wrong and what to look at, without the password."""
    words = printable(getattr(error, "reply_text", "") or str(error)) or type(error).__name__
    if endpoint.password and endpoint.password != endpoint.user:
        words = words.replace(endpoint.password, "***")
    if isinstance(error, AccessRefused) and not subscribing:
        what = (
            f"RabbitMQ refused the login of user {endpoint.user!r}: check user and password in "
            "the broker URL (guest may log in from the broker's own machine only)"
        )
    elif isinstance(error, AccessRefused):
        what = (
            f"user {endpoint.user!r} lacks a permission: {words}: grant configure, write and read "
            "on the event exchange and the event queues (rabbitmqctl set_permissions)"
        )
    elif isinstance(error, NotAllowed):
        what = (
            f"vhost {endpoint.vhost!r} cannot be used: {words}: check the vhost at the end of the "
            "broker URL and the user's permissions in it"
        )
    elif isinstance(error, PreconditionFailed):
        what = (
            f"exchange or queue is there already, declared otherwise: {words}: event_exchange and "
            "the event_queue settings must be those of the workers"
        )
    elif isinstance(error, ssl.SSLError):
        what = (
            f"TLS failed: {words}: check the CA certificate (ssl_ca_certs), that the certificate "
            "is for the host in the URL (ssl_check_hostname=false accepts any), and that the "
            "port speaks TLS"
        )
    else:
        if isinstance(error, TimeoutError):
            words = f"no answer within {endpoint.connect_timeout_seconds:g} s"
        what = f"cannot {'subscribe' if subscribing else 'connect'}: {words}"
    return SourceLostError(what)


def _short(name: str, value: str) -> str:
    # Both are short strings on the wire: 255 bytes, of which the uuid takes 37.
    if not value or len(value.encode()) > 200 or not value.isprintable():
        raise ConfigError(f"{name} is empty, too long or not printable")
    return value


def _milliseconds(argument: str, seconds: float | None, *, least: int) -> dict[str, int]:
    if seconds is None:
        return {}
    value = round(seconds * 1000)
    if not least <= value < 2**32:
        raise ConfigError(f"{argument} of {seconds:g} s is out of range")
    return {argument: value}
