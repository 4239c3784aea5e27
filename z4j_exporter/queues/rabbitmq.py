"""Reads RabbitMQ's queues: by the management API, or by passive declares where there is none."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from z4j_exporter.config import Settings
from z4j_exporter.errors import BrokerUrlError
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.declare import DeclareReader
from z4j_exporter.queues.management import ManagementReader
from z4j_exporter.queues.management_address import (
    ManagementAddress,
    derived_addresses,
    given_addresses,
)
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.queues.select import QueueFilter
from z4j_exporter.sources.amqp_url import Endpoint, parse_endpoint

_LOGGER = logging.getLogger("z4j_exporter.queues")

#: Seconds after which a management API that could not be used is tried again; and for which one
#: that has answered may fail before it counts as gone.
RETRY_SECONDS: Final = 600.0


class RabbitQueues:
    """The queues of one vhost.

    A management API that the settings name is the only one used: its failure fails the poll. One
    that was only guessed from the broker URL may not be there, or not for this user: then what
    AMQP gives is read, and the management API tried again from time to time.

    Raises ConfigError, BrokerUrlError or FileError for settings that cannot be used.
    ``clock`` is time.monotonic.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        endpoints = _endpoints(settings)
        addresses = _addresses(settings, endpoints)
        self.method = ManagementReader.method
        self.notes: tuple[str, ...] = ()
        self._management = ManagementReader(addresses, QueueFilter(settings).admits)
        self._declare = DeclareReader(endpoints)
        self._guessed = not settings.rabbitmq_management_url
        self._clock = clock
        self._answered_at: float | None = None
        self._retry_at: float | None = None
        self._why = ""

    def read(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        """See QueueReader.read."""
        if self._retry_at is None or self._clock() >= self._retry_at:
            try:
                return self._read_management(names, deadline)
            except QueuePollError as error:
                if not self._may_fall_back():
                    raise
                self._why = error.message
        return self._read_declare(names, deadline)

    def close(self) -> None:
        """See QueueReader.close."""
        self._management.close()
        self._declare.close()

    def _may_fall_back(self) -> bool:
        if not self._guessed:
            return False
        # One that has worked is there, and has a bad moment.
        return self._answered_at is None or self._clock() - self._answered_at > RETRY_SECONDS

    def _read_management(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        now = time.monotonic()
        # A firewall may swallow the attempt: the other way needs its time too.
        by = now + (deadline - now) / 2 if self._may_fall_back() else deadline
        readings = self._management.read(names, by)
        if self.method != ManagementReader.method:
            _LOGGER.info("RabbitMQ's management API answers: queues are read from it")
            self._declare.close()
        self.method = ManagementReader.method
        self.notes = self._management.notes
        self._answered_at = self._clock()
        self._retry_at = None
        return readings

    def _read_declare(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        try:
            readings = self._declare.read(names, deadline)
        except QueuePollError as error:
            # The broker itself may have been away: both ways are open again.
            self._retry_at = None
            raise QueuePollError(
                f"{error.message}; nor could the management API be used: {self._why}"
            ) from None
        if self._retry_at is None or self._clock() >= self._retry_at:
            self._retry_at = self._clock() + RETRY_SECONDS
        if self.method != DeclareReader.method:
            _LOGGER.warning(
                "queues are read by passive declares (ready messages and consumers only): %s",
                self._why,
            )
        self.method = DeclareReader.method
        self.notes = (*self._declare.notes, self._why)
        return readings


def _endpoints(settings: Settings) -> list[Endpoint]:
    urls = [url for url in (settings.broker_url or "").split(";") if url]
    if not urls:
        raise BrokerUrlError("no broker URL was given")
    return [parse_endpoint(url, settings.broker_tls) for url in urls]


def _addresses(settings: Settings, endpoints: Sequence[Endpoint]) -> tuple[ManagementAddress, ...]:
    ca_file = settings.rabbitmq_management_ca_file
    insecure = settings.rabbitmq_management_insecure
    if settings.rabbitmq_management_url:
        return given_addresses(settings.rabbitmq_management_url, endpoints[0], ca_file, insecure)
    return derived_addresses(endpoints, ca_file, insecure)
