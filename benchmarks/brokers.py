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

    def subscribers(self) -> int:
        """How many consumers are bound to the event stream now."""

    def cut_off(self) -> int:
        """How many subscribers the broker has disconnected for being slow, since the start."""

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
        servers.wait_until(lambda: self.subscribers() == 0, 20, "the last subscriber leaves Redis")
        return self.url

    def subscribers(self) -> int:
        """Count the pub/sub clients that have subscribed to something."""
        with self.server.client() as client:
            clients: list[dict[str, Any]] = client.client_list(_type="pubsub")
        return sum(int(c["psub"]) + int(c["sub"]) > 0 for c in clients)

    def cut_off(self) -> int:
        """Read Redis's own count."""
        with self.server.client() as client:
            info: dict[str, Any] = client.info("stats")
        return int(info.get("client_output_buffer_limit_disconnections", 0))

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

    def subscribers(self) -> int:
        """Count the bindings of the celeryev exchange."""
        assert self.vhost, "open() comes first"
        found = self.server.api("GET", f"/bindings/{quote(self.vhost.name, safe='')}").json()
        return sum(binding["source"] == "celeryev" for binding in found)

    def cut_off(self) -> int:
        """Nobody: RabbitMQ lets messages expire (event_queue_ttl) and slows the publisher."""
        return 0

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
