"""The RabbitMQ source against a real RabbitMQ."""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import pytest
from celery import Celery

from tests.support import servers
from tests.support.proxy import Proxy
from tests.support.rabbitmq import Rabbit, Vhost
from z4j_exporter.errors import SourceLostError
from z4j_exporter.events.message import OVERSIZED_CONTENT_TYPE, Framed
from z4j_exporter.sources.amqp import AmqpSource
from z4j_exporter.sources.base import Session

#: Real seconds; a heartbeat that makes half-open connections show soon.
SHORT_HEARTBEAT_SECONDS = 1
#: Two heartbeats, half of one for the read in progress, and room for a busy machine.
HALF_OPEN_WITHIN_SECONDS = 6.0


@contextmanager
def connected(source: AmqpSource) -> Iterator[Session]:
    session = source.connect()
    try:
        yield session
    finally:
        session.close()


def read_some(session: Session, count: int, timeout: float = 20.0) -> list[Framed]:
    """Read until ``count`` messages have come."""
    messages: list[Framed] = []
    deadline = time.monotonic() + timeout
    while len(messages) < count:
        assert time.monotonic() < deadline, f"only {len(messages)} of {count} messages"
        for message in session.read(0.2)[0]:
            assert isinstance(message, Framed)
            messages.append(message)
    return messages


