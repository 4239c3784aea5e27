"""Asks all workers by Celery's remote control, and collects the replies until a deadline.

Done with kombu's entities and not with ``celery.app.control.Inspect``, which waits the whole
timeout for each question in turn, dies of one reply that it cannot decode, and needs an
application, that is CELERY_BROKER_URL and other settings from the environment. What goes over the
wire is the same: kombu/pidbox.py.
"""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from kombu.entity import Exchange, Queue
from kombu.messaging import Consumer, Producer

from z4j_exporter.config import Settings
from z4j_exporter.errors import SourceLostError
from z4j_exporter.events.content import load
from z4j_exporter.events.message import Framed
from z4j_exporter.sources.publish_connection import lost, open_connection, release
from z4j_exporter.sources.transports import check_transport

#: Bytes of one reply: a worker with thousands of scheduled tasks tells all their arguments.
MAX_REPLY_BYTES = 32 * 1024 * 1024
#: Seconds an unclaimed reply queue is kept by RabbitMQ (Celery's control_queue_expires).
_QUEUE_EXPIRES_SECONDS = 10.0
#: Seconds that the broker may take to say good-bye.
_CLOSE_SECONDS = 1.0
#: Seconds between looks whether to stop.
_LOOK_SECONDS = 0.25
#: Seconds that strangers' replies are waited for when all who are expected have answered.
_LINGER_SECONDS = 0.5
#: What workers answer in: their task_serializer. Nothing that could run code.
_READ = {"application/json", "application/x-msgpack"}

#: Whenever kombu's Redis transport polls in vain, it gives every message back to its queue that was
#: unacknowledged for longer than its own visibility_timeout, one hour by default (kombu/transport/
#: redis.py ``maybe_restore_messages``). Where the application's is longer, to ask would run its
#: tasks twice: so the keys that this connection looks at are others, and always empty.
_OWN_KEYS = {
    "unacked_key": "z4j-exporter.unacked",
    "unacked_index_key": "z4j-exporter.unacked_index",
    "unacked_mutex_key": "z4j-exporter.unacked_mutex",
}

#: Takes (command, decoded reply, None if it could not be read); returns whether that was all that
#: is expected.
Take = Callable[[str, object], bool]


