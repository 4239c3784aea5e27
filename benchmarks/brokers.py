"""The brokers of a run: real servers on free loopback ports, and who listens on them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from benchmarks.wire import Broker
from tests.support import servers
from tests.support.process import remove_scratch
from tests.support.rabbitmq import Rabbit, Vhost
from tests.support.redis_servers import Redis

_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class BrokerMissingError(Exception):
    """The broker's server is not installed here; the message is what would install it."""


class EventBroker(Protocol):
    """A running broker that consumers subscribe to."""

    kind: Broker

    @property
    def url(self) -> str:
        """The broker URL for consumers and publishers."""

    def open(self) -> str:
        """Make a clean place for the next consumer and return its broker URL."""

    def subscriptions(self) -> frozenset[str]:
        """Name what is bound to the event stream now; a consumer cut off comes back as another."""

    def stop(self) -> None:
        """End the server."""


@dataclass
class RedisBroker:
    """redis-server with its default limits: a slow subscriber is cut off at 32 MB."""

    server: Redis
    kind: Broker = "redis"

    @property
    def url(self) -> str:
        """Database 0."""
        return self.server.url

    def open(self) -> str:
        """Wait until the consumer before has gone."""
        servers.wait_until(lambda: not self.subscriptions(), 20, "the last subscriber leaves Redis")
        return self.url

    def subscriptions(self) -> frozenset[str]:
        """Return the ids of the pub/sub clients that have subscribed to something."""
        with self.server.client() as client:
            clients: list[dict[str, Any]] = client.client_list(_type="pubsub")
        return frozenset(str(c["id"]) for c in clients if int(c["psub"]) + int(c["sub"]) > 0)

    def stop(self) -> None:
        """Stop Redis."""
        self.server.stop()


@dataclass
class RabbitBroker:
    """rabbitmq-server; each consumer gets a vhost of its own."""

    server: Rabbit
    kind: Broker = "rabbitmq"
    vhost: Vhost | None = None

    @property
    def url(self) -> str:
        """The vhost of now; open() comes first."""
        assert self.vhost, "open() comes first"
        return self.vhost.url

    def open(self) -> str:
        """Replace the vhost."""
        if self.vhost:
            self.server.drop(self.vhost)
        self.vhost = self.server.vhost()
        return self.url

    def subscriptions(self) -> frozenset[str]:
        """Return the queues that are bound to the celeryev exchange."""
        assert self.vhost, "open() comes first"
        found = self.server.api("GET", f"/bindings/{quote(self.vhost.name, safe='')}").json()
        return frozenset(b["destination"] for b in found if b["source"] == "celeryev")

    def stop(self) -> None:
        """Stop RabbitMQ and its epmd."""
        self.server.stop()


@contextmanager
def running(kind: Broker) -> Iterator[EventBroker]:
    """Start a broker of `kind`; raises BrokerMissingError when its server is not installed."""
    broker: EventBroker
    if kind == "redis":
        if not shutil.which("redis-server"):
            raise BrokerMissingError("apt-get install redis-server")
        broker = RedisBroker(servers.redis_server())
    else:
        if not _RABBITMQ.exists():
            raise BrokerMissingError(
                "rabbitmq-server is not installed: apt-get install rabbitmq-server"
            )
        broker = RabbitBroker(servers.rabbitmq())
    try:
        yield broker
    finally:
        broker.stop()
        remove_scratch()
