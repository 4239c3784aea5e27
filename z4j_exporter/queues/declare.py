"""Reads queues over AMQP itself, one passive declare each: ready messages and consumers.

Nothing else can be asked that way, and only queues whose names are known. A passive declare
changes nothing; the broker closes the channel when the queue is not there.
"""

import time
from collections.abc import Collection, Sequence
from typing import Final

import amqp
from amqp.exceptions import AccessRefused, NotAllowed, NotFound

from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.sources.amqp_open import AMQP_FAILURES, discard, open_connection
from z4j_exporter.sources.amqp_url import Endpoint
from z4j_exporter.sources.socket_input import printable

#: Queues asked for in one look; the others have their turn in the next.
MAX_PROBES: Final = 1000


class DeclareReader:
    """Reads queues by passive declares on one connection, which is kept between the looks."""

    method = "declare"

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.notes: tuple[str, ...] = ()
        self._endpoints = tuple(endpoints)
        self._connection: amqp.Connection | None = None
        #: The name that the last look could not reach: the next one begins there.
        self._next = ""

    def read(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        """See QueueReader.read; other queues than ``names`` stay unknown."""
        kept = self._connection is not None
        try:
            return self._read(names, deadline)
        except QueuePollError:
            self.close()
            # A kept connection may have been closed long since: that says nothing about now.
            if not kept or time.monotonic() >= deadline:
                raise
        try:
            return self._read(names, deadline)
        except QueuePollError:
            self.close()
            raise

    def close(self) -> None:
        """See QueueReader.close."""
        connection, self._connection = self._connection, None
        if connection is not None:
            discard(connection)

    def _read(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        connection = self._connection = self._connection or self._connect(deadline)
        ordered = sorted(names)
        start = next((i for i, name in enumerate(ordered) if name >= self._next), 0)
        readings: list[QueueReading] = []
        refused: list[str] = []
        self._next = ""
        slowest = 0.0
        for done, name in enumerate(ordered[start:] + ordered[:start]):
            began = time.monotonic()
            # An answer that is not waited for costs the connection: ask only what there is time
            # for. A broker that goes silent all the same fails this look.
            if done == MAX_PROBES or deadline - began <= 2 * slowest:
                self._next = name
                break
            try:
                reading = _probe(connection, name, deadline - began)
            except AMQP_FAILURES as error:
                raise QueuePollError(_explain(error, self._endpoints)) from None
            slowest = max(slowest, time.monotonic() - began)
            if reading is None:
                refused.append(name)
            else:
                readings.append(reading)
        self.notes = _notes(refused, all_reached=not self._next)
        return readings

    def _connect(self, deadline: float) -> amqp.Connection:
        failures: list[str] = []
        for position, endpoint in enumerate(self._endpoints):
            left = (deadline - time.monotonic()) / (len(self._endpoints) - position)
            if left <= 0:
                failures.append(f"{endpoint.location}: no time was left")
                continue
            try:
                return _open(endpoint, min(left, endpoint.connect_timeout_seconds))
            except AMQP_FAILURES as error:
                failures.append(_explain(error, (endpoint,)))
        raise QueuePollError("; ".join(failures))


def _probe(connection: amqp.Connection, name: str, left: float) -> QueueReading | None:
    """Ask for one queue; None when the broker refuses to say."""
    if not _fits(name):
        return None
    connection.sock.settimeout(left)
    try:
        # py-amqp opens the channel anew after the broker has closed it.
        ok = connection.channel(1).queue_declare(name, passive=True)
    except amqp.exceptions.ChannelError as error:
        if isinstance(error, NotFound) and error.reply_text.startswith("NOT_FOUND - no queue"):
            return QueueReading(name, ready={"": 0}, unacked=0, consumers=0)
        # Another connection's exclusive queue, no permission, or a queue whose node is down.
        return None
    return QueueReading(name, ready={"": ok.message_count}, consumers=ok.consumer_count)


def _fits(name: str) -> bool:
    # A short string on the wire; the empty one means "the last that was declared".
    try:
        return 0 < len(name.encode()) <= 255
    except UnicodeEncodeError:
        return False


def _open(endpoint: Endpoint, timeout_seconds: float) -> amqp.Connection:
    return open_connection(
        endpoint,
        name="z4j-exporter queues",
        timeout_seconds=timeout_seconds,
        heartbeat_seconds=0,  # nobody would send them between the looks
    )


def _explain(error: Exception, endpoints: Sequence[Endpoint]) -> str:
    where = ", ".join(endpoint.location for endpoint in endpoints)
    words = printable(getattr(error, "reply_text", "") or str(error)) or type(error).__name__
    for endpoint in endpoints:
        if endpoint.password and endpoint.password != endpoint.user:
            words = words.replace(endpoint.password, "***")
    if isinstance(error, AccessRefused):
        return f"{where} refused the login: check user and password in the broker URL"
    if isinstance(error, NotAllowed):
        return f"{where}: {words}: check the vhost at the end of the broker URL"
    if isinstance(error, TimeoutError):
        return f"{where} did not answer in time: check that the broker is well"
    return f"{where} cannot be asked for its queues: {words}: check that the broker is up"


def _notes(refused: Sequence[str], *, all_reached: bool) -> tuple[str, ...]:
    notes = ["without the management API: no unacknowledged messages, memory, rates and ages"]
    if not all_reached:
        notes.append("not all queues were reached in time; the others come first next time")
    if refused:
        notes.append(
            f"{len(refused)} queues could not be asked for (exclusive, or their node is down): "
            f"{', '.join(printable(name) for name in refused[:3])}"
        )
    return tuple(notes)
