"""Where payloads come from on real servers, and what happens to what cannot be had exactly."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import chord, signature
from kombu import Queue

from tests.support.actions import ActionsStage
from tests.support.actions_values import SERIALIZERS, arguments, same
from tests.support.process import wait_until
from tests.support.rabbitmq import Rabbit, Vhost
from tests.support.redis_servers import Redis
from z4j_exporter.actions.messages import Options, retry_count
from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.payload import CallerPayload, Seen

#: Argument sets of each serializer that go through a real worker twice.
SETS = 75


@pytest.fixture
def on_redis(valkey: Redis) -> Iterator[ActionsStage]:
    stage = ActionsStage(
        valkey.url, valkey.url_at(valkey.port, 1), {"accept_content": list(SERIALIZERS)}
    )
    yield stage
    stage.stop()


@pytest.fixture
def on_rabbitmq(vhost: Vhost, valkey: Redis) -> Iterator[ActionsStage]:
    stage = ActionsStage(vhost.url, valkey.url)
    yield stage
    stage.stop()


def again(stage: ActionsStage, old: str, **options: Any) -> tuple[str, Any]:
    """Find a task's payload and send it; return the new id and the receipt."""
    performer = stage.performer(expected=lambda: ["w0@test"])
    payload = performer.find(old, timeout_seconds=4.0)
    new = str(uuid4())
    count = retry_count(payload) + 1
    return new, performer.send(payload, new, retry_of=old, retry_count=count, **options)


def refused(stage: ActionsStage, old: str, **options: Any) -> ActionError:
    """Return why there is no payload."""
    with pytest.raises(ActionError) as error:
        stage.performer(expected=lambda: ["w0@test"]).find(old, timeout_seconds=4.0, **options)
    return error.value


def test_hundreds_of_argument_sets_reach_a_real_worker_unchanged(on_redis: ActionsStage) -> None:
    stage = on_redis
    rng = random.Random("a real worker")
    pairs = []
    for serializer in SERIALIZERS:
        for _ in range(SETS):
            args, kwargs = arguments(rng, serializer)
            options = {"kwargs": kwargs, "serializer": serializer, "queue": "parked"}
            if rng.random() < 0.2:
                options["compression"] = "gzip"
            old = stage.send("record", *args, **options)
            try:
                new, receipt = again(stage, old, queue="work", new_queue=True)
            except ActionError as error:
                if (serializer, error.kind) != ("pickle", "payload-opaque"):
                    raise
                continue
            assert receipt.source == "queue"
            pairs.append((old, new))
    assert len(pairs) > 4 * SETS * 0.95
    stage.worker("-Q", "parked,work", concurrency=2)
    for old, new in pairs:
        first, second = stage.written("call", old), stage.written("call", new)
        assert same(second["args"], first["args"])
        assert same(second["kwargs"], first["kwargs"])
        assert (second["id"], second["retry_of"], second["root_id"]) == (new, old, old)


def test_a_message_that_a_worker_holds_is_found(on_redis: ActionsStage) -> None:
    stage = on_redis
    stage.worker()
    later = datetime.now(UTC) + timedelta(hours=1)
    held = stage.send(
        "record", "C:\\new", {"n": [[[[1]]]]}, eta=later, priority=3, expires=later,
        time_limit=40, headers={"x-custom": "kept"},
    )  # fmt: skip
    wait_until(lambda: stage.performer().state(held, timeout_seconds=1.0).held, 10, "it is held")
    new, receipt = again(stage, held)
    assert (receipt.source, receipt.queue) == ("queue", "celery")
    assert set(receipt.dropped) == {"eta", "expires"}
    call = stage.written("call", new)
    assert call["args"] == ("C:\\new", {"n": [[[[1]]]]})
    assert (call["custom"], call["timelimit"], call["priority"]) == ("kept", [40, None], 3)
    # The one that is held was left where it is.
    assert stage.performer().state(held, timeout_seconds=1.0).held[0].phase == "scheduled"


def test_a_running_tasks_arguments_come_from_its_worker(on_rabbitmq: ActionsStage) -> None:
    stage = on_rabbitmq
    stage.worker(concurrency=2)
    running = stage.send("work.sleep", 4.25)
    stage.written("running", running)
    new, receipt = again(stage, running)
    assert (receipt.source, receipt.queue) == ("worker", "celery")
    stage.written("running", new)


