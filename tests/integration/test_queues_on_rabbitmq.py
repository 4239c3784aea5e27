"""Queue depth from a real RabbitMQ, by the management API and by passive declares."""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import pytest

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.proxy import Proxy
from tests.support.rabbitmq import Rabbit, Vhost
from z4j_exporter.config import Settings
from z4j_exporter.queues import rabbitmq
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.management_address import given_addresses
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.queues.rabbitmq import RETRY_SECONDS, RabbitQueues

#: Seconds that RabbitMQ may take to report: a second for classic queues, five for quorum queues.
REPORTED_WITHIN_SECONDS = 20.0


@contextmanager
def queues(vhost: Vhost, **settings: Any) -> Iterator[RabbitQueues]:
    given = {"broker_url": vhost.url, "rabbitmq_management_url": vhost.management_url}
    reader = RabbitQueues(Settings(**{**given, **settings}))
    yield reader
    reader.close()


@contextmanager
def channel(vhost: Vhost) -> Iterator[amqp.Channel]:
    connection = amqp.Connection(host=f"127.0.0.1:{vhost.port}", virtual_host=vhost.name)
    connection.connect()
    yield connection.channel()
    connection.close()


def declare(channel: amqp.Channel, name: str, kind: str = "classic") -> None:
    arguments = {"x-queue-type": kind}
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


def publish(channel: amqp.Channel, name: str, count: int = 1, **properties: Any) -> None:
    for _ in range(count):
        channel.basic_publish(amqp.Message("x", delivery_mode=2, **properties), routing_key=name)


def read(reader: RabbitQueues, *names: str, seconds: float = 10.0) -> dict[str, QueueReading]:
    readings = reader.read(names, time.monotonic() + seconds)
    assert len({r.name for r in readings}) == len(readings), "each queue once"
    return {reading.name: reading for reading in readings}


def read_until(
    reader: RabbitQueues, condition: Callable[[dict[str, QueueReading]], bool], *names: str
) -> dict[str, QueueReading]:
    last: dict[str, QueueReading] = {}

    def holds() -> bool:
        nonlocal last
        last = read(reader, *names)
        return condition(last)

    try:
        servers.wait_until(holds, REPORTED_WITHIN_SECONDS, "the broker's report")
    except Exception as error:
        raise AssertionError(f"last reading: {last}") from error
    return last


def depth(reading: QueueReading) -> tuple[int | None, int | None, int | None]:
    return (reading.ready or {}).get(""), reading.unacked, reading.consumers


def test_a_stopped_worker_with_prefetched_and_eta_tasks(vhost: Vhost) -> None:
    app = client(vhost.url)
    with servers.worker("tests.support.celeryapp", vhost.url) as worker, queues(vhost) as reader:
        app.send_task("work.sleep_late", (600,), countdown=3600)
        app.send_task("math.add", (1, 2), countdown=3600)
        read_until(reader, lambda all_: depth(all_["celery"]) == (0, 2, 1), "celery")
        worker.signal(signal.SIGSTOP)
        try:
            for _ in range(20):
                app.send_task("math.add", (1, 2))
            # Prefetch is 4, and one more for each ETA task in hand.
            found = read_until(
                reader,
                lambda all_: depth(all_["celery"]) == (16, 6, 1) and all_["celery"].published == 22,
                "celery",
            )
            assert found["celery"].acked == 0
            assert (found["celery"].memory_bytes or 0) > 1000
            assert set(found) == {"celery"}, "events, replies and remote control are left out"
            assert reader.method == "management"
            assert reader.notes == ()
        finally:
            worker.signal(signal.SIGCONT)
        read_until(
            reader,
            lambda all_: (
                depth(all_["celery"]) == (0, 2, 1)
                and (all_["celery"].acked, all_["celery"].delivered) == (20, 22)
            ),
            "celery",
        )


@pytest.mark.parametrize("kind", ["classic", "quorum", "stream"])
def test_every_type_of_queue(vhost: Vhost, kind: str) -> None:
    with channel(vhost) as made, queues(vhost) as reader:
        declare(made, "q", kind)
        publish(made, "q", 5)
        read_until(reader, lambda all_: depth(all_["q"]) == (5, 0, 0) and all_["q"].published == 5)
        if kind != "stream":
            made.basic_qos(0, 2, False)
            made.basic_consume("q", callback=lambda _: None)
            read_until(reader, lambda all_: depth(all_["q"]) == (3, 2, 1))


def test_a_new_queue_has_no_figures_rather_than_zeros(vhost: Vhost) -> None:
    with channel(vhost) as made, queues(vhost) as reader:
        declare(made, "q", "quorum")
        assert read(reader, "q") == {"q": QueueReading("q")}


