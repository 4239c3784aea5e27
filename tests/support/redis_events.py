"""Publishes events over Redis with Celery's own dispatcher, and reads them from a session."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

from celery import Celery

from z4j_exporter.sources.base import Message, Session


def publisher(
    url: str | list[str], options: Mapping[str, Any] | None = None, **settings: Any
) -> Celery:
    """An application that sends events to a broker; kombu chooses the channel."""
    app = Celery("publisher", broker=url, set_as_current=False)
    # A failover must not be waited for without end.
    quick = {"socket_connect_timeout": 2, "socket_timeout": 5}
    app.conf.update(broker_transport_options={**quick, **(options or {})}, **settings)
    return app


def dispatch(app: Celery, count: int = 1) -> None:
    """Send so many events: task-sent, a buffered list of one, then heartbeats."""
    kinds = ["task-sent", "task-multi", *["worker-heartbeat"] * count][:count]
    with (
        app.connection_for_write() as connection,
        app.events.Dispatcher(connection, buffer_while_offline=False) as dispatcher,
    ):
        for kind in kinds:
            if kind == "task-multi":
                dispatcher.buffer_group = {"task"}  # what a worker does
                dispatcher.send(kind, uuid="u")
                dispatcher.flush(errors=False)
                dispatcher.buffer_group = set()
            else:
                dispatcher.send(kind, uuid="u")
    app.close()


def events_of(message: Message) -> list[dict[str, Any]]:
    """Take kombu's envelope off, with nothing of the project's."""
    assert isinstance(message, bytes)
    content = json.loads(base64.b64decode(json.loads(message)["body"]))
    return content if isinstance(content, list) else [content]


def events_from(session: Session, count: int, timeout: float = 10.0) -> list[dict[str, Any]]:
    """Read exactly so many events."""
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + timeout
    while len(events) < count:
        assert time.monotonic() < deadline, f"only {events}"
        items, _ = session.read(0.2)
        for message in session.unpack(items):
            events += events_of(message)
    assert len(events) == count, events
    return events
