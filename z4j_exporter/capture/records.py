"""What the handlers hand over to the sender: one record for each captured signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from z4j_exporter.capture.snapshot import Body


class Published(NamedTuple):
    """What is known when a task is about to be published."""

    at: float
    name: str
    body: Body
    #: Links, chain and chord as plain data; None when the body itself tells them.
    embed: Any
    #: Celery's own dict: later receivers, tracing among them, still add to it.
    headers: dict[str, Any]
    custom: dict[str, Any]
    stamps: Any
    exchange: str
    routing_key: str
    queue: str
    priority: Any
    traceparent: str
    #: Members of the chord's header, where this is the last one to be published.
    chord_size: int | None
    #: The body's fields in the old message protocol, where the headers are empty.
    old: dict[str, Any] | None


class Began(NamedTuple):
    """An attempt that begins in a worker."""

    at: float
    name: str
    request: dict[str, Any]
    pid: int
    thread: str


class Ended(NamedTuple):
    """An attempt that ended, however it did."""

    at: float
    uuid: str
    name: str
    state: str
    retries: int | None
    group: str | None
    exception: str
    runtime: float | None
    hostname: str