def test_age_of_the_oldest_message_where_it_has_a_timestamp(vhost: Vhost) -> None:
    with channel(vhost) as made, queues(vhost) as reader:
        for name in ("stamped", "plain", "held"):
            declare(made, name)
        then = int(time.time()) - 100
        publish(made, "stamped", timestamp=then)
        publish(made, "stamped", timestamp=then + 50)
        publish(made, "held", 3, timestamp=then)
        publish(made, "plain")
        made.basic_qos(0, 1, False)
        made.basic_consume("held", callback=lambda _: None)
        found = read_until(
            reader,
            # The broker reports the time of the head of a queue apart from the counts.
            lambda all_: (
                [depth(all_[n])[:2] for n in sorted(all_)] == [(2, 1), (1, 0), (2, 0)]
                and all_["stamped"].oldest_age_seconds is not None
            ),
        )
        assert 100 <= (found["stamped"].oldest_age_seconds or 0) < 130
        assert found["plain"].oldest_age_seconds is None
        assert found["held"].oldest_age_seconds is None, "it may be the age of what is held"


def test_a_queue_deleted_and_declared_again(rabbit: Rabbit, vhost: Vhost) -> None:
    with channel(vhost) as made, queues(vhost) as reader:
        declare(made, "q")
        publish(made, "q", 3)
        read_until(reader, lambda all_: depth(all_["q"]) == (3, 0, 0))
        made.queue_delete("q")
        assert depth(read(reader, "q")["q"]) == (0, 0, 0)
        assert read(reader) == {}
        declare(made, "q")
        assert read(reader, "q") == {"q": QueueReading("q")}, "nothing of the queue before"
        publish(made, "q")
        read_until(reader, lambda all_: depth(all_["q"]) == (1, 0, 0), "q")


@pytest.fixture
def oddly_named(rabbit: Rabbit) -> Iterator[list[Vhost]]:
    made = [rabbit.vhost(name) for name in ("a/b", "100%", "a%2Fb", "köln ☃", "q?x=1&y#z")]
    yield made
    for vhost in made:
        rabbit.drop(vhost)


def test_names_of_vhosts_and_queues(oddly_named: list[Vhost]) -> None:
    """Each vhost has a queue of its own name, with as many messages as the name is long."""
    for vhost in oddly_named:
        with channel(vhost) as made:
            declare(made, vhost.name)
            publish(made, vhost.name, len(vhost.name))
    for vhost in oddly_named:
        expected = {vhost.name: (len(vhost.name), 0, 0)}
        with queues(vhost) as reader:
            read_until(reader, lambda all_: {n: depth(r) for n, r in all_.items()} == expected)  # noqa: B023 - called at once
        with queues(vhost, rabbitmq_management_url=None) as reader:
            assert depth(read(reader, vhost.name)[vhost.name]) == (len(vhost.name), None, 0)


def test_the_vhost_named_slash(rabbit: Rabbit) -> None:
    vhost = Vhost("/", rabbit.port, rabbit.tls_port, rabbit.management_url)
    with channel(vhost) as made, queues(vhost) as reader:
        declare(made, "in-slash")
        try:
            publish(made, "in-slash")
            read_until(reader, lambda all_: depth(all_["in-slash"]) == (1, 0, 0))
        finally:
            made.queue_delete("in-slash")


def test_a_thousand_queues_take_a_few_pages(
    vhost: Vhost, proxied: Callable[[int], Proxy], rabbit: Rabbit
) -> None:
    names = [f"q{number}" for number in range(1000)]
    with channel(vhost) as made:
        for name in names:
            made.queue_declare(name, durable=False, auto_delete=False)
        publish(made, "q999", 2)
        proxy = proxied(rabbit.management_port)
        url = f"http://guest:guest@127.0.0.1:{proxy.port}"
        with queues(vhost, rabbitmq_management_url=url) as reader:
            read_until(reader, lambda all_: depth(all_["q999"]) == (2, 0, 0), *names)
            started = time.monotonic()
            found = read(reader, *names)
            taken = time.monotonic() - started
        assert set(found) == set(names)
        assert all(depth(found[name]) == (0, 0, 0) for name in names[:999])
        assert proxy.accepted == 1, "one connection, kept"
        assert taken < 2.0


def test_a_thousand_queues_by_passive_declares(vhost: Vhost) -> None:
    names = [f"q{number}" for number in range(1000)]
    with channel(vhost) as made, queues(vhost, rabbitmq_management_url=None) as reader:
        for name in names[:500]:
            made.queue_declare(name, durable=False, auto_delete=False)
        started = time.monotonic()
        assert set(read(reader, *names)) == set(names)
        assert time.monotonic() - started < 5.0