def test_arguments_that_the_task_changed_are_refused(on_redis: ActionsStage) -> None:
    stage = on_redis
    stage.worker()
    old = stage.send("record.change", ["first"])
    stage.wait_for(old, "FAILURE")
    assert refused(stage, old).kind == "payload-unverified"
    assert refused(stage, old, seen=Seen(args="(['first'],)", kwargs="{}")).kind == (
        "payload-altered"
    )
    # Who asks for it gets it, and is told.
    payload = stage.performer().find(old, unverified=True)
    assert payload.args == (["first", "changed"],)
    assert "verification" in payload.absent


def test_a_cancelled_tasks_arguments_are_gone_from_the_backend(on_redis: ActionsStage) -> None:
    stage = on_redis
    stage.worker()
    performer = stage.performer(expected=lambda: ["w0@test"])
    waiting = stage.send("record", 1, queue="parked")
    performer.revoke(waiting)
    stage.wait_for(waiting, "REVOKED")
    assert performer.find(waiting).source == "queue"
    performer.purge("parked")
    error = refused(stage, waiting)
    assert (error.kind, error.status) == ("payload-unavailable", 422)
    assert "result_extended" in error.hint
    assert "capture" in error.hint
    payload = performer.find(waiting, CallerPayload("record", [2], {}), timeout_seconds=3.0)
    assert payload.source == "caller"
    new = str(uuid4())
    performer.send(payload, new, retry_of=waiting, retry_count=1, queue="celery")
    assert stage.written("call", new)["args"] == (2,)


def test_the_caller_may_not_say_otherwise_than_the_source(on_redis: ActionsStage) -> None:
    old = on_redis.send("record", 1)
    for caller in (CallerPayload(None, [2], {}), CallerPayload("other", None, None)):
        with pytest.raises(ActionError) as error:
            on_redis.performer().find(old, caller)
        assert (error.value.kind, error.value.status) == ("payload-differs", 409)
    assert on_redis.performer().find(old, CallerPayload("record", [1], {})).source == "queue"


def test_pickle_in_the_backend_is_never_loaded(on_redis: ActionsStage, valkey: Redis) -> None:
    results = on_redis.app.backend.client
    ours = b"\x80\x04cos\nsystem\n(S'touch /tmp/never'\ntR."
    results.set("celery-task-meta-abc", ours)
    error = refused(on_redis, "abc")
    assert error.kind == "backend-unreadable"
    assert "pickle" in error.detail


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_header_of_a_chord_is_sent_without_its_chord(
    serializer: str, on_redis: ActionsStage
) -> None:
    stage = on_redis
    header = [signature("record", args=(n,), app=stage.app, queue="parked") for n in range(2)]
    body = signature("record", args=("body",), app=stage.app, queue="work")
    members = chord(header, body, app=stage.app).apply_async(serializer=serializer).parent
    old = members.results[0].id
    if serializer == "pickle":
        assert refused(stage, old).kind == "payload-opaque"
        return
    new, receipt = again(stage, old, queue="work", new_queue=True)
    assert set(receipt.dropped) == {"group", "chord"}
    stage.worker("-Q", "work")
    call = stage.written("call", new)
    assert (call["args"], call["group"], call["chord"]) == ((0,), None, None)
    results = json.dumps([key.decode() for key in stage.app.backend.client.scan_iter("*.j")])
    assert results == "[]", "the chord has counted it"


def test_links_go_along(on_redis: ActionsStage) -> None:
    stage = on_redis
    after = signature("record", args=("after",), app=stage.app, immutable=True, queue="work")
    old = stage.send("record", "first", queue="parked", link=[after])
    new, receipt = again(stage, old, queue="work", new_queue=True)
    assert receipt.links == ("callbacks",)
    stage.worker("-Q", "work")
    assert stage.written("call", new)["args"] == ("first",)
    calls = stage.directory.glob("call-*")
    wait_until(lambda: len(list(stage.directory.glob("call-*"))) == 2, 10, f"{list(calls)}")


