"""Brokers that hang in the middle: within the time, told as unknown, and never sent twice."""

import time
from collections.abc import Callable, Iterator

import amqp
import pytest

from tests.support.actions import ActionsStage
from tests.support.process import wait_until
from tests.support.proxy import Proxy
from tests.support.rabbitmq import Vhost
from tests.support.redis_servers import Redis
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.actions.perform import Performer

PAYLOAD = Payload("record", None, "application/json", "utf-8", (1,), {}, "caller")


@pytest.fixture
def on_redis(valkey: Redis) -> Iterator[ActionsStage]:
    stage = ActionsStage(valkey.url)
    yield stage
    stage.stop()


def send(performer: Performer, timeout_seconds: float = 1.0) -> None:
    performer.send(
        PAYLOAD, "new", retry_of="old", retry_count=1, queue="q", timeout_seconds=timeout_seconds
    )


def late(act: Callable[[], object], seconds: float) -> ActionError:
    began = time.monotonic()
    with pytest.raises(ActionError) as failed:
        act()
    assert time.monotonic() - began < seconds
    return failed.value


def test_a_send_that_redis_does_not_answer_may_have_been(
    valkey: Redis, on_redis: ActionsStage
) -> None:
    on_redis.send("record", queue="q")
    client = valkey.client()
    # Reads are answered; what writes waits, and is done when the pause is over.
    client.execute_command("CLIENT", "PAUSE", 3_000, "WRITE")
    error = late(lambda: send(on_redis.performer()), 1.5)
    assert (error.kind, error.status, error.unknown) == ("broker-timeout", 504, True)
    client.execute_command("CLIENT", "UNPAUSE")
    assert client.llen("q") in (1, 2)


def test_a_purge_that_redis_does_not_answer_may_have_been(
    valkey: Redis, on_redis: ActionsStage
) -> None:
    on_redis.send("record", queue="q")
    client = valkey.client()
    client.execute_command("CLIENT", "PAUSE", 3_000, "WRITE")
    performer = on_redis.performer()
    assert performer.purge_count("q").messages == 1
    error = late(lambda: performer.purge("q", timeout_seconds=1.0), 1.5)
    assert (error.kind, error.status, error.unknown) == ("broker-timeout", 504, True)
    client.execute_command("CLIENT", "UNPAUSE")


def test_a_send_that_rabbitmq_does_not_confirm_may_have_been(
    vhost: Vhost, proxied: Callable[[int], Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ActionsStage(vhost.url)
    stage.send("record", queue="q")
    direct = stage.performer()
    proxy = proxied(vhost.port)
    stage.settings = stage.settings.model_copy(update={"broker_url": vhost.url_at(proxy.port)})
    select = amqp.Channel.confirm_select

    def select_and_stall(channel: amqp.Channel) -> None:
        select(channel)
        proxy.stall()

    monkeypatch.setattr(amqp.Channel, "confirm_select", select_and_stall)
    error = late(lambda: send(stage.performer()), 2.0)
    assert (error.kind, error.status, error.unknown) == ("broker-timeout", 504, True)
    proxy.flow()
    wait_until(lambda: direct.purge_count("q").messages in (1, 2), 10, "once or not at all")
    stage.stop()


def test_a_broker_that_never_answers_has_got_nothing(
    vhost: Vhost, valkey: Redis, proxied: Callable[[int], Proxy]
) -> None:
    for port, url in ((vhost.port, vhost.url_at), (valkey.port, valkey.url_at)):
        proxy = proxied(port)
        proxy.stall()
        stage = ActionsStage(url(proxy.port))
        performer = stage.performer()
        for act in (
            lambda performer=performer: send(performer),
            lambda performer=performer: performer.purge("q", timeout_seconds=1.0),
            lambda performer=performer: performer.revoke("t", timeout_seconds=1.0),
            lambda performer=performer: performer.find("t", timeout_seconds=1.0),
        ):
            error = late(act, 2.5)
            assert (error.kind, error.status, error.unknown) == ("broker-unreachable", 503, False)
        stage.stop()
