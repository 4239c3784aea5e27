"""Purging one queue on real brokers: its siblings stay, the count is right."""

from collections.abc import Iterator

import pytest
from kombu import Queue

from tests.support.actions import ActionsStage
from tests.support.process import wait_until
from tests.support.rabbitmq import Rabbit, Vhost
from tests.support.redis_servers import Redis
from z4j_exporter.actions.model import ActionError


@pytest.fixture
def on_redis(valkey: Redis) -> Iterator[ActionsStage]:
    stage = ActionsStage(valkey.url)
    yield stage
    stage.stop()


@pytest.fixture
def on_rabbitmq(vhost: Vhost) -> Iterator[ActionsStage]:
    stage = ActionsStage(vhost.url)
    yield stage
    stage.stop()


def fill(stage: ActionsStage) -> None:
    for priority in (0, 0, 3, 5, 9):
        stage.send("record", queue="q", priority=priority)
    for sibling in ("q2", "qq", "q.3"):
        for priority in (0, 9):
            stage.send("record", queue=sibling, priority=priority)


def test_on_redis_all_priorities_of_one_queue_go(valkey: Redis, on_redis: ActionsStage) -> None:
    fill(on_redis)
    client = valkey.client()
    before = {key: client.type(key) for key in client.scan_iter()}
    performer = on_redis.performer()
    counted = performer.purge_count("q")
    assert (counted.messages, counted.by_priority) == (5, {"0": 2, "3": 2, "9": 1})
    assert {key: client.type(key) for key in client.scan_iter()} == before

    purged = performer.purge("q")
    assert (purged.messages, purged.by_priority) == (5, {"0": 2, "3": 2, "9": 1})
    gone = {b"q", b"q\x06\x163", b"q\x06\x169"}
    assert {key: client.type(key) for key in client.scan_iter()} == {
        key: kind for key, kind in before.items() if key not in gone
    }
    for sibling in ("q2", "qq", "q.3"):
        assert performer.purge_count(sibling).by_priority == {"0": 1, "9": 1}
    # An empty queue is a queue, and goes on.
    assert performer.purge("q").messages == 0
    on_redis.worker("-Q", "q")
    assert on_redis.written("call", on_redis.send("record", 1, queue="q"))["args"] == (1,)


def test_on_redis_what_a_worker_holds_stays(valkey: Redis, on_redis: ActionsStage) -> None:
    on_redis.worker("-Q", "q", "--prefetch-multiplier", "1")
    running = on_redis.send("work.sleep", 3.0, queue="q")
    on_redis.written("running", running)
    held = on_redis.send("record", "held", queue="q")
    client = valkey.client()
    wait_until(lambda: client.hlen("unacked") >= 1, 10, "the worker has taken it")
    wait_until(lambda: client.llen("q") == 0, 10, "it is out of the queue")
    more = [on_redis.send("record", "waits", queue="q") for _ in range(3)]
    in_queue = client.llen("q")
    assert on_redis.performer().purge("q").messages == in_queue
    assert on_redis.written("call", held)["args"] == ("held",)
    assert sum(on_redis.wrote("call", task) for task in more) == 3 - in_queue


def test_on_redis_with_the_applications_own_steps_and_prefix(valkey: Redis) -> None:
    options = {
        "priority_steps": list(range(10)),
        "sep": ":",
        "global_keyprefix": "app-",
        "queue_order_strategy": "priority",
    }
    stage = ActionsStage(valkey.url, transport_options=options)
    try:
        for priority in range(10):
            stage.send("record", queue="q", priority=priority)
            stage.send("record", queue="q2", priority=priority)
        purged = stage.performer().purge("q")
        assert purged.by_priority == {str(step): 1 for step in range(10)}
        assert stage.performer().purge_count("q2").messages == 10
        # Purged with other steps than the application's: nothing is left behind either.
        for priority in range(10):
            stage.send("record", queue="q", priority=priority)
        stage.settings = stage.settings.model_copy(
            update={"broker_transport_options": {"sep": ":", "global_keyprefix": "app-"}}
        )
        assert stage.performer().purge("q").messages == 10
    finally:
        stage.stop()


