"""Cancelling and terminating on real workers: what is refused is refused before it is sent."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.actions import ActionsStage
from tests.support.process import wait_until
from tests.support.rabbitmq import Vhost
from tests.support.redis_servers import Redis
from z4j_exporter.actions.model import ActionError


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


both = pytest.mark.parametrize("where", ["on_redis", "on_rabbitmq"])


@both
def test_terminating_sends_sigterm_to_the_child_that_runs_it(
    where: str, request: pytest.FixtureRequest
) -> None:
    stage: ActionsStage = request.getfixturevalue(where)
    worker = stage.worker(concurrency=2)
    task, other = stage.send("work.wait"), stage.send("work.wait", 8.0)
    child, neighbour = stage.written("running", task), stage.written("running", other)
    assert child not in (worker.pid, neighbour)

    receipt = stage.performer(expected=lambda: ["w0@test"]).terminate(task)
    assert (receipt.worker, receipt.pool, receipt.signal) == ("w0@test", "prefork", "SIGTERM")
    assert stage.written("sigterm", task) == child
    stage.wait_for(task, "REVOKED")
    assert stage.written("finished", other) == neighbour
    assert not stage.wrote("finished", task)


@both
def test_only_the_worker_that_runs_it_is_told(where: str, request: pytest.FixtureRequest) -> None:
    stage: ActionsStage = request.getfixturevalue(where)
    busy = stage.worker()
    task = stage.send("work.wait")
    stage.written("running", task)
    idle = stage.worker()
    assert stage.performer().terminate(task).worker == busy.nodename
    stage.written("sigterm", task)
    wait_until(lambda: "Terminating" in busy.output(), 10, "the worker's word")
    assert "Terminating" not in idle.output()
    assert "revoked" not in idle.output()


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_that_cannot_terminate_is_not_told_to(pool: str, on_redis: ActionsStage) -> None:
    worker = on_redis.worker(pool=pool)
    task = on_redis.send("work.sleep", 6.0)
    on_redis.written("running", task)
    with pytest.raises(ActionError) as refused:
        on_redis.performer().terminate(task, timeout_seconds=3.0)
    # A solo pool does not even answer while it works.
    kind = "pool-cannot-terminate" if pool == "threads" else "no-worker-answered"
    assert (refused.value.kind, refused.value.unknown) == (kind, False)
    on_redis.written("finished", task)
    on_redis.wait_for(task, "SUCCESS")
    assert "revoke" not in worker.output().lower()


def test_a_task_that_nobody_runs_is_not_terminated(on_redis: ActionsStage) -> None:
    on_redis.worker()
    with pytest.raises(ActionError) as refused:
        on_redis.performer(expected=lambda: ["w0@test"]).terminate("nobody-knows-it")
    assert (refused.value.kind, refused.value.status) == ("not-running", 409)


def test_a_task_that_waits_is_not_terminated(on_redis: ActionsStage) -> None:
    on_redis.worker()
    running = on_redis.send("work.sleep", 4.0)
    on_redis.written("running", running)
    waiting = on_redis.send("record", 1)
    performer = on_redis.performer()
    wait_until(lambda: performer.state(waiting, timeout_seconds=1.0).held, 10, "it is held")
    with pytest.raises(ActionError, match="reserved") as refused:
        performer.terminate(waiting)
    assert refused.value.kind == "not-running"
    assert on_redis.written("call", waiting)["args"] == (1,)


def test_without_workers_the_state_is_unknown(on_redis: ActionsStage) -> None:
    task = on_redis.send("record")
    performer = on_redis.performer()
    with pytest.raises(ActionError) as terminated:
        performer.terminate(task, timeout_seconds=1.0)
    assert (terminated.value.status, terminated.value.unknown) == (504, False)
    with pytest.raises(ActionError) as revoked:
        performer.revoke(task, timeout_seconds=1.0)
    assert (revoked.value.status, revoked.value.unknown) == (504, True)
    assert "unknown" in revoked.value.detail


@both
def test_a_cancelled_task_does_not_start_and_one_that_runs_finishes(
    where: str, request: pytest.FixtureRequest
) -> None:
    stage: ActionsStage = request.getfixturevalue(where)
    stage.worker()
    performer = stage.performer(expected=lambda: ["w0@test"])
    running, waiting = stage.send("work.sleep", 3.0), stage.send("record")
    stage.written("running", running)
    assert performer.revoke(waiting).workers == ("w0@test",)
    assert performer.revoke(running).workers == ("w0@test",)
    stage.written("finished", running)
    stage.wait_for(running, "SUCCESS")
    stage.wait_for(waiting, "REVOKED")
    assert not stage.wrote("call", waiting)


def test_a_finished_task_is_not_revoked(on_redis: ActionsStage) -> None:
    on_redis.worker()
    task = on_redis.send("record", "x")
    on_redis.wait_for(task, "SUCCESS")
    performer = on_redis.performer()
    for act in (performer.revoke, performer.terminate):
        with pytest.raises(ActionError) as refused:
            act(task)
        assert (refused.value.kind, refused.value.status) == ("task-finished", 409)
    assert performer.find(task).args == ("x",)


def test_a_broker_that_hangs_does_not_hold_an_action_up(
    valkey: Redis, on_redis: ActionsStage
) -> None:
    on_redis.worker()
    valkey.signal(signal.SIGSTOP)
    try:
        for act, seconds in ((on_redis.performer().revoke, 2.0), (on_redis.performer().find, 2.0)):
            began = time.monotonic()
            with pytest.raises(ActionError) as failed:
                act("some-id", timeout_seconds=seconds)
            assert failed.value.status in (503, 504)
            assert time.monotonic() - began < seconds + 1.0
    finally:
        valkey.signal(signal.SIGCONT)