def read_until_lost(session: Session, timeout: float = HALF_OPEN_WITHIN_SECONDS) -> str:
    """Read until the session is lost and return what it says."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            session.read(0.1)
        except SourceLostError as lost:
            return lost.message
    raise AssertionError(f"not lost within {timeout:g} s")


def send_events(vhost: Vhost, *types: str, **conf: Any) -> None:
    """Publish as a Celery process does, through its own dispatcher."""
    app = Celery(broker=vhost.url)
    app.conf.update(conf)
    with app.connection() as connection, app.events.Dispatcher(connection, enabled=True) as sender:
        for kind in types:
            sender.send(kind, uuid="u")


@contextmanager
def publisher(vhost: Vhost) -> Iterator[amqp.Channel]:
    connection = amqp.Connection(host=f"127.0.0.1:{vhost.port}", virtual_host=vhost.name)
    connection.connect()
    yield connection.channel()
    connection.close()


def events_of(messages: list[Framed]) -> list[dict[str, Any]]:
    contents = [json.loads(message.body) for message in messages]
    return [e for c in contents for e in (c if isinstance(c, list) else [c])]


def test_events_of_a_real_worker(rabbit: Rabbit, vhost: Vhost) -> None:
    source = AmqpSource(vhost.url)
    assert source.system == "rabbitmq"
    with connected(source) as session:
        settings = {"CELERYAPP_BROKER": vhost.url}
        with servers.worker("tests.support.celeryapp", vhost.url, env=settings):
            client = Celery(broker=vhost.url)
            client.conf.task_send_sent_event = True
            sent = client.send_task("math.add", (1, 2), ignore_result=True)
            messages: list[Framed] = []
            done = False
            while not done:
                messages += read_some(session, 1)
                done = any(e["type"] == "task-succeeded" for e in events_of(messages))
    assert {message[1:] for message in messages} == {("application/json", "utf-8")}
    assert any(message.body.startswith(b"[") for message in messages), "a task.multi list"
    types = [e["type"] for e in events_of(messages) if e.get("uuid") == sent.id]
    assert sorted(types) == ["task-received", "task-sent", "task-started", "task-succeeded"]
    assert {"worker-online"} <= {e["type"] for e in events_of(messages)}


def test_the_queue_is_exclusive_and_goes_with_the_session(rabbit: Rabbit, vhost: Vhost) -> None:
    with connected(AmqpSource(vhost.url, event_queue_prefix="mine")):
        (queue,) = rabbit.api("GET", f"/queues/{vhost.name}").json()
        assert queue["name"].startswith("mine.")
        assert queue["exclusive"]
        assert queue["auto_delete"]
        assert queue["arguments"] == {"x-message-ttl": 60_000, "x-expires": 60_000}
    servers.wait_until(lambda: not rabbit.queues(vhost), message="the queue to be deleted")


def test_a_reconnection_does_not_meet_the_queue_of_the_connection_before(vhost: Vhost) -> None:
    source = AmqpSource(vhost.url)
    with connected(source), connected(source) as second:
        send_events(vhost, "worker-online")
        assert len(read_some(second, 1)) == 1


def test_a_durable_queue_keeps_the_events_of_a_gap(rabbit: Rabbit, vhost: Vhost) -> None:
    source = AmqpSource(vhost.url, exclusive=False, durable=True)
    with connected(source):
        send_events(vhost, "worker-online")
    send_events(vhost, "worker-heartbeat")
    with connected(source) as session:
        types = [event["type"] for event in events_of(read_some(session, 1))]
    assert "worker-heartbeat" in types
    assert len(rabbit.queues(vhost)) == 1


def test_a_durable_queue_is_not_the_next_exporters(rabbit: Rabbit, vhost: Vhost) -> None:
    # docs/brokers.md says so: what is published between two processes is not read.
    with connected(AmqpSource(vhost.url, exclusive=False, durable=True)):
        pass
    send_events(vhost, "worker-online")
    with connected(AmqpSource(vhost.url, exclusive=False, durable=True)) as session:
        send_events(vhost, "worker-offline")
        assert [e["type"] for e in events_of(read_some(session, 1))] == ["worker-offline"]
    assert len(rabbit.queues(vhost)) == 2


def test_another_exchange(vhost: Vhost) -> None:
    with connected(AmqpSource(vhost.url, event_exchange="audit")) as session:
        send_events(vhost, "worker-online")
        send_events(vhost, "worker-offline", event_exchange="audit")
        assert [e["type"] for e in events_of(read_some(session, 1))] == ["worker-offline"]


def test_a_vhost_with_an_odd_name(rabbit: Rabbit) -> None:
    odd = rabbit.vhost("/shop a%b/é")
    try:
        with connected(AmqpSource(odd.url)) as session:
            send_events(odd, "worker-online")
            assert len(read_some(session, 1)) == 1
    finally:
        rabbit.drop(odd)


def test_50_000_events_published_flat_out_all_arrive_in_order(vhost: Vhost) -> None:
    count = 50_000
    numbers: list[int] = []
    with connected(AmqpSource(vhost.url)) as session:
        with publisher(vhost) as channel:
            for number in range(count):
                message = amqp.Message(b"%d" % number, content_type="application/json")
                channel.basic_publish(message, "celeryev", "task.multi")
                if number % 1000 == 0:
                    numbers += [int(m.body) for m in session.read(0.001)[0]]  # type: ignore[union-attr]  # Framed
        numbers += [int(m.body) for m in read_some(session, count - len(numbers), 60)]
    assert numbers == list(range(count))


def test_bodies_of_every_size(vhost: Vhost) -> None:
    # Around the size of a frame (131072 with its 8 bytes), and beyond the limit.
    limit = 400_000
    sizes = [0, 1, 131_063, 131_064, 131_065, 300_000, limit, limit + 1, 2_000_000, 3]
    source = AmqpSource(vhost.url, max_message_bytes=limit)
    with connected(source) as session, publisher(vhost) as channel:
        for size in sizes:
            channel.basic_publish(amqp.Message(b"x" * size, content_type="t"), "celeryev", "k")
        messages = read_some(session, len(sizes))
    oversized = (b"", OVERSIZED_CONTENT_TYPE, None)
    assert messages == [(b"x" * n, "t", None) if n <= limit else oversized for n in sizes]


# --- what goes wrong while connecting ---------------------------------------------------------


def refused(source: AmqpSource) -> SourceLostError:
    with pytest.raises(SourceLostError) as lost:
        source.connect().close()
    return lost.value


def test_a_wrong_password(vhost: Vhost) -> None:
    error = refused(AmqpSource(vhost.url_at(vhost.port, password="wr0ng")))
    assert "refused the login of user 'guest'" in error.message
    assert "check user and password" in error.message
    assert "wr0ng" not in error.message


def test_an_unknown_vhost(vhost: Vhost) -> None:
    error = refused(AmqpSource(vhost.url + "-typo"))
    assert f"vhost '{vhost.name}-typo' cannot be used" in error.message
    assert "not found" in error.message


def test_a_user_without_permissions(rabbit: Rabbit, vhost: Vhost) -> None:
    rabbit.add_user("watcher", "pa/ss", vhost, configure="^mine")
    url = vhost.url_at(vhost.port, user="watcher", password="pa%2Fss")
    error = refused(AmqpSource(url))
    assert "user 'watcher' lacks a permission" in error.message
    assert "celeryev" in error.message
    assert "set_permissions" in error.message
    assert "pa/ss" not in error.message


def test_an_exchange_declared_otherwise(vhost: Vhost) -> None:
    with publisher(vhost) as channel:
        channel.exchange_declare("celeryev", "fanout", durable=True, auto_delete=False)
    error = refused(AmqpSource(vhost.url))
    assert "declared otherwise" in error.message
    assert "event_exchange" in error.message


def test_nobody_listens() -> None:
    error = refused(AmqpSource(f"amqp://127.0.0.1:{servers.free_port()}"))
    assert "cannot connect: [Errno 111] Connection refused" in error.message


def test_a_server_that_does_not_speak_amqp(rabbit: Rabbit, valkey: servers.Redis) -> None:
    for port in (rabbit.management_port, valkey.port):
        error = refused(AmqpSource(f"amqp://127.0.0.1:{port}/?connect_timeout=1"))
        assert "cannot connect" in error.message


def test_failover_skips_the_broker_that_is_down(
    vhost: Vhost, proxied: Callable[[int], Proxy]
) -> None:
    down = f"amqp://127.0.0.1:{servers.free_port()}"
    proxy = proxied(vhost.port)
    with connected(AmqpSource(f"{down};{vhost.url_at(proxy.port)}")) as session:
        send_events(vhost, "worker-online")
        assert len(read_some(session, 1)) == 1
        proxy.cut()
        assert f"127.0.0.1:{proxy.port}" in read_until_lost(session), "which of the two"


def test_when_every_broker_fails_the_error_names_each(vhost: Vhost) -> None:
    down = f"127.0.0.1:{servers.free_port()}"
    error = refused(AmqpSource([f"amqp://{down}", vhost.url + "-typo"]))
    assert down in error.message
    assert "-typo" in error.message


# --- TLS --------------------------------------------------------------------------------------


def test_tls_with_and_without_a_client_certificate(vhost: Vhost) -> None:
    certs = servers.certificates()
    options = {"ca_certs": str(certs.ca)}
    client = {"certfile": str(certs.client_certificate), "keyfile": str(certs.client_key)}
    with (
        connected(AmqpSource(vhost.tls_url, ssl=options)) as first,
        connected(AmqpSource(vhost.tls_url, ssl={**options, **client})) as second,
        connected(AmqpSource(f"{vhost.tls_url}?ssl_ca_certs={certs.ca}")) as third,
        connected(AmqpSource(vhost.tls_url, ssl={"cert_reqs": "none"})) as fourth,
    ):
        with publisher(vhost) as channel:
            for number in range(5000):
                message = amqp.Message(b"%d" % number, content_type="application/json")
                channel.basic_publish(message, "celeryev", "task.multi")
        for session in (first, second, third, fourth):
            messages = read_some(session, 5000)
            assert [int(m.body) for m in messages] == list(range(5000))


def test_tls_of_an_untrusted_server_is_refused(vhost: Vhost) -> None:
    certs = servers.certificates()
    for options in (
        {"ca_certs": str(certs.other_ca)},
        {"ca_certs": str(certs.ca), "server_hostname": "rabbit.example.org"},
        None,
    ):
        error = refused(AmqpSource(vhost.tls_url, ssl=options))
        assert "TLS failed" in error.message
        assert "certificate verify failed" in error.message
        assert "ssl_ca_certs" in error.message


def test_tls_and_plain_mixed_up(vhost: Vhost) -> None:
    plain_port = vhost.url_at(vhost.port, scheme="amqps") + "?connect_timeout=2"
    assert "TLS failed" in refused(AmqpSource(plain_port)).message
    tls_port = vhost.url_at(vhost.tls_port) + "?connect_timeout=2"
    assert "cannot connect" in refused(AmqpSource(tls_port)).message


# --- what goes wrong later --------------------------------------------------------------------


def test_the_queue_deleted_under_us(rabbit: Rabbit, vhost: Vhost) -> None:
    # RabbitMQ lets nobody delete an exclusive queue, only the one of another kind.
    source = AmqpSource(vhost.url, exclusive=False)
    with connected(source) as session:
        (queue,) = rabbit.queues(vhost)
        rabbit.delete_queue(vhost, queue)
        assert "queue was deleted" in read_until_lost(session)
    with connected(source) as session:
        send_events(vhost, "worker-online")
        assert len(read_some(session, 1)) == 1


def test_the_connection_closed_by_an_administrator(rabbit: Rabbit, vhost: Vhost) -> None:
    with connected(AmqpSource(vhost.url)) as session:
        path = f"/vhosts/{vhost.name}/connections"
        found = servers.wait_until(lambda: rabbit.api("GET", path).json(), 15, "the connection")
        rabbit.api("DELETE", f"/connections/{found[0]['name']}")
        assert "320 CONNECTION_FORCED" in read_until_lost(session)


def test_a_cut_connection(vhost: Vhost, proxied: Callable[[int], Proxy]) -> None:
    proxy = proxied(vhost.port)
    source = AmqpSource(vhost.url_at(proxy.port))
    with connected(source) as session:
        send_events(vhost, "worker-online")
        read_some(session, 1)
        assert proxy.cut() == 1
        assert re.search("connection broke|closed the connection", read_until_lost(session))
    with connected(source) as session:
        send_events(vhost, "worker-online")
        assert len(read_some(session, 1)) == 1


def test_a_half_open_connection_shows_within_two_heartbeats(
    vhost: Vhost, proxied: Callable[[int], Proxy]
) -> None:
    proxy = proxied(vhost.port)
    url = f"{vhost.url_at(proxy.port)}?heartbeat={SHORT_HEARTBEAT_SECONDS}&connect_timeout=1"
    source = AmqpSource(url)
    with connected(source) as session:
        proxy.stall()
        assert "half-open" in read_until_lost(session)
        error = refused(source)
        assert "no answer within 1 s" in error.message


def test_a_silent_connection_stays_up_by_heartbeats(vhost: Vhost) -> None:
    source = AmqpSource(f"{vhost.url}?heartbeat={SHORT_HEARTBEAT_SECONDS}")
    with connected(source) as session:
        # Both sides would have given up after two heartbeats.
        deadline = time.monotonic() + 3.5 * SHORT_HEARTBEAT_SECONDS
        for _ in itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.count()):
            assert session.read(0.3) == ([], 0)
        send_events(vhost, "worker-online")
        assert len(read_some(session, 1)) == 1


def test_a_paused_broker(rabbit: Rabbit, vhost: Vhost) -> None:
    url = f"{vhost.url}?heartbeat={SHORT_HEARTBEAT_SECONDS}&connect_timeout=1"
    source = AmqpSource(url)
    with connected(source) as session:
        rabbit.pause()
        try:
            assert "half-open" in read_until_lost(session)
            assert "no answer within 1 s" in refused(source).message
        finally:
            rabbit.resume()
    with connected(source) as session:
        send_events(vhost, "worker-online")
        assert len(read_some(session, 1)) == 1
