"""Publishes recorded events into a broker, through kombu and to the exchange Celery uses."""

import contextlib
import json
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from celery.events.event import get_exchange
from kombu.messaging import Producer

from z4j_exporter.config import Settings
from z4j_exporter.events.message import Framed, Message
from z4j_exporter.sources.publish_connection import lost, open_connection, release

#: Fields of an event that hold a moment as ISO 8601 text.
_MOMENTS = ("eta", "expires")
#: AMQP's transient delivery mode, Celery's choice for events (celery/events/dispatcher.py).
_TRANSIENT = 1
#: What goes on the wire of a message that is not an event of its own.
_ROUTING_KEY = "task.multi"


class Publisher:
    """A connection that events go out on, as a worker would send them.

    ``settings`` names the broker as it does for reading, so that prefixes and exchange are those
    an exporter with the same settings listens to.

    Raises what open_connection raises.
    """

    def __init__(self, settings: Settings) -> None:
        #: Events given to the broker so far.
        self.published = 0
        self._connection, self.location = open_connection(settings)
        try:
            exchange = get_exchange(self._connection, settings.event_exchange)
            self._producer: Any = Producer(  # type: ignore[no-untyped-call]  # kombu has no types
                self._connection, exchange
            )
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            self.close()
            raise lost(self.location, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def publish(self, message: Message, shift_seconds: float = 0.0) -> bool:
        """Send a recorded message; return False for one that cannot be sent as it was.

        ``shift_seconds`` moves the event's own times. Raises SourceLostError.
        """
        if isinstance(message, bytes):
            return False  # an envelope that is not one: only its own transport could carry it
        routing_key, hostname = _ROUTING_KEY, None
        event = _event_of(message)
        if event is not None:
            kind, hostname = event.get("type"), event.get("hostname")
            if isinstance(kind, str) and kind:
                routing_key = kind.replace("-", ".")
            if shift_seconds:
                shifted = json.dumps(shift_event(event, shift_seconds))
                message = Framed(shifted.encode("ascii"), "application/json", "utf-8")
        try:
            self._producer.publish(
                message.body,
                routing_key=routing_key,
                content_type=message.content_type or "application/data",
                content_encoding=message.content_encoding or "binary",
                headers={"hostname": hostname},
                delivery_mode=_TRANSIENT,
            )
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            raise lost(self.location, error) from None
        self.published += 1
        return True

    def close(self) -> None:
        """Close the connection; never raises."""
        release(self._connection)


def shift_event(event: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the event with its timestamp, eta and expiry moved by ``seconds``."""
    shifted = dict(event)
    timestamp = event.get("timestamp")
    if isinstance(timestamp, (int, float)):
        shifted["timestamp"] = timestamp + seconds
    for name in _MOMENTS:
        moment = event.get(name)
        if isinstance(moment, str):
            with contextlib.suppress(ValueError, OverflowError):
                shifted[name] = (
                    datetime.fromisoformat(moment) + timedelta(seconds=seconds)
                ).isoformat()
    return shifted


def _event_of(message: Framed) -> dict[str, Any] | None:
    if message.content_type != "application/json":
        return None
    try:
        value = json.loads(message.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
