"""Answers of workers are read for what they are, and hostile ones do no harm."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter.fleet import answers
from z4j_exporter.fleet.answers import FACT_COMMANDS, HELD_COMMANDS, Round, pool_kind
from z4j_exporter.fleet.model import HeldTask, WorkerFacts

NOW = 1_790_000_000.0
W = "w1@host"
PREFORK: dict[str, Any] = {
    "implementation": "celery.concurrency.prefork:TaskPool",
    "max-concurrency": 3,
    "processes": [11, 12, 13],
    "writes": {"total": 0},
}


def told(**by_command: Any) -> Round:
    made = Round(NOW)
    for command, answer in by_command.items():
        made.take(command, {W: answer})
    return made


def stats(pool: Any, **more: Any) -> WorkerFacts:
    (facts,) = told(stats={"pool": pool, **more}).workers()
    return facts


def request(uuid: str = "u1", **more: Any) -> dict[str, Any]:
    return {
        "id": uuid,
        "name": "math.add",
        "args": [1, 2],
        "kwargs": {},
        "hostname": W,
        "time_start": None,
        "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0},
        **more,
    }


# -- pools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "kind", "size"),
    [
        (PREFORK, "prefork", 3),
        # autoscale and pool_grow change the processes, not the limit
        ({**PREFORK, "processes": [1, 2, 3, 4, 5]}, "prefork", 5),
        ({**PREFORK, "processes": []}, "prefork", 3),
        (
            {"implementation": "celery.concurrency.thread:TaskPool", "max-concurrency": 8,
             "threads": 1},
            "threads", 8,
        ),
        (
            {"implementation": "celery.concurrency.solo:TaskPool", "max-concurrency": 4,
             "processes": [1]},
            "solo", 1,
        ),
        ({"implementation": "celery.concurrency.gevent:TaskPool", "max-concurrency": 100},
         "gevent", 100),
        ({"implementation": "celery.concurrency.eventlet:TaskPool", "max-concurrency": 50,
          "free-threads": 50, "running-threads": 0}, "eventlet", 50),
        ({"implementation": "proj.pools:AioPool", "max-concurrency": 7}, "AioPool", 7),
        # Celery 4 does not name its pools
        ({"max-concurrency": 2, "processes": [1, 2], "writes": {}}, "prefork", 2),
        ({"max-concurrency": 2, "threads": 1}, "threads", 2),
        ({"max-concurrency": 1, "processes": [1], "put-guarded-by-semaphore": True}, "solo", 1),
        ({"max-concurrency": 5, "free-threads": 5, "running-threads": 0}, "eventlet", 5),
        ({"max-concurrency": 5}, None, 5),
    ],
)  # fmt: skip
def test_each_pool_has_its_kind_and_size(pool: dict[str, Any], kind: str | None, size: int) -> None:
    assert pool_kind(pool) == kind
    assert (stats(pool).pool, stats(pool).pool_size) == (kind, size)


@pytest.mark.parametrize("value", ["N/A", None, True, -1, 1.5, 10**30, [], "16"])
def test_a_count_that_is_none_is_not_known(value: object) -> None:
    facts = stats({**PREFORK, "processes": None, "max-concurrency": value}, prefetch_count=value)
    assert facts.pool_size is None
    assert facts.prefetch_count is None


def test_prefetch_count_0_is_no_limit_and_is_known() -> None:
    assert stats(PREFORK, prefetch_count=0).prefetch_count == 0


# -- queues and tasks ----------------------------------------------------------------------------


def test_queues_and_tasks_by_name() -> None:
    (facts,) = told(
        active_queues=[{"name": "celery"}, {"name": "web"}, {"name": "celery"}, {"name": ""}, 5],
        registered=["math.add", "web.visit [rate_limit=10/m]", "", 7, None],
    ).workers()
    assert facts.queues == ("celery", "web")
    assert facts.registered == {"math.add", "web.visit"}


def test_what_was_not_answered_is_none() -> None:
    (facts,) = told(active_queues=[]).workers()
    assert facts == WorkerFacts(W, queues=())


# -- held tasks ----------------------------------------------------------------------------------


def test_a_task_in_each_state() -> None:
    made = told(
        scheduled=[{"eta": "2026-09-21T12:00:00+00:00", "priority": 6, "request": request("u1")}],
        reserved=[request("u2")],
        active=[request("u3", time_start=NOW - 5)],
    )
    assert made.tasks() == (
        HeldTask("u1", "math.add", W, "reserved", "celery", eta=1789992000.0),
        HeldTask("u2", "math.add", W, "reserved", "celery"),
        HeldTask("u3", "math.add", W, "running", "celery", started=NOW - 5),
    )


def test_a_task_that_moved_on_between_two_answers_is_in_its_later_state() -> None:
    made = told(scheduled=[], reserved=[request()], active=[request(time_start=NOW)])
    assert [task.state for task in made.tasks()] == ["running"]


def test_a_worker_that_did_not_tell_all_its_tasks_tells_none() -> None:
    made = told(reserved=[], active=[request()])
    assert made.held_by(W) is None
    assert made.tasks() == ()


@pytest.mark.parametrize("start", [1234.5, 0, None, True, "x", 1e300, NOW + 10**6])
def test_a_start_that_is_no_epoch_time_is_not_known(start: object) -> None:
    (task,) = told(scheduled=[], reserved=[], active=[request(time_start=start)]).tasks()
    assert task.started is None


@pytest.mark.parametrize(
    ("delivery", "queue"),
    [
        ({"exchange": "", "routing_key": "slow"}, "slow"),
        ({"exchange": "events", "routing_key": "user.created"}, None),
        ({"exchange": "celery", "routing_key": "celery"}, None),
        ({"exchange": None, "routing_key": "slow"}, None),
        ({"exchange": ""}, None),
        ({"exchange": "", "routing_key": 5}, None),
        (None, None),
        ("x", None),
    ],
)
def test_the_queue_is_told_where_it_is_sure(delivery: object, queue: str | None) -> None:
    (task,) = told(scheduled=[], reserved=[request(delivery_info=delivery)], active=[]).tasks()
    assert task.queue == queue


# -- hostile -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [None, 5, [], {}, {W: [], "w2@host": []}, {"": []}, {5: []}, {"x" * 501: []}, {W: None}]
)
def test_replies_that_are_none_are_counted(body: object) -> None:
    made = Round(NOW)
    assert made.take("active", body) is None
    assert made.refused == {"malformed": 1}
    assert made.answered == frozenset()


@pytest.mark.parametrize("command", [*HELD_COMMANDS, *FACT_COMMANDS])
def test_an_error_is_no_answer(command: str) -> None:
    made = told(**{command: {"error": "TypeError('active() got an unexpected keyword')"}})
    assert made.workers() == ()
    assert made.refused == {"malformed": 1}


def test_two_workers_with_one_name_count_once() -> None:
    made = told(active_queues=[{"name": "a"}])
    assert made.take("active_queues", {W: [{"name": "b"}]}) is None
    (facts,) = made.workers()
    assert facts.queues == ("a",)
    assert made.refused == {"repeated": 1}


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_WORKERS", 2)
    monkeypatch.setattr(answers, "MAX_QUEUES", 3)
    monkeypatch.setattr(answers, "MAX_REGISTERED", 4)
    monkeypatch.setattr(answers, "MAX_HELD", 5)
    made = Round(NOW)
    many = [str(n) for n in range(100)]
    for worker in ("a@h", "b@h", "c@h"):
        made.take("active_queues", {worker: [{"name": name} for name in many]})
        made.take("registered", {worker: many})
        for command in HELD_COMMANDS:
            made.take(command, {worker: [request(name) for name in many]})
    assert [facts.name for facts in made.workers()] == ["a@h", "b@h"]
    assert [len(facts.queues or ()) for facts in made.workers()] == [3, 3]
    assert [len(facts.registered or ()) for facts in made.workers()] == [4, 4]
    assert len(made.tasks()) <= 5
    assert made.refused == {"too_many": 5}


def test_one_set_of_task_names_is_kept_for_all_who_know_the_same() -> None:
    made = Round(NOW)
    for worker in ("a@h", "b@h"):
        made.take("registered", {worker: ["math.add", "web.visit"]})
    first, second = made.workers()
    assert first.registered is second.registered


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([W, NOW, "celery.concurrency.x:Y"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(
            ["pool", "implementation", "max-concurrency", "processes", "prefetch_count", "name",
             "id", "request", "eta", "delivery_info", "routing_key", "exchange", "time_start", W]
        ),
        inner, max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*HELD_COMMANDS, *FACT_COMMANDS]), JSON), max_size=8))
def test_no_answer_breaks_anything(replies: list[tuple[str, Any]]) -> None:
    made = Round(NOW)
    for command, answer in replies:
        made.take(command, {W: answer})
        made.take(command, answer)
    for facts in made.workers():
        assert facts.pool_size is None or 0 <= facts.pool_size <= 1_000_000
        assert facts.prefetch_count is None or facts.prefetch_count >= 0
        assert all(isinstance(name, str) and name for name in facts.queues or ())
        assert all(isinstance(name, str) and name for name in facts.registered or ())
    for task in made.tasks():
        assert task.uuid
        assert task.name