class Mailbox:
    """A connection to ask on; one round of questions, then it is closed.

    Raises what open_connection raises.
    """

    def __init__(self, settings: Settings, control_exchange: str = "celery") -> None:
        self.connection, self.location = open_connection(_hands_off(settings))
        self.exchange = control_exchange

    def close(self) -> None:
        """Close the connection; never raises."""
        self.bound_waits(_CLOSE_SECONDS)
        release(self.connection)

    def ask(
        self,
        commands: tuple[str, ...],
        take: Take,
        *,
        timeout_seconds: float,
        quiet_seconds: float = math.inf,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send all questions at once and hand each reply to ``take``, until soon after the last.

        The last is the one of which ``take`` says so, or the one that none has followed for
        ``quiet_seconds``; no reply is waited for longer than ``timeout_seconds``.
        Raises SourceLostError when the broker does not serve it.
        """
        try:
            self.bound_waits(timeout_seconds)
            self.check_fanout()
            with self.replies() as (channel, queue):
                tickets = self._send(channel, queue, commands, timeout_seconds)
                patience = (timeout_seconds, quiet_seconds)
                self._collect(channel, queue, tickets, take, patience, stopping)
        except SourceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            raise lost(self.location, error) from None

    def bound_waits(self, seconds: float) -> None:
        """Let no read of py-amqp wait for ever: a timeout stays with the socket it was set on."""
        with contextlib.suppress(Exception):
            self.connection.connection.transport.sock.settimeout(seconds)

    def check_fanout(self) -> None:
        """Raise SourceLostError for a transport that cannot ask all workers."""
        if not self.connection.transport.implements.exchange_type & {"fanout"}:
            name = self.connection.transport.driver_type
            raise SourceLostError(f"the transport {name} does not carry remote control")

    @contextlib.contextmanager
    def replies(self) -> Any:
        """Make the reply queue, and yield it after its channel; exclusive and gone as Celery's.

        Redis knows neither: there it is deleted, binding and all, or each round would leave one.
        """
        channel = self.connection.default_channel
        oid = str(uuid4())
        name = f"reply.{self.exchange}.pidbox"
        exchange = Exchange(name, type="direct", durable=False, delivery_mode="transient")  # type: ignore[no-untyped-call]  # kombu has no types
        queue: Any = Queue(  # type: ignore[no-untyped-call]  # kombu has no types
            f"{oid}.{name}",
            exchange=exchange,
            routing_key=oid,
            durable=False,
            exclusive=True,
            auto_delete=True,
            expires=_QUEUE_EXPIRES_SECONDS,
        )(channel)
        queue.declare()
        try:
            yield channel, queue
        finally:
            if self.connection.transport.driver_type != "amqp":
                with contextlib.suppress(Exception):
                    queue.delete()

    def _send(
        self, channel: Any, queue: Any, commands: tuple[str, ...], timeout_seconds: float
    ) -> dict[str, str]:
        exchange = Exchange(  # type: ignore[no-untyped-call]  # kombu has no types
            f"{self.exchange}.pidbox", type="fanout", durable=False, delivery_mode="transient"
        )
        producer: Any = Producer(channel, auto_declare=False)  # type: ignore[no-untyped-call]  # same
        tickets = {}
        for command in commands:
            ticket = str(uuid4())
            tickets[ticket] = command
            producer.publish(
                {
                    "method": command,
                    # The arguments of running tasks as text that is cut, as events have them.
                    "arguments": {"safe": True} if command == "active" else {},
                    "destination": None,
                    "pattern": None,
                    "matcher": None,
                    "ticket": ticket,
                    "reply_to": {
                        "exchange": queue.exchange.name,
                        "routing_key": queue.routing_key,
                    },
                },
                exchange=exchange.name,
                declare=[exchange],
                headers={"clock": 1, "expires": time.time() + timeout_seconds},
                serializer="json",
            )
        return tickets

    def _collect(
        self,
        channel: Any,
        queue: Any,
        tickets: dict[str, str],
        take: Take,
        patience: tuple[float, float],
        stopping: Callable[[], bool],
    ) -> None:
        timeout_seconds, quiet_seconds = patience
        began = replied = time.monotonic()
        done = False

        def on_message(message: Any) -> None:
            nonlocal done, replied
            headers = message.headers if isinstance(message.headers, dict) else {}
            ticket = headers.get("ticket")
            command = tickets.get(ticket) if isinstance(ticket, str) else None
            if command is not None:
                done = take(command, _decoded(message))
                replied = time.monotonic()

        deadline = began + timeout_seconds
        consumer: Any = Consumer(  # type: ignore[no-untyped-call]  # kombu has no types
            channel, [queue], no_ack=True, on_message=on_message
        )
        consumer.consume()  # until the connection is closed
        while (
            not stopping()
            and (left := min(deadline, replied + quiet_seconds) - time.monotonic()) > 0
        ):
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=min(left, _LOOK_SECONDS))
            if done:
                deadline = min(deadline, time.monotonic() + _LINGER_SECONDS)
                done = False
        if not stopping():
            queue.queue_declare()  # silent workers are one thing, a broker that hangs another


def _hands_off(settings: Settings) -> Settings:
    """Return settings with which a Redis connection leaves the application's messages alone."""
    if check_transport(settings.broker_url or "") != "redis":
        return settings
    options = {**settings.broker_transport_options, **_OWN_KEYS}
    return settings.model_copy(update={"broker_transport_options": options})


def _decoded(message: Any) -> object:
    body = message.body
    if isinstance(body, str):
        body = body.encode("utf-8", "replace")
    if not isinstance(body, (bytes, bytearray)) or len(body) > MAX_REPLY_BYTES:
        return None
    content_type = message.content_type
    if content_type not in _READ:
        return None  # pickle, above all: it is never loaded
    encoding = message.content_encoding
    try:
        return load(
            Framed(bytes(body), content_type, encoding if isinstance(encoding, str) else "utf-8")
        )
    except Exception:  # noqa: BLE001 - parsers raise what they like; it is counted as malformed
        return None