@pytest.mark.parametrize("kind", ["priority", "quorum"])
def test_a_retry_reaches_rabbitmqs_queues_of_every_kind(
    kind: str, on_rabbitmq: ActionsStage
) -> None:
    stage = on_rabbitmq
    arguments = {"x-max-priority": 10} if kind == "priority" else {"x-queue-type": "quorum"}
    stage.app.conf.task_queues = [Queue("q", routing_key="q", queue_arguments=arguments)]
    with stage.app.connection_for_write() as connection:
        stage.app.conf.task_queues[0](connection.default_channel).declare()
    performer = stage.performer()
    caller = CallerPayload("record", ["quo'ted"], {})
    payload = performer.find("old", caller, timeout_seconds=1.0)
    new = str(uuid4())
    receipt = performer.send(
        payload, new, retry_of="old", retry_count=1, queue="q", options=Options(priority=7)
    )
    assert (receipt.queue, receipt.exchange) == ("q", "")
    with stage.app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("q", no_ack=True)
    assert json.loads(message.body)[:2] == [["quo'ted"], {}]
    assert message.properties["priority"] == 7
    assert message.properties["delivery_mode"] == 2
    assert message.headers["id"] == message.properties["correlation_id"] == new


def test_rabbitmq_returns_what_no_queue_takes(
    rabbit: Rabbit, vhost: Vhost, on_rabbitmq: ActionsStage
) -> None:
    performer = on_rabbitmq.performer()
    payload = performer.find("old", CallerPayload("record", [], {}), timeout_seconds=1.0)
    for queue in ("typo", "x" * 300, "half\ud800"):
        with pytest.raises(ActionError) as error:
            performer.send(payload, "new", retry_of="old", retry_count=1, queue=queue)
        assert error.value.status == 422
        assert error.value.kind in ("unroutable", "queue-unknown")
        assert "typo" not in error.value.detail
    assert rabbit.queues(vhost) == []


def test_odd_texts_reach_a_worker_through_rabbitmq(on_rabbitmq: ActionsStage) -> None:
    on_rabbitmq.worker()
    performer = on_rabbitmq.performer(expected=lambda: ["w0@test"])
    odd = ["\ud800", "\0", "\x1b]", 10**30]
    payload = performer.find("half\ud800", CallerPayload("record", odd, {}))
    new = str(uuid4())
    performer.send(payload, new, retry_of="half\ud800", retry_count=1, queue="celery")
    assert on_rabbitmq.written("call", new)["args"] == tuple(odd)


def test_redis_does_not_get_a_queue_by_a_typo(valkey: Redis, on_redis: ActionsStage) -> None:
    performer = on_redis.performer()
    payload = performer.find("old", CallerPayload("record", [], {}), timeout_seconds=1.0)
    valkey.client().rpush("the-applications-own-list", 1)
    for queue in ("typo", "the-applications-own-list", "q\x06\x163", None):
        with pytest.raises(ActionError) as error:
            performer.send(payload, "new", retry_of="old", retry_count=1, queue=queue)
        assert (error.value.kind, error.value.status) == ("queue-unknown", 422)
    assert valkey.client().llen("the-applications-own-list") == 1
    assert not valkey.client().exists("typo")


def test_a_priority_goes_to_the_list_of_its_step(valkey: Redis, on_redis: ActionsStage) -> None:
    old = on_redis.send("record", 1, queue="q", priority=5)
    again(on_redis, old)
    assert valkey.client().llen("q\x06\x163") == 2


def test_a_broker_that_is_down_is_a_503_without_secrets(valkey: Redis) -> None:
    for url in ("redis://u:hunter2@127.0.0.1:1/0", "amqp://u:hunter2@127.0.0.1:1//"):
        stage = ActionsStage(url, "redis://:hunter3@127.0.0.1:1/0")
        performer = stage.performer()
        payload_error = refused(stage, "old")
        with pytest.raises(ActionError) as sent:
            performer.send(
                ActionsStage(valkey.url).performer().find(
                    "old", CallerPayload("t", [], {}), timeout_seconds=0.5
                ),
                "new", retry_of="old", retry_count=1, queue="q",
            )  # fmt: skip
        with pytest.raises(ActionError) as asked:
            performer.purge("q")
        for error in (payload_error, sent.value, asked.value):
            assert (error.status, error.unknown) == (503, False)
            assert "hunter" not in error.detail + error.hint