# What goes wrong with the management API.


def test_a_wrong_password(vhost: Vhost, rabbit: Rabbit) -> None:
    url = f"http://guest:sesame@127.0.0.1:{rabbit.management_port}"
    with queues(vhost, rabbitmq_management_url=url) as reader:
        with pytest.raises(QueuePollError, match=r"refused user 'guest'.*user and password") as e:
            read(reader)
        assert "sesame" not in str(e.value)


@pytest.mark.parametrize(
    ("tags", "permitted", "expected"),
    [("", True, "the tag management"), ("management", False, "permissions")],
)
def test_a_user_that_lacks_something(
    rabbit: Rabbit, vhost: Vhost, tags: str, permitted: bool, expected: str
) -> None:
    elsewhere = rabbit.vhost()
    user = f"user-{vhost.name}"
    rabbit.add_user(user, "p", vhost if permitted else elsewhere)
    rabbit.api("PUT", f"/users/{user}", {"password": "p", "tags": tags})
    url = f"http://{user}:p@127.0.0.1:{rabbit.management_port}"
    with (
        queues(vhost, rabbitmq_management_url=url) as reader,
        pytest.raises(QueuePollError, match=expected),
    ):
        read(reader)
    rabbit.drop(elsewhere)
    rabbit.api("DELETE", f"/users/{user}")


def test_a_user_that_may_do_nothing_but_look(rabbit: Rabbit, vhost: Vhost) -> None:
    user = f"user-{vhost.name}"
    rabbit.add_user(user, "p", vhost, configure="^$", write="^$", read="^$")
    with channel(vhost) as made:
        declare(made, "q")
        publish(made, "q", 3)
    url = vhost.url_at(vhost.port, user=user, password="p")
    with queues(vhost, broker_url=url, rabbitmq_management_url=None) as reader:
        assert depth(read(reader, "q")["q"])[0] == 3, "a passive declare needs no permission"
    rabbit.api("PUT", f"/users/{user}", {"password": "p", "tags": "management"})
    url = f"http://{user}:p@127.0.0.1:{rabbit.management_port}"
    with queues(vhost, rabbitmq_management_url=url) as reader:
        read_until(reader, lambda all_: depth(all_["q"]) == (3, 0, 0))
    rabbit.api("DELETE", f"/users/{user}")


def test_a_vhost_that_is_not_there(vhost: Vhost) -> None:
    gone = Vhost("gone", vhost.port, vhost.tls_port, vhost.management_url)
    with queues(gone) as reader, pytest.raises(QueuePollError, match="no vhost 'gone'"):
        read(reader)


def test_a_management_api_that_hangs_and_comes_back(
    vhost: Vhost, proxied: Callable[[int], Proxy], rabbit: Rabbit
) -> None:
    proxy = proxied(rabbit.management_port)
    url = f"http://guest:guest@127.0.0.1:{proxy.port}"
    with queues(vhost, rabbitmq_management_url=url) as reader:
        assert read(reader) == {}
        proxy.stall()
        started = time.monotonic()
        with pytest.raises(QueuePollError, match="did not answer in time"):
            read(reader, seconds=0.5)
        assert time.monotonic() - started < 1.5
        proxy.flow()
        assert read(reader) == {}
        proxy.cut()
        assert read(reader) == {}, "a connection that was closed meanwhile is made again"
        proxy.close()
        with pytest.raises(QueuePollError, match="rabbitmq-plugins enable"):
            read(reader)


def test_the_next_management_api_is_asked(vhost: Vhost, rabbit: Rabbit) -> None:
    closed = f"http://guest:guest@127.0.0.1:{servers.free_port()}"
    with queues(vhost, rabbitmq_management_url=f"{closed};{vhost.management_url}") as reader:
        assert read(reader) == {}


def test_a_broker_that_hangs_fails_the_look_in_time_and_is_read_again(
    rabbit: Rabbit, vhost: Vhost
) -> None:
    with queues(vhost) as management, queues(vhost, rabbitmq_management_url=None) as declaring:
        for reader in (management, declaring):
            read(reader, "q")
        rabbit.pause()
        try:
            for reader in (management, declaring, management, declaring):
                started = time.monotonic()
                with pytest.raises(QueuePollError, match="did not answer in time"):
                    read(reader, "q", seconds=0.5)
                assert time.monotonic() - started < 1.5
        finally:
            rabbit.resume()
        for reader in (management, declaring):
            assert depth(read(reader, "q")["q"]) == (0, 0, 0)


# Without the management API.


