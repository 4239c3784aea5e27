"""The path of an action: what is refused before anything is sent, and what is said afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.actions_api import Office, Remembered, Stub, office
from z4j_exporter.actions.engine_parts import EngineLimits, Refusal
from z4j_exporter.actions.engine_request import Given, Request, Sending
from z4j_exporter.actions.locate import Held
from z4j_exporter.actions.model import ActionError, Actor, State, Verb
from z4j_exporter.actions.perform_receipts import TaskKnown
from z4j_exporter.actions.records_states import ItemState

OPERATOR = Actor("operator", "operator", "token")
ADMIN = Actor("admin", "admin", "token")


@pytest.fixture
def stub() -> Stub:
    made = Stub()
    made.has("t1")
    return made


@pytest.fixture
def tasks() -> Remembered:
    made = Remembered()
    made.put("t1", state="failed", name="math.add", queue="celery")
    return made


@pytest.fixture
def made(tmp_path: Path, stub: Stub, tasks: Remembered) -> Iterator[Office]:
    with office(tmp_path, performer=stub, tasks=tasks) as running:
        yield running
        assert running.audited().ok


def retry(task_id: str = "t1", actor: Actor = OPERATOR, **more: Any) -> Request:
    return Request(Verb.RETRY, actor, task_id=task_id, **more)


def refusal(made: Office, request: Request) -> Refusal:
    """The error of a request, as the API would show it."""
    with pytest.raises(ActionError) as caught:
        made.engine.submit(request)
    return Refusal.of(caught.value)


def stages(made: Office) -> list[tuple[str, str]]:
    return [(line["stage"], line["outcome"]) for line in map(json.loads, made.lines())]


def test_a_retry_is_written_down_before_and_after(made: Office, stub: Stub) -> None:
    outcome = made.engine.submit(retry())
    assert stub.sent == [("t1", outcome.action.new_task_ids[0])]
    assert outcome.action.state is State.DONE
    assert outcome.action.result["source"] == "capture"
    assert stages(made) == [("requested", ""), ("outcome", "done")]
    assert made.journal.get(outcome.action.id).result == outcome.action.result
    assert made.engine.actions_total == {("retry", "done"): 1}


def test_a_dry_run_sends_nothing_and_leaves_the_key_free(made: Office, stub: Stub) -> None:
    outcome = made.engine.submit(retry(dry_run=True, idempotency_key="k"))
    assert outcome.action.result["queue_messages"] == 3
    assert outcome.action.new_task_ids == ()
    assert stub.sent == []
    assert not made.engine.submit(retry(idempotency_key="k")).replayed
    assert len(stub.sent) == 1
    assert made.engine.actions_total["retry", "dry-run"] == 1


@pytest.mark.parametrize(
    ("state", "from_state", "kind"),
    [
        ("running", (), "task-active"),
        ("waiting", (), "task-active"),
        ("reserved", ("failed",), "state-differs"),
        ("succeeded", ("failed", "lost"), "state-differs"),
        ("running", ("running",), None),
        ("succeeded", (), None),
        ("lost", (), None),
    ],
)
def test_the_state_that_a_retry_needs(
    made: Office, stub: Stub, tasks: Remembered, state: Any, from_state: Any, kind: str | None
) -> None:
    tasks.put("t1", state=state, name="math.add", queue="celery")
    if kind is None:
        made.engine.submit(retry(from_state=from_state))
        assert len(stub.sent) == 1
        return
    error = refusal(made, retry(from_state=from_state))
    assert (error.kind, error.status, error.extra) == (kind, 409, {"state": state})
    assert stub.calls == []
    action = made.journal.get(error.action_id)
    assert action.state is State.REFUSED
    assert [item.state for item in made.journal.items.list(action.id)] == [ItemState.REFUSED]
    assert stages(made) == [("denied", kind)]


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (TaskKnown("SUCCESS", {}, (), 1), "succeeded"),
        (TaskKnown(None, {}, (Held("w", "active", {}),), 1), "running"),
        (TaskKnown("FAILURE", {}, (Held("w", "reserved", {}),), 1), "reserved"),
        (TaskKnown(None, {}, (), None), "unknown"),
    ],
)
def test_a_state_that_no_event_told_is_asked_for(
    made: Office, stub: Stub, known: TaskKnown, state: Any
) -> None:
    stub.known["strange"] = known
    stub.has("strange")
    error = refusal(made, retry("strange", from_state=("revoked",)))
    assert error.extra == {"state": state}
    made.engine.submit(retry("strange", from_state=(state,)))
    assert len(stub.sent) == 1


def test_a_chain_of_retries_ends(made: Office, stub: Stub) -> None:
    task_id = "t1"
    for _ in range(3):
        stub.has(task_id)
        task_id = made.engine.submit(retry(task_id)).action.new_task_ids[0]
    stub.has(task_id)
    assert refusal(made, retry(task_id)).kind == "retry-chain-cap"
    # Others may have sent it before us: the message's own count holds too.
    stub.has("t9", headers={"z4j-retry-count": 3})
    assert refusal(made, retry("t9")).kind == "retry-chain-cap"
    assert len(stub.sent) == 3


def test_a_failure_that_may_have_happened_is_unknown(made: Office, stub: Stub) -> None:
    stub.fails["send"] = ActionError("broker-timeout", 504, "no answer", unknown=True)
    error = refusal(made, retry(idempotency_key="k"))
    assert (error.kind, error.unknown) == ("broker-timeout", True)
    action = made.journal.get(error.action_id)
    assert action.state is State.UNKNOWN
    assert stages(made)[-1] == ("outcome", "unknown: broker-timeout")
    del stub.fails["send"]
    # The same answer to the same key, and no second try under another.
    assert refusal(made, retry(idempotency_key="k")).kind == "broker-timeout"
    assert refusal(made, retry()).kind == "already-retried"
    assert stub.sent == []
    made.engine.submit(retry(sending=Sending(again=True)))
    assert len(stub.sent) == 1


def test_a_failure_that_did_nothing_may_be_tried_again(made: Office, stub: Stub) -> None:
    stub.fails["send"] = ActionError("broker-unreachable", 503, "no broker")
    error = refusal(made, retry())
    assert made.journal.get(error.action_id).state is State.FAILED
    del stub.fails["send"]
    assert made.engine.submit(retry()).action.state is State.DONE


@pytest.mark.parametrize("where", ["find", "send"])
@pytest.mark.parametrize("kind", ["broker-unreachable", "tracker-busy"])
def test_a_key_is_free_again_after_what_may_pass(
    made: Office, stub: Stub, where: str, kind: str
) -> None:
    stub.fails[where] = ActionError(kind, 503, "not now")
    first = refusal(made, retry(idempotency_key="k"))
    assert first.kind == kind
    del stub.fails[where]
    done = made.engine.submit(retry(idempotency_key="k"))
    assert not done.replayed
    assert made.engine.submit(retry(idempotency_key="k")).replayed
    assert len(stub.sent) == 1
    # What the first try came to is still told.
    problem = made.journal.get(first.action_id).result["problem"]
    assert problem["kind"] == kind


def test_a_key_keeps_an_answer_that_will_not_change(made: Office, stub: Stub) -> None:
    del stub.payloads["t1"]
    first = refusal(made, retry(idempotency_key="k"))
    stub.has("t1")
    assert refusal(made, retry(idempotency_key="k")).action_id == first.action_id
    assert stub.sent == []


def test_what_nobody_foresaw_is_unknown_once_it_began(made: Office, stub: Stub) -> None:
    stub.fails["send"] = RuntimeError("a bug")
    error = refusal(made, retry())
    assert (error.status, error.unknown) == (500, True)
    assert made.journal.get(error.action_id).state is State.UNKNOWN
    stub.fails = {"find": RuntimeError("a bug")}
    error = refusal(made, retry(sending=Sending(again=True)))
    assert (error.status, error.unknown) == (500, False)
    assert made.journal.get(error.action_id).state is State.REFUSED


def test_without_the_audit_log_nothing_is_done(
    made: Office, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(data: bytes, **_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(made.log._file, "append", full)
        error = refusal(made, retry(idempotency_key="k"))
        assert (error.kind, error.status) == ("audit-unavailable", 503)
        assert made.journal.get(error.action_id).state is State.REFUSED
        # Nor is anybody told that it is forbidden.
        assert refusal(made, retry(actor=Actor("v", "viewer", "token"))).status == 503
    assert stub.sent == []
    assert made.engine.submit(retry(idempotency_key="k")).action.state is State.DONE


def test_an_outcome_that_cannot_be_audited_is_said(
    made: Office, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = made.log._file.append, []

    def full_later(data: bytes, **more: Any) -> None:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        real(data, **more)

    with monkeypatch.context() as patched:
        patched.setattr(made.log._file, "append", full_later)
        outcome = made.engine.submit(retry())
    assert outcome.action.state is State.DONE
    assert "audit log" in outcome.notes[0]


def test_the_name_that_is_sent_counts_for_the_scope(made: Office, stub: Stub) -> None:
    scoped = Actor("s", "operator", "token", tasks=("math.*",), queues=("celery",))
    stub.has("hidden", name="admin.wipe")
    stub.has("elsewhere", queue="vip")
    for task_id in ("hidden", "elsewhere"):
        assert refusal(made, retry(task_id, scoped)).kind == "out-of-scope"
    assert refusal(made, retry(actor=scoped, sending=Sending(queue="vip"))).kind == "out-of-scope"
    assert stub.sent == []
    made.engine.submit(retry(actor=scoped))
    assert len(stub.sent) == 1


def test_the_callers_arguments_are_in_no_file(made: Office, tmp_path: Path) -> None:
    given = Given("math.add", ("hunter2",), {"password": "hunter3"})
    made.engine.submit(retry("strange", given=given))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"hunter" not in path.read_bytes()
    assert json.loads(made.lines()[0])["args"]


def test_cancel_refuses_what_has_ended(made: Office, stub: Stub, tasks: Remembered) -> None:
    error = refusal(made, Request(Verb.CANCEL, OPERATOR, task_id="t1"))
    assert (error.kind, error.extra) == ("task-finished", {"state": "failed"})
    assert stub.calls == []
    tasks.put("t1", state="running", name="math.add", queue="celery")
    done = made.engine.submit(Request(Verb.CANCEL, OPERATOR, task_id="t1"))
    assert done.action.result["workers"] == ["w1@test"]
    done = made.engine.submit(Request(Verb.TERMINATE, OPERATOR, task_id="t1"))
    assert done.action.result["signal"] == "SIGTERM"
    assert [name for name, _ in stub.calls] == ["revoke", "terminate"]


def test_a_dry_run_of_terminate_says_why_it_could_not_be(
    made: Office, stub: Stub, tasks: Remembered
) -> None:
    tasks.put("t1", state="running", name="math.add", queue="celery")
    look = Request(Verb.TERMINATE, OPERATOR, task_id="t1", dry_run=True)
    assert made.engine.submit(look).action.result["pool"] == "prefork"
    stub.known["t1"] = TaskKnown(None, {}, (Held("w", "active", {}, "threads"),), 1)
    assert refusal(made, look).kind == "pool-cannot-terminate"
    stub.known["t1"] = TaskKnown(None, {}, (), 0)
    assert refusal(made, look).status == 504
    assert {name for name, _ in stub.calls} == {"state"}


def test_a_purge_takes_two_steps(made: Office, stub: Stub) -> None:
    def purge(**more: Any) -> Request:
        return Request(Verb.PURGE, ADMIN, **{"queue": "celery", **more})

    assert refusal(made, purge()).kind == "confirmation-needed"
    looked = made.engine.submit(purge(dry_run=True))
    token = looked.action.result["confirm"]
    # Whoever reads the journal must not be able to confirm.
    assert "confirm" not in made.journal.get(looked.action.id).result
    assert refusal(made, purge(queue="other", confirm=token)).kind == "confirmation-needed"
    assert made.engine.submit(purge(confirm=token)).action.result["messages"] == 3
    assert refusal(made, purge(confirm=token)).kind == "confirmation-needed"
    assert [name for name, _ in stub.calls].count("purge") == 1


def test_what_was_left_unfinished_is_told_at_the_start(tmp_path: Path, stub: Stub) -> None:
    with office(tmp_path, performer=stub) as made:
        action = made.engine.plan(retry()).action
        made.journal.begin(action)
    with office(tmp_path, performer=stub) as made:
        assert stages(made)[-1] == ("outcome", "unknown: interrupted")
        assert made.engine.actions_total == {("retry", "unknown"): 1}
    assert stub.sent == []


def test_limits_are_the_settings(tmp_path: Path, stub: Stub) -> None:
    limits = EngineLimits(retries_chain=1)
    with office(tmp_path, performer=stub, limits=limits) as made:
        new_id = made.engine.submit(retry()).action.new_task_ids[0]
        stub.has(new_id)
        assert refusal(made, retry(new_id)).kind == "retry-chain-cap"


def test_a_retry_of_ours_has_the_payload_of_the_task_that_it_repeats(
    made: Office, stub: Stub, tasks: Remembered
) -> None:
    stub.has("t1", priority=3, headers={"stamps": {"a": 1}})
    sending = Sending(queue="vip", time_limit=9.0)
    first = made.engine.submit(retry(sending=sending)).action.new_task_ids[0]
    tasks.put(first, state="failed", name="math.add", queue="vip")
    second = made.engine.submit(retry(first)).action
    assert second.result["source"] == "capture (of the task it retries)"
    assert (second.result["retry_count"], second.result["queue"]) == (2, "vip")
    payload = stub.sent_with[1]
    assert (payload.args, payload.priority, payload.time_limit) == ((1, 2), 3, 9.0)
    assert payload.headers == {"stamps": {"a": 1}, "z4j-retry-count": 1}
    # And so on, without any event, until the chain ends.
    third = made.engine.submit(retry(second.new_task_ids[0])).action
    assert third.result["retry_count"] == 3
    assert [payload.of_task for payload in stub.sent_with] == [None, "t1", "t1"]
    assert refusal(made, retry(third.new_task_ids[0])).kind == "retry-chain-cap"
    assert len(stub.sent) == 3


def test_a_chain_ends_also_where_others_began_it(made: Office, stub: Stub) -> None:
    stub.has("t1", headers={"z4j-retry-count": 2})
    first = made.engine.submit(retry()).action.new_task_ids[0]
    assert refusal(made, retry(first)).kind == "retry-chain-cap"


def test_a_retry_has_no_payload_that_is_not_its_own(
    made: Office, stub: Stub, tasks: Remembered
) -> None:
    # Another name than was sent: some other task of the same id.
    renamed = made.engine.submit(retry()).action.new_task_ids[0]
    tasks.put(renamed, state="failed", name="math.mul", queue="celery")
    assert refusal(made, retry(renamed)).kind == "payload-unavailable"
    # What the caller gave the first time is not what the task before was sent with.
    given = made.engine.submit(retry("strange", given=Given("math.add", (7,), {}))).action
    del stub.payloads["strange"]
    stub.has("strange")
    assert refusal(made, retry(given.new_task_ids[0])).kind == "payload-unavailable"
    # Nor is it known of one that may not have been sent.
    stub.fails["send"] = ActionError("broker-timeout", 504, "no answer", unknown=True)
    stub.has("t2")
    unsure = made.journal.get(refusal(made, retry("t2")).action_id).new_task_ids[0]
    del stub.fails["send"]
    assert refusal(made, retry(unsure)).kind == "payload-unavailable"
    assert len(stub.sent) == 2
