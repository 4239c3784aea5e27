"""Retries on real brokers: what a worker gets the second time is what it got the first time."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.actions import ActionsStage
from tests.support.rabbitmq import Vhost
from tests.support.redis_servers import Redis


@pytest.fixture
def on_redis(valkey: Redis) -> Iterator[ActionsStage]:
    stage = ActionsStage(valkey.url, valkey.url_at(valkey.port, 1))
    yield stage
    stage.stop()


@pytest.fixture
def on_rabbitmq(vhost: Vhost, valkey: Redis) -> Iterator[ActionsStage]:
    stage = ActionsStage(vhost.url, valkey.url)
    yield stage
    stage.stop()


@pytest.mark.parametrize("where", ["on_redis", "on_rabbitmq"])
def test_a_failed_task_runs_again_with_the_backends_arguments(
    where: str, request: pytest.FixtureRequest
) -> None:
    stage: ActionsStage = request.getfixturevalue(where)
    (stage.directory / "down").touch()
    stage.worker()
    old = stage.send("record.fail", "C:\\new\\table", 7, kwargs={"é": None})
    stage.wait_for(old, "FAILURE")
    (stage.directory / "down").unlink()

    performer = stage.performer()
    payload = performer.find(old)
    assert payload.source == "backend"
    new = str(uuid4())
    receipt = performer.send(payload, new, retry_of=old, retry_count=1)
    assert receipt.queue == "celery"
    assert receipt.source == "backend"

    first, second = stage.written("call", old), stage.written("call", new)
    assert second["args"] == first["args"] == ("C:\\new\\table", 7)
    assert second["kwargs"] == first["kwargs"] == {"é": None}
    assert (second["retry_of"], second["retry_count"]) == (old, 1)
    stage.wait_for(new, "SUCCESS")