def test_a_guessed_management_api_that_is_there_later(
    rabbit: Rabbit,
    vhost: Vhost,
    proxied: Callable[[int], Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = proxied(rabbit.management_port)
    proxy.refuse()
    # The test's RabbitMQ has ports of its own, from which none is guessed.
    monkeypatch.setattr(
        rabbitmq,
        "derived_addresses",
        lambda endpoints, *_: given_addresses(f"http://127.0.0.1:{proxy.port}", endpoints[0]),
    )
    now = 0.0
    reader = RabbitQueues(Settings(broker_url=vhost.url), clock=lambda: now)
    assert depth(read(reader, "q")["q"]) == (0, 0, 0)
    assert reader.method == "declare"
    proxy.refuse(False)
    read(reader, "q")
    assert reader.method == "declare", "it is not tried at every look"
    now += RETRY_SECONDS
    assert depth(read(reader, "q")["q"]) == (0, 0, 0)
    assert (reader.method, reader.notes) == ("management", ())
    reader.close()


def test_without_the_plugin_queues_are_declared_passively(
    vhost: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    with channel(vhost) as made, queues(vhost, rabbitmq_management_url=None) as reader:
        declare(made, "q")
        declare(made, "quorum", "quorum")
        publish(made, "q", 3)
        made.queue_declare("mine", exclusive=True)
        made.basic_consume("quorum", callback=lambda _: None)
        names = ("absent", "another", "mine", "q", "quorum", "x" * 256, "")
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                found = read_until(reader, lambda all_: depth(all_["q"])[0] == 3, *names)
        assert depth(found["q"]) == (3, None, 0)
        assert depth(found["quorum"]) == (0, None, 1)
        assert depth(found["absent"]) == depth(found["another"]) == (0, 0, 0)
        assert set(found) == {"absent", "another", "q", "quorum"}
        assert reader.method == "declare"
        assert any("3 queues could not be asked for" in note for note in reader.notes)
        assert [r.levelname for r in caplog.records] == ["WARNING"], "it is said once"


def test_a_declaring_connection_that_was_cut_is_made_again(
    vhost: Vhost, proxied: Callable[[int], Proxy]
) -> None:
    proxy = proxied(vhost.port)
    url = vhost.url_at(proxy.port)
    with queues(vhost, broker_url=url, rabbitmq_management_url=None) as reader:
        assert depth(read(reader, "q")["q"]) == (0, 0, 0)
        assert depth(read(reader, "q")["q"]) == (0, 0, 0)
        assert proxy.accepted == 1
        proxy.cut()
        assert depth(read(reader, "q")["q"]) == (0, 0, 0)
        proxy.stall()
        started = time.monotonic()
        with pytest.raises(QueuePollError, match="did not answer in time"):
            read(reader, "q", seconds=0.5)
        with pytest.raises(QueuePollError, match="did not answer in time"):
            read(reader, "q", seconds=0.5)  # a new connection now, that stays silent
        assert time.monotonic() - started < 3


def test_declaring_ends_at_the_deadline_and_goes_on_there(
    vhost: Vhost, proxied: Callable[[int], Proxy]
) -> None:
    proxy = proxied(vhost.port)
    names = [f"q{number}" for number in range(10)]
    url = vhost.url_at(proxy.port)
    with queues(vhost, broker_url=url, rabbitmq_management_url=None) as reader:
        read(reader, names[0])
        proxy.delay(0.1)
        seen: set[str] = set()
        for _ in range(10):
            found = read(reader, *names, seconds=1.0)
            assert 0 < len(found) < 10
            assert any("come first next time" in note for note in reader.notes)
            seen |= set(found)
        assert seen == set(names)


def test_both_ways_down_and_up_again(vhost: Vhost, proxied: Callable[[int], Proxy]) -> None:
    proxy = proxied(vhost.port)
    with queues(vhost, broker_url=vhost.url_at(proxy.port), rabbitmq_management_url=None) as reader:
        proxy.refuse()
        with pytest.raises(QueuePollError, match="nor could the management API"):
            read(reader, "q")
        proxy.refuse(False)
        assert depth(read(reader, "q")["q"]) == (0, 0, 0)


def test_a_wrong_password_for_declaring(vhost: Vhost) -> None:
    url = vhost.url_at(vhost.port, password="sesame")
    with queues(vhost, broker_url=url, rabbitmq_management_url=None) as reader:
        with pytest.raises(QueuePollError, match="check user and password") as e:
            read(reader, "q")
        assert "sesame" not in str(e.value)


def test_over_tls(vhost: Vhost) -> None:
    options = {"ca_certs": str(servers.certificates().ca)}
    with queues(
        vhost,
        broker_url=vhost.tls_url,
        broker_ssl_options=options,
        rabbitmq_management_url=None,
    ) as reader:
        assert depth(read(reader, "q")["q"]) == (0, 0, 0)
        assert reader.method == "declare"