def test_on_redis_what_is_no_queue_is_not_purged(valkey: Redis, on_redis: ActionsStage) -> None:
    fill(on_redis)
    client = valkey.client()
    client.rpush("the-applications-own-list", 1, 2, 3)
    client.hset("unacked", "tag", "message")
    performer = on_redis.performer()
    names = ["nobody", "the-applications-own-list", "unacked", "_kombu.binding.q", "q\x06\x163", ""]
    for name in [*names, "q*", "q\0", "q\ud800"]:
        for act in (performer.purge, performer.purge_count):
            with pytest.raises(ActionError) as refused:
                act(name)
            assert (refused.value.kind, refused.value.status) == ("queue-unknown", 404)
    assert client.llen("the-applications-own-list") == 3
    assert performer.purge_count("q").messages == 5


def test_on_redis_a_user_without_the_right_is_told(valkey: Redis, on_redis: ActionsStage) -> None:
    fill(on_redis)
    client = valkey.client()
    client.acl_setuser("reader", enabled=True, passwords=["+secret-word"], keys="*",
                       commands=["+@read", "+@connection"])  # fmt: skip
    try:
        on_redis.settings = on_redis.settings.model_copy(
            update={"broker_url": f"redis://reader:secret-word@127.0.0.1:{valkey.port}/0"}
        )
        performer = on_redis.performer()
        assert performer.purge_count("q").messages == 5
        with pytest.raises(ActionError) as refused:
            performer.purge("q")
        assert (refused.value.kind, refused.value.status) == ("broker-refused", 502)
        assert "secret-word" not in refused.value.detail + refused.value.hint
        assert performer.purge_count("q").messages == 5
    finally:
        client.acl_deluser("reader")


@pytest.mark.parametrize(
    "arguments",
    [{"x-max-priority": 10}, {"x-queue-type": "quorum"}, {}],
    ids=["priority", "quorum", "classic"],
)
def test_on_rabbitmq_one_queue_is_purged(
    arguments: dict[str, object], on_rabbitmq: ActionsStage
) -> None:
    stage = on_rabbitmq
    stage.app.conf.task_queues = [
        Queue(name, routing_key=name, queue_arguments=arguments) for name in ("q", "q2")
    ]
    for priority in (0, 3, 9):
        stage.send("record", queue="q", priority=priority)
        stage.send("record", queue="q2", priority=priority)
    performer = stage.performer()
    wait_until(lambda: performer.purge_count("q").messages == 3, 10, "they are there")
    wait_until(lambda: performer.purge_count("q2").messages == 3, 10, "they are there")
    assert performer.purge("q").messages == 3
    assert performer.purge_count("q").messages == 0
    assert performer.purge_count("q2").messages == 3
    for act in (performer.purge, performer.purge_count):
        for name in ("nobody", "", "q" * 300, "q\ud800"):
            with pytest.raises(ActionError) as refused:
                act(name)
            assert (refused.value.kind, refused.value.status) == ("queue-unknown", 404)


def test_on_rabbitmq_nothing_is_declared_and_rights_are_told(
    rabbit: Rabbit, vhost: Vhost, on_rabbitmq: ActionsStage
) -> None:
    on_rabbitmq.send("record", queue="q")
    with pytest.raises(ActionError):
        on_rabbitmq.performer().purge("typo")
    assert rabbit.queues(vhost) == ["q"]
    rabbit.add_user("sender", "secret-word", vhost, read="^$", configure="^$")
    url = vhost.url_at(vhost.port, user="sender", password="secret-word")
    on_rabbitmq.settings = on_rabbitmq.settings.model_copy(update={"broker_url": url})
    with pytest.raises(ActionError) as refused:
        on_rabbitmq.performer().purge("q")
    assert (refused.value.kind, refused.value.status) == ("broker-refused", 502)
    assert "secret-word" not in refused.value.detail + refused.value.hint
