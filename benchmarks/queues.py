"""How long it takes to read queues, ours beside one call a queue: `python -m benchmarks.queues`.

Queues have messages in two priorities (Redis), and the network is a proxy that holds each packet
back for half a millisecond in either direction, as one between two machines would.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import amqp
import redis

from benchmarks.brokers import BrokerMissingError
from tests.support import servers
from tests.support.process import remove_scratch
from tests.support.proxy import Proxy
from tests.support.rabbitmq import Vhost
from z4j_exporter.config import Settings
from z4j_exporter.queues.base import QueueReader
from z4j_exporter.queues.declare import DeclareReader
from z4j_exporter.queues.management import PAGE_SIZE
from z4j_exporter.queues.rabbitmq import RabbitQueues
from z4j_exporter.queues.redis import RedisQueues
from z4j_exporter.sources.amqp_url import parse_endpoint

#: Seconds in each direction.
DELAY_SECONDS = 0.0005
_MESSAGES = 5
_DEADLINE_SECONDS = 120.0
_PRIORITY_KEY = "\x06\x169"


@dataclass(frozen=True)
class Row:
    """One measurement: the median of some looks."""

    broker: str
    queues: int
    how: str
    network_seconds: float
    local_seconds: float
    cpu_seconds: float
    round_trips: str


@dataclass(frozen=True)
class Look:
    """A way to read the queues once, through a given port."""

    how: str
    read: Callable[[int], int]
    round_trips: Callable[[], str]


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queues", description=__doc__)
    parser.add_argument("--queues", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--times", type=int, default=5, help="looks of which the median is shown")
    parser.add_argument("--unacked", type=int, default=20_000, help="unacknowledged messages")
    options = parser.parse_args()
    rows: list[Row] = []
    try:
        rows += _redis(options.queues, options.times, options.unacked)
        rows += _rabbitmq(options.queues, options.times)
    except BrokerMissingError as missing:
        print(f"left out, its server is not installed: {missing}")
    finally:
        remove_scratch()
    print("| broker | queues | how | over a network | on one machine | CPU | round trips |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for r in rows:
        print(
            f"| {r.broker} | {r.queues:,} | {r.how} | {_ms(r.network_seconds)} "
            f"| {_ms(r.local_seconds)} | {_ms(r.cpu_seconds)} | {r.round_trips} |"
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _measure(broker: str, queues: int, look: Look, port: int, times: int) -> Row:
    """Measure one way over the proxied network, then without it; connecting included."""
    seconds: dict[bool, float] = {}
    cpu = 0.0
    with Proxy(port) as proxy:
        proxy.delay(DELAY_SECONDS)
        for networked in (True, False):
            taken, used = [], []
            for _ in range(times):
                began, cpu_began = time.perf_counter(), time.thread_time()
                found = look.read(proxy.port if networked else port)
                taken.append(time.perf_counter() - began)
                used.append(time.thread_time() - cpu_began)
                assert found >= queues, f"{look.how}: {found} of {queues} queues"
            seconds[networked] = statistics.median(taken)
            cpu = statistics.median(used)
    trips = look.round_trips()
    return Row(broker, queues, look.how, seconds[True], seconds[False], cpu, trips)


# -- Redis ---------------------------------------------------------------------------------


def _redis(counts: list[int], times: int, unacked: int) -> Iterator[Row]:
    with servers.redis_server() as server:
        client = server.client()
        for count in counts:
            client.flushall()
            names = [f"queue{number:05}" for number in range(count)]
            _fill(client, names)
            yield _measure("Redis", count, _ours(server), server.port, times)
            yield _measure("Redis", count, _one_call_each(names), server.port, times)
        _hold(client, names, unacked)
        ours = _ours(server, f"z4j-exporter, {unacked:,} unacked")
        yield _measure("Redis", count, ours, server.port, times)


def _fill(client: "redis.Redis", names: list[str]) -> None:
    pipe = client.pipeline()
    message = b'{"body": "%s", "properties": {"correlation_id": "%s"}}' % (b"x" * 500, b"i" * 36)
    for name in names:
        pipe.sadd(f"_kombu.binding.{name}", f"{name}\x06\x16\x06\x16{name}")
        for key in (name, name + _PRIORITY_KEY):
            pipe.lpush(key, *[message] * _MESSAGES)
    pipe.execute()


def _hold(client: "redis.Redis", names: list[str], count: int) -> None:
    pipe = client.pipeline()
    for number in range(count):
        name = names[number % len(names)]
        pipe.hset("unacked", f"tag{number}", f'[{{"body": "{"x" * 500}"}}, "", "{name}"]')
    pipe.execute()


def _ours(server: servers.Redis, how: str = "z4j-exporter") -> Look:
    trips = 0

    def read(port: int) -> int:
        nonlocal trips
        # A new one each time: nothing is known from the look before.
        queues = RedisQueues(Settings(broker_url=server.url_at(port), unacked_scan_limit=10**9))
        found = _read(queues)
        trips = queues.round_trips
        return found

    return Look(how, read, lambda: str(trips))


def _one_call_each(names: list[str]) -> Look:
    """Return what exporters do that ask for each queue by itself, priority 0 only."""

    def read(port: int) -> int:
        with redis.Redis(port=port) as client:
            return sum(1 for name in names if client.llen(name) == _MESSAGES)

    return Look("LLEN, one call a queue", read, lambda: f"{len(names):,}")


# -- RabbitMQ ------------------------------------------------------------------------------


def _rabbitmq(counts: list[int], times: int) -> Iterator[Row]:
    rabbit = servers.rabbitmq()
    try:
        for count in counts:
            vhost = rabbit.vhost()
            names = [f"queue{number:05}" for number in range(count)]
            with _channel(vhost) as channel:
                for name in names:
                    channel.queue_declare(name, durable=False, auto_delete=False)
            time.sleep(6.0)  # RabbitMQ reports queues every five seconds
            api = Look(
                "z4j-exporter", lambda port, v=vhost: _listing(v, port), lambda n=count: _pages(n)
            )  # type: ignore[misc]  # v binds the loop's variable
            yield _measure("RabbitMQ", count, api, rabbit.management_port, times)
            probes = Look(
                "passive declare, one call a queue",
                lambda port, v=vhost, n=names: _declares(v, n, port),  # type: ignore[misc]  # as above
                lambda n=names: f"{len(n):,}",  # type: ignore[misc]  # as above
            )
            yield _measure("RabbitMQ", count, probes, vhost.port, times)
            rabbit.drop(vhost)
    finally:
        rabbit.stop()


@contextmanager
def _channel(vhost: Vhost) -> Iterator[amqp.Channel]:
    connection = amqp.Connection(host=f"127.0.0.1:{vhost.port}", virtual_host=vhost.name)
    connection.connect()
    yield connection.channel()
    connection.close()


def _listing(vhost: Vhost, port: int) -> int:
    api = f"http://guest:guest@127.0.0.1:{port}"
    return _read(RabbitQueues(Settings(broker_url=vhost.url, rabbitmq_management_url=api)))


def _pages(count: int) -> str:
    pages = -(-count // PAGE_SIZE)
    return f"{pages} page" + ("s" if pages > 1 else "")


def _declares(vhost: Vhost, names: list[str], port: int) -> int:
    return _read(DeclareReader([parse_endpoint(vhost.url_at(port), None)]), names)


def _read(reader: QueueReader, names: list[str] | None = None) -> int:
    try:
        return len(reader.read(names or [], time.monotonic() + _DEADLINE_SECONDS))
    finally:
        reader.close()


if __name__ == "__main__":
    main()
