"""Jobs: what is chosen, sealed and sent, what stops them, and how they go on."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.actions_api import Office, Remembered, Stub, office
from tests.support.process import wait_until
from z4j_exporter.actions.engine_parts import EngineLimits
from z4j_exporter.actions.engine_request import Filter, Request, Sending
from z4j_exporter.actions.model import Action, ActionError, Actor, State, Verb
from z4j_exporter.actions.records_states import ItemState

OPERATOR = Actor("operator", "operator", "token")


@pytest.fixture
def stub() -> Stub:
    made = Stub()
    for number in range(20):
        made.has(f"t{number}")
    return made


@pytest.fixture
def tasks() -> Remembered:
    made = Remembered()
    for number in range(20):
        made.put(
            f"t{number}",
            state="failed",
            name="math.add" if number % 2 else "web.visit",
            queue="celery",
            ended_at=float(number),
            exception="KeyError" if number < 4 else "ValueError",
        )
    return made


@pytest.fixture
def made(tmp_path: Path, stub: Stub, tasks: Remembered) -> Iterator[Office]:
    with office(tmp_path, performer=stub, tasks=tasks) as running:
        yield running
        assert running.audited().ok


def bulk(*task_ids: str, **more: Any) -> Request:
    return Request(Verb.BULK_RETRY, more.pop("actor", OPERATOR), task_ids=task_ids, **more)


def ended(made: Office, request: Request) -> Action:
    """Begin a job, and wait for its end."""
    begun = made.engine.submit(request).action
    assert begun.state in (State.RUNNING, State.DONE, State.PARTIAL, State.REFUSED)
    return finished(made, begun.id)


def finished(made: Office, action_id: str) -> Action:
    wait_until(lambda: made.journal.get(action_id).state is not State.RUNNING)
    action = made.journal.get(action_id)
    outcome = f'"action":"{action_id}"'
    wait_until(lambda: [x for x in made.lines() if outcome in x and '"stage":"outcome"' in x])
    return action


def states(made: Office, action: Action) -> list[ItemState]:
    return [item.state for item in made.journal.items.list(action.id)]


def chosen(made: Office, **wanted: Any) -> list[str]:
    request = Request(Verb.BULK_RETRY, OPERATOR, filter=Filter(**wanted), dry_run=True)
    return list(made.engine.submit(request).action.result["task_ids"])


def test_ids_are_sealed_and_sent_once(made: Office, stub: Stub) -> None:
    action = ended(made, bulk("t1", "t2", "t1"))
    assert action.state is State.DONE
    assert action.target.task_ids == ("t1", "t2")
    assert [old for old, _ in stub.sent] == ["t1", "t2"]
    assert [new for _, new in stub.sent] == list(action.new_task_ids)
    told = action.options["told"]
    assert (told["total"], told["truncated"], len(told["list_sha256"])) == (2, False, 64)
    outcomes = [json.loads(line)["outcome"] for line in made.lines()]
    assert outcomes == ["", "done"]
    # The job's thread counts after it has written the end down.
    wanted = {("bulk-retry", "accepted"): 1, ("bulk-retry", "done"): 1}
    wait_until(lambda: made.engine.actions_total == wanted)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"task": "web.*"}, range(0, 20, 2)),
        ({"task": "math.add", "since": 4.0, "until": 8.0}, [5, 7]),
        ({"exception": "KeyError"}, range(4)),
        ({"queue": "celery", "until": 2.0}, [0, 1]),
    ],
)
def test_a_filter_chooses(made: Office, wanted: Any, numbers: Any) -> None:
    assert chosen(made, **wanted) == [f"t{number}" for number in numbers]


@pytest.mark.parametrize("wanted", [{"state": "succeeded"}, {"task": "x"}, {"queue": "vip"}])
def test_a_filter_that_nothing_fits(made: Office, wanted: Any) -> None:
    with pytest.raises(ActionError, match="No task that is remembered fits"):
        chosen(made, **wanted)


def test_an_exception_that_nobody_remembers(made: Office, tasks: Remembered) -> None:
    tasks.tasks.clear()
    tasks.put("t1", state="failed", name="math.add", queue="celery")
    with pytest.raises(ActionError) as caught:
        chosen(made, exception="KeyError")
    assert caught.value.kind == "exception-not-remembered"


def test_a_limit_is_said(made: Office) -> None:
    request = Request(Verb.BULK_RETRY, OPERATOR, filter=Filter(), dry_run=True, limit=3)
    result = made.engine.submit(request).action.result
    assert result["task_ids"] == ["t0", "t1", "t2"]
    assert (result["total"], result["truncated"]) == (3, True)
    assert result["by_task"] == {"web.visit": 2, "math.add": 1}
    assert [one["source"] for one in result["checked"]] == ["capture"] * 3


def test_a_scope_sees_its_own_tasks_alone(made: Office) -> None:
    scoped = Actor("s", "operator", "token", tasks=("web.*",))
    request = Request(Verb.BULK_RETRY, scoped, filter=Filter(), dry_run=True)
    assert made.engine.submit(request).action.result["total"] == 10


def test_each_task_is_permitted_by_itself(made: Office, stub: Stub) -> None:
    made.tokens.add("s", role="operator", tasks=["web.*"])
    scoped = Actor("s", "operator", "token", tasks=("web.*",))
    for number in range(20):
        stub.has(f"t{number}", name="math.add" if number % 2 else "web.visit")
    action = ended(made, bulk("t0", "t1", "t2", actor=scoped))
    assert action.state is State.PARTIAL
    assert states(made, action) == [ItemState.SENT, ItemState.REFUSED, ItemState.SENT]
    assert made.journal.items.list(action.id)[1].detail["kind"] == "out-of-scope"


def test_a_state_that_changed_meanwhile_is_looked_at_again(
    made: Office, stub: Stub, tasks: Remembered
) -> None:
    stub.held_up.clear()
    begun = made.engine.submit(Request(Verb.BULK_RETRY, OPERATOR, filter=Filter(until=3.0))).action
    wait_until(lambda: stub.calls)  # the first one's payload is looked for
    tasks.put("t1", state="succeeded", name="math.add", queue="celery")
    stub.held_up.set()
    action = finished(made, begun.id)
    assert states(made, action) == [ItemState.SENT, ItemState.REFUSED, ItemState.SENT]


def test_partial_failure_is_told_apart(made: Office, stub: Stub) -> None:
    del stub.payloads["t1"]
    action = ended(made, bulk("t0", "t1"))
    assert action.state is State.PARTIAL
    assert action.result["counts"] == {"sent": 1, "refused": 1}
    assert ended(made, bulk("t1")).state is State.REFUSED
    stub.fails["send"] = ActionError("broker-timeout", 504, "no answer", unknown=True)
    action = ended(made, bulk("t2"))
    assert action.state is State.UNKNOWN
    assert action.result["counts"] == {"unknown": 1}


def test_a_job_can_be_cancelled(made: Office, stub: Stub) -> None:
    stub.held_up.clear()
    begun = made.engine.submit(bulk("t0", "t1", "t2")).action
    wait_until(lambda: stub.calls)
    made.engine.cancel_job(OPERATOR, begun.id)
    stub.held_up.set()
    action = finished(made, begun.id)
    assert action.state is State.PARTIAL
    assert states(made, action) == [ItemState.SENT, ItemState.REFUSED, ItemState.REFUSED]
    assert "cancelled by operator" in made.journal.items.list(action.id)[2].detail["reason"]
    with pytest.raises(ActionError, match="no job that is at work"):
        made.engine.cancel_job(OPERATOR, begun.id)


def test_a_job_ends_with_the_token_that_began_it(made: Office, stub: Stub) -> None:
    stub.held_up.clear()
    begun = made.engine.submit(bulk("t0", "t1")).action
    wait_until(lambda: stub.calls)
    made.tokens.remove("operator")
    stub.held_up.set()
    action = finished(made, begun.id)
    assert states(made, action) == [ItemState.SENT, ItemState.REFUSED]


def test_a_job_stops_while_the_broker_is_away_and_goes_on(made: Office, stub: Stub) -> None:
    stub.fails["send"] = ActionError("broker-unreachable", 503, "no broker")
    ids = [f"t{number}" for number in range(8)]
    action = ended(made, bulk(*ids))
    assert action.state is State.UNKNOWN
    assert states(made, action) == [ItemState.FAILED] * 5 + [ItemState.WAITING] * 3
    del stub.fails["send"]
    made.engine.resume_job(OPERATOR, action.id)
    action = finished(made, action.id)
    wait_until(lambda: made.journal.get(action.id).state is State.PARTIAL)
    assert [old for old, _ in stub.sent] == ids[5:]
    with pytest.raises(ActionError) as caught:
        made.engine.resume_job(OPERATOR, action.id)
    assert caught.value.kind == "not-resumable"


def test_a_stop_leaves_the_rest_for_later(tmp_path: Path, stub: Stub, tasks: Remembered) -> None:
    stub.held_up.clear()
    with office(tmp_path, performer=stub, tasks=tasks) as made:
        action = made.engine.submit(bulk("t0", "t1", "t2")).action
        waiting = made.engine.submit(bulk("t3")).action
        wait_until(lambda: stub.calls)
        stopping = threading.Thread(target=made.engine.stop, args=(10,))
        stopping.start()
        wait_until(lambda: made.engine.jobs._stopping.is_set())
        stub.held_up.set()
        stopping.join()
        assert made.journal.get(action.id).state is State.UNKNOWN
        assert made.journal.get(waiting.id).state is State.UNKNOWN
        with pytest.raises(ActionError):
            made.engine.submit(bulk("t4"))
    with office(tmp_path, performer=stub, tasks=tasks) as made:
        assert [old for old, _ in stub.sent] == ["t0"]
        made.engine.resume_job(OPERATOR, action.id)
        wait_until(lambda: made.journal.get(action.id).state is State.DONE)
        assert [old for old, _ in stub.sent] == ["t0", "t1", "t2"]


def test_viewers_neither_stop_nor_resume(made: Office) -> None:
    viewer = Actor("viewer", "viewer", "token")
    action = ended(made, bulk("t0"))
    for act in (made.engine.cancel_job, made.engine.resume_job):
        with pytest.raises(ActionError) as caught:
            act(viewer, action.id)
        assert caught.value.status == 403


def test_too_many_jobs_wait(made: Office, stub: Stub) -> None:
    stub.held_up.clear()
    begun = [made.engine.submit(bulk(f"t{number}")).action for number in range(16)]
    with pytest.raises(ActionError) as caught:
        made.engine.submit(bulk("t17"))
    assert (caught.value.kind, caught.value.status) == ("jobs-waiting", 503)
    stub.held_up.set()
    for action in begun:
        assert finished(made, action.id).state is State.DONE


def test_a_job_keeps_its_rate(tmp_path: Path, stub: Stub) -> None:
    with office(tmp_path, performer=stub, limits=EngineLimits(bulk_rate=20.0)) as made:
        action = ended(made, bulk(*[f"t{number}" for number in range(5)]))
        seconds = (action.finished_at or 0) - action.requested_at
        assert 0.19 < seconds < 2.0


def test_what_was_sent_again_takes_nobodys_place(made: Office, stub: Stub) -> None:
    wanted = Filter(task="web.*")
    first = ended(made, bulk(filter=wanted, limit=4))
    assert first.target.task_ids == ("t0", "t2", "t4", "t6")
    second = ended(made, bulk(filter=wanted, limit=4))
    assert second.target.task_ids == ("t8", "t10", "t12", "t14")
    assert second.options["told"]["left_out"] == {"already-retried": 4}
    assert second.options["told"]["truncated"]
    ended(made, bulk(filter=wanted, limit=4))
    with pytest.raises(ActionError, match="was sent again before") as caught:
        chosen(made, task="web.*")
    assert caught.value.kind == "nothing-matches"
    again = bulk(filter=wanted, limit=1, sending=Sending(again=True))
    assert ended(made, again).target.task_ids == ("t0",)


def test_the_last_of_a_chain_takes_nobodys_place(
    made: Office, stub: Stub, tasks: Remembered
) -> None:
    tasks.tasks.clear()
    last = "t0"
    for _ in range(3):
        last = ended(made, bulk(last)).new_task_ids[0]
    tasks.put(last, state="failed", name="math.add", queue="celery")
    tasks.put("t19", state="failed", name="math.add", queue="celery")
    action = ended(made, bulk(filter=Filter(), limit=1))
    assert action.target.task_ids == ("t19",)
    assert action.options["told"]["left_out"] == {"retry-chain-cap": 1}
