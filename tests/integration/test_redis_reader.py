"""The reader on a real Redis that is absent, killed, frozen, full, or sends too much at once."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.support import servers
from tests.support.process import wait_until
from tests.support.proxy import Proxy
from tests.support.redis_events import dispatch, publisher
from tests.support.redis_reading import Reading
from tests.support.servers import Redis
from z4j_exporter.pipeline import reader as reader_module
from z4j_exporter.sources import base
from z4j_exporter.sources.redis import RedisSource


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become tenths: what waits is the same."""
    monkeypatch.setattr(base, "CONNECT_TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr(base, "KEEPALIVE_SECONDS", 0.5)
    monkeypatch.setattr(base, "KEEPALIVE_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(reader_module, "READ_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(reader_module, "MAX_DELAY_SECONDS", 0.5)
    monkeypatch.setattr(reader_module, "FIRST_DELAY_SECONDS", 0.05)


@pytest.fixture
def own() -> Iterator[Redis]:
    """A server that only this test uses, since it is troubled."""
    with servers.redis_server() as running:
        yield running


def reading(url: str, **options: Any) -> Reading:
    return Reading(RedisSource([url]), **options)


def hears(there: Reading, url: str, count: int = 2) -> None:
    """Publish events and wait until exactly they have come."""
    before = len(there.events)
    dispatch(publisher(url), count)
    there.wait_events(before + count)


def test_absent_then_there_then_gone_then_there_again() -> None:
    port = servers.free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with reading(url) as there:
        assert "refused" in there.wait_disconnected()
        with servers.redis_server(port=port):
            there.wait_connected()
            hears(there, url)
        there.wait_disconnected()
        with servers.valkey(port=port) as second:
            there.wait_connected()
            hears(there, url)
            second.kill()
            there.wait_disconnected()
    assert there.reader.connections == 2
    assert there.reader.gaps == 2
    assert there.reader.reason == "stopped"


def test_frozen_and_thawed(own: Redis) -> None:
    with reading(own.url) as there:
        there.wait_connected()
        own.pause()
        assert "no answer to PING" in there.wait_disconnected()
        time.sleep(0.5)  # attempts meanwhile hang in the listen queue
        own.resume()
        there.wait_connected()
        hears(there, own.url)
        assert there.reader.gaps == 1


def test_frozen_for_less_than_the_patience_loses_nothing(own: Redis) -> None:
    with reading(own.url) as there:
        there.wait_connected()
        own.pause()
        time.sleep(0.8)
        own.resume()
        hears(there, own.url)
        assert (there.reader.connections, there.reader.gaps) == (1, 0)


def test_half_open(own: Redis, proxied: Callable[[int], Proxy]) -> None:
    proxy = proxied(own.port)
    with reading(own.url_at(proxy.port)) as there:
        there.wait_connected()
        proxy.stall()
        assert "no answer to PING" in there.wait_disconnected()
        proxy.cut()
        proxy.flow()
        there.wait_connected()
        hears(there, own.url)


def test_silence_is_not_death(own: Redis) -> None:
    with reading(own.url) as there:
        there.wait_connected()
        time.sleep(2.5)
        hears(there, own.url)
        assert there.reader.connections == 1


def test_killed_by_the_server(own: Redis) -> None:
    with reading(own.url) as there:
        for n in range(3):
            there.wait_connected()
            killed = own.client().client_kill_filter(_type="pubsub")
            assert killed == 1
            wait_until(lambda n=n: there.reader.connections == n + 2, 10)
        there.wait_connected()
        hears(there, own.url)
        assert there.reader.gaps == 3


def test_a_short_client_pause_loses_nothing(own: Redis) -> None:
    with reading(own.url) as there:
        there.wait_connected()
        own.client().client_pause(700)
        hears(there, own.url)
        assert there.reader.gaps == 0


def test_a_long_client_pause_is_survived(own: Redis) -> None:
    with reading(own.url) as there:
        there.wait_connected()
        own.client().client_pause(4000)
        there.wait_disconnected()
        there.wait_connected()
        hears(there, own.url)


def test_a_full_server_is_tried_again(own: Redis) -> None:
    admin = own.client()
    wait_until(lambda: len(admin.client_list()) == 1, 5)
    admin.config_set("maxclients", 1)
    with reading(own.url) as there:
        assert "max number of clients" in there.wait_disconnected()
        admin.config_set("maxclients", 100)
        there.wait_connected()
        hears(there, own.url)
    admin.close()


def test_cut_off_by_the_output_buffer_limit(own: Redis, proxied: Callable[[int], Proxy]) -> None:
    admin = own.client()
    admin.config_set("client-output-buffer-limit", "pubsub 1mb 512kb 1")
    proxy = proxied(own.port)
    with reading(own.url_at(proxy.port), keep=False) as there:
        there.wait_connected()
        proxy.stall()  # a reader that does not read, as far as Redis can see
        for _ in range(100):
            admin.publish("/0.celeryev/task.sent", b"x" * 200_000)
        assert not admin.client_list(_type="pubsub"), "Redis has cut the subscriber off"
        proxy.flow()
        there.wait_disconnected()
        there.wait_connected()
        assert there.reader.gaps == 1
        seen = there.messages
        assert seen < 100
        dispatch(publisher(own.url), 2)
        wait_until(lambda: there.messages == seen + 2, 10)


def test_a_full_buffer_drops_and_counts_and_goes_on(own: Redis) -> None:
    with reading(own.url, buffer_bytes=200_000, keep=False) as there:
        there.wait_connected()
        there.hold()
        time.sleep(0.1)
        flood(own, 2000, b"x" * 500)
        wait_until(lambda: there.dropped > 1000, 10, lambda: str(there.dropped))
        assert there.buffer.size_bytes <= 200_000
        there.release()
        wait_until(lambda: there.buffer.size_bytes == 0, 10)
        dispatch(publisher(own.url), 2)
        wait_until(lambda: there.messages + there.dropped >= 2002 - 1, 10)
        # A message of which only a part was kept is neither.
        assert 2002 - 5 <= there.messages + there.dropped <= 2002
        assert there.reader.connections == 1, "a full buffer is no reason to leave"


def flood(server: Redis, count: int, payload: bytes) -> None:
    """Publish so many equal messages, as fast as one connection can."""
    one = redis.connection.Connection(port=server.port)
    one.connect()
    command = b"*3\r\n$7\r\nPUBLISH\r\n$21\r\n/0.celeryev/task.sent\r\n$%d\r\n%s\r\n"
    packed = command % (len(payload), payload)
    sock = one._sock
    batch = 1000
    for start in range(0, count, batch):
        number = min(batch, count - start)
        sock.sendall(packed * number)
        waiting = number
        while waiting > 0:
            waiting -= sock.recv(65536).count(b"\n")
    one.disconnect()


def test_half_a_million_messages_flat_out_and_none_lost(own: Redis) -> None:
    total = 500_000
    payload = b"x" * 700  # as long as the envelope of one event
    with Reading(RedisSource([own.url]), keep=False) as there:
        there.wait_connected()
        flood(own, total, payload)
        wait_until(lambda: there.messages + there.dropped >= total, 60)
        assert there.messages == total
        assert there.dropped == 0
        assert there.reader.gaps == 0
