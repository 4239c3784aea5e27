"""The journal of actions: keys, items, alerts, links, pruning, and what it refuses to open."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from z4j_exporter.actions.model import Action, ActionError, Actor, State, Target, Verb
from z4j_exporter.actions.records import ActionJournal, JournalUnavailable, TransitionError
from z4j_exporter.actions.records_alerts import AlertKey, Breaker, Guards
from z4j_exporter.actions.records_items import Retried, Settled
from z4j_exporter.actions.records_states import ItemState
from z4j_exporter.errors import ConfigError, FileError

BOT = Actor("bot", "operator", "token", tasks=("app.*",), queues=("celery",))
OTHER = Actor("other", "operator", "token")
HOUR, DAY = 3600.0, 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "actions.db"


@pytest.fixture
def reopen(path: Path, clock: Clock) -> Iterator[Callable[[], ActionJournal]]:
    journals: list[ActionJournal] = []

    def open_again() -> ActionJournal:
        for journal in journals:
            journal.close()
        journals.append(ActionJournal(path, clock=clock))
        return journals[-1]

    yield open_again
    for journal in journals:
        journal.close()


@pytest.fixture
def journal(reopen: Callable[[], ActionJournal]) -> ActionJournal:
    return reopen()


def retry(name: str = "a", task_id: str = "t1", **more: Any) -> Action:
    return Action(
        id=name,
        verb=Verb.RETRY,
        target=Target(task_id=task_id, task_name="app.add"),
        actor=BOT,
        requested_at=1_700_000_000.0,
        new_task_ids=(f"{task_id}-by-{name}",),
        **more,
    )


def bulk(name: str = "b", size: int = 5, **more: Any) -> Action:
    ids = tuple(f"old-{name}-{number}" for number in range(size))
    return Action(
        id=name,
        verb=Verb.BULK_RETRY,
        target=Target(task_ids=ids),
        actor=BOT,
        requested_at=1_700_000_000.0,
        new_task_ids=tuple(task_id.replace("old", "new") for task_id in ids),
        **more,
    )


def sent(position: int) -> Settled:
    return Settled(position, ItemState.SENT, {"source": "capture"})


def test_an_action_comes_back_as_it_was_written(journal: ActionJournal) -> None:
    action = retry(
        options={"from_state": "FAILURE", "text": "\ud800\x00\n'"},
        idempotency_key="k",
        request_hash="h",
    )
    begun = journal.begin(action)
    assert (begun.action, begun.fresh) == (action, True)
    assert journal.get("a") == action
    assert journal.get("a").actor.tasks == ("app.*",)


def test_a_retry_from_asking_to_its_end(
    journal: ActionJournal, clock: Clock, reopen: Callable[[], ActionJournal]
) -> None:
    journal.begin(retry())
    (item,) = journal.start("a", take=1)
    assert (item.task_id, item.new_id, item.state) == ("t1", "t1-by-a", ItemState.SENDING)
    assert journal.items.retried_as("t1") == []  # nothing is claimed before it happened
    clock.now += 2
    done = journal.finish("a", State.DONE, {"fidelity": "capture"}, settled=[sent(0)])
    assert (done.state, done.finished_at, done.result) == (
        State.DONE,
        clock.now,
        {"fidelity": "capture"},
    )
    again = reopen()
    assert again.get("a") == done
    assert again.interrupted == ()


def test_what_is_unknown_is_not_found(journal: ActionJournal) -> None:
    with pytest.raises(ActionError) as error:
        journal.get("nope")
    assert (error.value.status, error.value.kind) == (404, "action-not-found")


def test_a_final_state_stays(journal: ActionJournal) -> None:
    journal.begin(retry())
    journal.finish("a", State.REFUSED, {"kind": "task-succeeded"})
    for state in State:
        with pytest.raises(TransitionError):
            journal.finish("a", state, {})
    with pytest.raises(TransitionError):
        journal.start("a")
    assert journal.get("a").result == {"kind": "task-succeeded"}
    (item,) = journal.items.list("a")
    assert item.state is ItemState.REFUSED


def test_a_call_that_fails_writes_nothing(journal: ActionJournal) -> None:
    journal.begin(bulk(size=3))
    journal.start("b", take=2)
    with pytest.raises(TransitionError, match="item 2"):
        journal.items.settle("b", [sent(0), sent(1), sent(2)])
    assert journal.items.progress("b") == {ItemState.SENDING: 2, ItemState.WAITING: 1}


# idempotency keys


def keyed(name: str, *, request: str = "h1", actor: Actor = BOT) -> Action:
    return replace(retry(name), idempotency_key="key-1", request_hash=request, actor=actor)


def test_a_key_is_done_once_and_answered_again(journal: ActionJournal) -> None:
    journal.begin(keyed("a"))
    done = journal.finish("a", State.FAILED, {"kind": "broker-down"})
    again = journal.begin(keyed("a2"))
    assert (again.action, again.fresh) == (done, False)
    assert [action.id for action in journal.list()] == ["a"]


def test_a_key_in_flight_is_a_conflict(journal: ActionJournal) -> None:
    journal.begin(keyed("a"))
    for _ in range(2):
        with pytest.raises(ActionError) as error:
            journal.begin(keyed("a2"))
        assert (error.value.status, error.value.kind) == (409, "idempotency-key-in-flight")
        assert "/v1/actions/a" in error.value.hint
        if journal.get("a").state is State.PENDING:
            journal.start("a", take=1)


@pytest.mark.parametrize("finished", [True, False])
def test_a_key_with_another_request_is_refused(journal: ActionJournal, finished: bool) -> None:
    journal.begin(keyed("a"))
    if finished:
        journal.finish("a", State.REFUSED, {})
    with pytest.raises(ActionError) as error:
        journal.begin(keyed("a2", request="h2"))
    assert (error.value.status, error.value.kind) == (422, "idempotency-key-reused")


def test_a_key_is_its_actors_own(journal: ActionJournal) -> None:
    journal.begin(keyed("a"))
    assert journal.begin(keyed("a2", actor=OTHER)).fresh
    certificate = replace(BOT, via="certificate")
    assert journal.begin(keyed("a3", actor=certificate)).fresh


def test_a_key_is_remembered_for_a_day_and_while_at_work(
    journal: ActionJournal, clock: Clock, reopen: Callable[[], ActionJournal]
) -> None:
    journal.begin(keyed("a"))
    clock.now += 10 * DAY
    journal.prune(0)
    with pytest.raises(ActionError, match="at work"):
        journal.begin(keyed("a2"))
    journal.finish("a", State.DONE, {}, settled=[])
    assert journal.begin(keyed("a2")).fresh  # a day after it was used it is free
    journal.finish("a2", State.REFUSED, {})
    clock.now += DAY - 1
    assert not reopen().begin(keyed("a3")).fresh


def test_a_key_whose_action_was_interrupted_is_not_done_again(
    journal: ActionJournal, reopen: Callable[[], ActionJournal]
) -> None:
    journal.begin(keyed("a"))
    again = reopen().begin(keyed("a2"))
    assert (again.action.state, again.fresh) == (State.UNKNOWN, False)


def test_what_was_refused_for_a_passing_cause_may_be_asked_again(journal: ActionJournal) -> None:
    journal.begin(keyed("a"))
    journal.finish("a", State.REFUSED, {"kind": "audit-unavailable"}, release=True)
    assert journal.begin(keyed("a2")).fresh
    journal.begin_for_alert(by_alert("a3"), KEY, Guards())
    journal.finish("a3", State.FAILED, {"kind": "broker-down"}, release=True)
    assert journal.begin_for_alert(by_alert("a4"), KEY, Guards()).decision == "claimed"


@pytest.mark.parametrize("becomes", [ItemState.SENT, ItemState.UNKNOWN])
def test_what_may_have_been_sent_is_not_released(
    journal: ActionJournal, becomes: ItemState
) -> None:
    journal.begin(keyed("a"))
    journal.start("a", take=1)
    journal.items.settle("a", [Settled(0, becomes, {})])
    for state in (State.FAILED, State.DONE, State.UNKNOWN):
        with pytest.raises(TransitionError):
            journal.finish("a", state, {}, release=True)
    assert journal.get("a").state is State.RUNNING


def test_of_many_threads_with_one_key_one_acts(journal: ActionJournal) -> None:
    outcomes: list[str] = []

    def ask(number: int) -> None:
        try:
            outcomes.append("fresh" if journal.begin(keyed(f"a{number}")).fresh else "old")
        except ActionError as error:
            outcomes.append(error.kind)

    in_threads(ask, 16)
    assert sorted(outcomes) == ["fresh"] + ["idempotency-key-in-flight"] * 15


def in_threads(function: Callable[[int], None], count: int) -> None:
    threads = [
        threading.Thread(target=function, args=(number,), name=f"asker-{number}", daemon=True)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


# items of jobs


def test_a_job_takes_sends_and_settles(journal: ActionJournal) -> None:
    journal.begin(bulk(size=5))
    journal.start("b")
    assert [item.position for item in journal.items.take("b", 2)] == [0, 1]
    assert [item.position for item in journal.items.take("b", 9)] == [2, 3, 4]
    assert journal.items.take("b", 9) == []
    journal.items.settle("b", [sent(0), sent(4), Settled(1, ItemState.REFUSED, {"kind": "gone"})])
    assert journal.items.progress("b") == {
        ItemState.SENT: 2,
        ItemState.REFUSED: 1,
        ItemState.SENDING: 2,
    }
    assert [item.position for item in journal.items.list("b", state=ItemState.SENT)] == [0, 4]
    assert [item.position for item in journal.items.list("b", after=1, limit=2)] == [2, 3]
    done = journal.finish_job("b", {"truncated": False})
    assert done.state is State.PARTIAL
    assert done.result == {"truncated": False, "counts": {"sent": 2, "refused": 1, "unknown": 2}}


def test_two_threads_never_take_the_same_item(journal: ActionJournal) -> None:
    journal.begin(bulk(size=60))
    journal.start("b")
    taken: list[int] = []

    def take(number: int) -> None:
        while items := journal.items.take("b", 7):
            taken.extend(item.position for item in items)

    in_threads(take, 4)
    assert sorted(taken) == list(range(60))


def test_a_job_cannot_end_while_items_wait_unless_it_is_stopped(journal: ActionJournal) -> None:
    journal.begin(bulk(size=3))
    (first,) = journal.start("b", take=1)
    journal.items.settle("b", [sent(first.position)])
    with pytest.raises(TransitionError):
        journal.finish_job("b", {})
    done = journal.finish_job("b", {}, stopped="breaker-open")
    assert (done.state, done.result["counts"]) == (State.PARTIAL, {"sent": 1, "refused": 2})
    assert journal.items.list("b")[2].detail == {"reason": "breaker-open"}


def test_an_interrupted_job_goes_on_when_asked_with_what_was_not_begun(
    journal: ActionJournal, reopen: Callable[[], ActionJournal]
) -> None:
    journal.begin(bulk(size=5))
    journal.start("b", take=3)
    journal.items.settle("b", [sent(0)])
    journal = reopen()
    assert journal.interrupted == ("b",)
    assert journal.get("b").state is State.UNKNOWN
    assert journal.get("b").result == {"interrupted": "running"}
    assert journal.resume("b").state is State.RUNNING
    assert [item.position for item in journal.items.take("b", 9)] == [3, 4]
    journal.items.settle("b", [sent(3), sent(4)])
    done = journal.finish_job("b", {})
    assert (done.state, done.result["counts"]) == (State.PARTIAL, {"sent": 3, "unknown": 2})


def test_what_was_not_interrupted_cannot_go_on(journal: ActionJournal) -> None:
    journal.begin(bulk())
    for step in (lambda: None, lambda: journal.start("b"), finish_stopped(journal)):
        step()
        with pytest.raises(ActionError) as error:
            journal.resume("b")
        assert (error.value.status, error.value.kind) == (409, "not-resumable")


def finish_stopped(journal: ActionJournal) -> Callable[[], None]:
    def finish() -> None:
        journal.finish_job("b", {}, stopped="asked")

    return finish


def test_items_of_an_unfinished_or_unknown_action_are_not_taken(
    journal: ActionJournal, reopen: Callable[[], ActionJournal]
) -> None:
    journal.begin(bulk())
    with pytest.raises(TransitionError):
        journal.items.take("b", 1)
    journal = reopen()
    with pytest.raises(TransitionError):
        journal.items.take("b", 1)


def test_a_dry_run_that_was_interrupted_has_failed_for_certain(
    journal: ActionJournal, reopen: Callable[[], ActionJournal]
) -> None:
    journal.begin(replace(retry(), dry_run=True, new_task_ids=()))
    assert reopen().get("a").state is State.FAILED


# links between tasks


def test_retries_are_known_from_both_ends(journal: ActionJournal) -> None:
    task = "t1"
    for depth, name in enumerate(("a", "b", "c"), 1):
        journal.begin(retry(name, task))
        journal.start(name, take=1)
        journal.finish(name, State.DONE, {}, settled=[sent(0)])
        new = f"{task}-by-{name}"
        link = Retried(task, new, name, certain=True)
        assert journal.items.retried_as(task) == [link]
        assert journal.items.retry_of(new) == link
        assert journal.items.depth(new) == depth
        task = new
    assert journal.items.depth("t1") == 0
    assert journal.items.retry_of("t1") is None


def test_a_retry_that_may_have_been_sent_is_told_as_such(
    journal: ActionJournal, reopen: Callable[[], ActionJournal]
) -> None:
    journal.begin(retry())
    journal.start("a", take=1)
    (link,) = reopen().items.retried_as("t1")
    assert not link.certain


def test_a_retry_that_was_not_sent_is_no_link(
    journal: ActionJournal, reopen: Callable[[], ActionJournal]
) -> None:
    journal.begin(retry())
    assert reopen().items.retried_as("t1") == []


# alerts

KEY = AlertKey("rule", "fp", "2026-01-01T00:00:00Z")


def by_alert(name: str) -> Action:
    return replace(retry(name), actor=Actor("rule", "alert", "alert"))


def test_an_alert_acts_once_over_restarts_and_peers(
    journal: ActionJournal, reopen: Callable[[], ActionJournal], clock: Clock
) -> None:
    assert journal.begin_for_alert(by_alert("a"), KEY, Guards()).decision == "claimed"
    assert journal.get("a").state is State.PENDING
    assert journal.begin_for_alert(by_alert("a2"), KEY, Guards()) == ("duplicate", "a")
    journal = reopen()
    for _ in range(40):  # it fires for longer than the journal keeps anything
        clock.now += DAY
        assert journal.begin_for_alert(by_alert("a3"), KEY, Guards()) == ("duplicate", "a")
        journal.prune()
    assert journal.list() == []  # while the action itself is long forgotten
    clock.now += 31 * DAY
    journal.prune()
    assert journal.begin_for_alert(by_alert("a4"), KEY, Guards()).decision == "claimed"


def test_of_many_peers_one_claims(journal: ActionJournal) -> None:
    decisions: list[str] = []

    def post(number: int) -> None:
        decisions.append(journal.begin_for_alert(by_alert(f"a{number}"), KEY, Guards()).decision)

    in_threads(post, 12)
    assert sorted(decisions) == ["claimed"] + ["duplicate"] * 11
    assert len(journal.list()) == 1


@pytest.mark.parametrize(
    "other",
    [replace(KEY, rule="r2"), replace(KEY, fingerprint="f2"), replace(KEY, starts_at="later")],
)
def test_another_alert_is_another_claim(journal: ActionJournal, other: AlertKey) -> None:
    journal.begin_for_alert(by_alert("a"), KEY, Guards())
    assert journal.begin_for_alert(by_alert("a2"), other, Guards()).decision == "claimed"


def test_a_cooldown_survives_a_restart_and_claims_nothing(
    journal: ActionJournal, reopen: Callable[[], ActionJournal], clock: Clock
) -> None:
    guards = Guards(cooldown_seconds=600)
    journal.begin_for_alert(by_alert("a"), KEY, guards)
    later = replace(KEY, starts_at="later")
    clock.now += 599
    assert reopen().begin_for_alert(by_alert("a2"), later, guards) == ("cooldown", None)
    other = replace(KEY, fingerprint="f2")
    assert reopen().begin_for_alert(by_alert("a3"), other, guards).decision == "claimed"
    clock.now += 1
    assert reopen().begin_for_alert(by_alert("a2"), later, guards).decision == "claimed"


def test_a_clock_that_was_ahead_does_not_stop_a_rule_for_ever(
    journal: ActionJournal, clock: Clock
) -> None:
    guards = Guards(cooldown_seconds=600, max_per_hour=1)
    clock.now += 365 * DAY
    journal.begin_for_alert(by_alert("a"), KEY, guards)
    clock.now -= 365 * DAY
    later = replace(KEY, starts_at="later")
    assert journal.begin_for_alert(by_alert("a2"), later, guards).decision == "claimed"


def test_a_rule_acts_so_often_an_hour(
    journal: ActionJournal, reopen: Callable[[], ActionJournal], clock: Clock
) -> None:
    guards = Guards(max_per_hour=2)
    decisions = []
    for number in range(4):
        key = replace(KEY, fingerprint=str(number))
        decisions.append(reopen().begin_for_alert(by_alert(f"a{number}"), key, guards).decision)
        clock.now += HOUR / 3
    assert decisions == ["claimed", "claimed", "hourly-limit", "claimed"]


def test_a_rule_has_so_many_in_flight(journal: ActionJournal) -> None:
    guards = Guards(max_in_flight=1)
    journal.begin_for_alert(by_alert("a"), KEY, guards)
    other = replace(KEY, fingerprint="f2")
    assert journal.begin_for_alert(by_alert("a2"), other, guards).decision == "in-flight-limit"
    journal.finish("a", State.REFUSED, {})
    assert journal.begin_for_alert(by_alert("a2"), other, guards).decision == "claimed"


def test_a_rule_that_is_switched_on_acts_on_what_it_watched(journal: ActionJournal) -> None:
    guards = Guards(cooldown_seconds=600, max_per_hour=1)
    watched = replace(by_alert("a"), dry_run=True, new_task_ids=())
    assert journal.begin_for_alert(watched, KEY, guards).decision == "claimed"
    assert journal.begin_for_alert(replace(watched, id="a2"), KEY, guards).decision == "duplicate"
    assert journal.alerts.latest("rule", "fp") is None
    assert journal.begin_for_alert(by_alert("a3"), KEY, guards).decision == "claimed"
    assert journal.alerts.latest("rule", "fp") == "a3"


def test_a_breaker_stays_open_until_it_is_closed(
    journal: ActionJournal, reopen: Callable[[], ActionJournal], clock: Clock
) -> None:
    journal.alerts.open_breaker("rule", "3 of 3 failed again")
    clock.now += DAY
    journal.alerts.open_breaker("rule", "later")
    journal = reopen()
    assert journal.alerts.breakers() == {"rule": Breaker(clock.now - DAY, "3 of 3 failed again")}
    assert journal.begin_for_alert(by_alert("a"), KEY, Guards()).decision == "breaker-open"
    assert journal.alerts.close_breaker("rule")
    assert not journal.alerts.close_breaker("rule")
    assert journal.begin_for_alert(by_alert("a"), KEY, Guards()).decision == "claimed"


# lists and pruning


def test_actions_are_listed_newest_first(journal: ActionJournal) -> None:
    for number in range(4):
        journal.begin(replace(retry(f"a{number}", f"t{number % 2}"), requested_at=float(number)))
    journal.finish("a1", State.REFUSED, {})

    def ids(**given: Any) -> list[str]:
        return [action.id for action in journal.list(**given)]

    assert ids() == ["a3", "a2", "a1", "a0"]
    assert ids(limit=2) == ["a3", "a2"]
    assert ids(before=2.0) == ["a1", "a0"]
    assert ids(task_id="t1") == ["a3", "a1"]
    assert ids(state=State.REFUSED) == ["a1"]
    assert ids(verb=Verb.PURGE) == []


def test_what_is_old_and_finished_goes_with_its_items(journal: ActionJournal, clock: Clock) -> None:
    for number in range(25):
        journal.begin(retry(f"a{number}", f"t{number}"))
        journal.finish(f"a{number}", State.REFUSED, {})
    journal.begin(retry("at-work", "t"))
    journal.begin(replace(retry("keyed", "u"), idempotency_key="k"))
    clock.now += 29 * DAY
    assert journal.prune() == 0
    clock.now += 2 * DAY
    assert [journal.prune() for _ in range(3)] == [20, 5, 0]
    assert {action.id for action in journal.list()} == {"at-work", "keyed"}
    assert journal.items.list("a1") == []
    journal.finish("keyed", State.REFUSED, {})
    clock.now += 31 * DAY
    assert journal.prune() == 1


# what it refuses


def test_a_second_owner_is_refused_with_a_sentence(journal: ActionJournal, path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{path}: .* in use by another process \(process"):
        ActionJournal(path)
    journal.begin(retry())  # and the first is not disturbed


def test_the_files_are_for_their_owner_only(journal: ActionJournal, path: Path) -> None:
    journal.begin(retry())
    files = list(path.parent.iterdir())
    assert {file.name.removeprefix(path.name) for file in files} == {"", "-wal", "-shm", ".lock"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def make(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_newer_schema_is_refused(path: Path, reopen: Callable[[], ActionJournal]) -> None:
    reopen().close()
    make(path, "PRAGMA user_version = 2")
    with pytest.raises(ConfigError, match=r"newer version .* \(schema 2\)"):
        reopen()


def test_another_programs_database_is_not_touched(
    path: Path, reopen: Callable[[], ActionJournal]
) -> None:
    make(path, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program"):
        reopen()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x" * 4096]
)
def test_what_is_no_database_is_refused(
    path: Path, reopen: Callable[[], ActionJournal], content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(FileError, match="cannot be opened"):
        reopen()
    assert path.read_bytes() == content


def test_a_damaged_journal_is_refused(path: Path, reopen: Callable[[], ActionJournal]) -> None:
    journal = reopen()
    for number in range(50):
        journal.begin(retry(f"a{number}", f"t{number}"))
    journal.close()
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(FileError, match="cannot be opened"):
        reopen()


def test_a_directory_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere"):
        ActionJournal(tmp_path / "nowhere" / "actions.db")


def test_a_journal_that_somebody_locks_refuses(
    journal: ActionJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal._database._connection.execute("PRAGMA busy_timeout = 10")
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable) as error:
            journal.begin(retry())
        other.execute("ROLLBACK")
    other.close()
    assert (error.value.status, "locked" in error.value.hint) == (503, True)
    assert journal.begin(retry()).fresh


def test_a_full_disk_refuses_and_writes_nothing(journal: ActionJournal) -> None:
    connection = journal._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalUnavailable) as error:
        journal.begin(bulk(size=2000))
    assert "full" in error.value.hint
    assert journal.list() == []
    connection.execute("PRAGMA max_page_count = 100000")
    assert journal.begin(bulk(size=2000)).fresh


def test_an_end_that_a_full_disk_kept_out_is_written_before_the_next_action(
    journal: ActionJournal, clock: Clock
) -> None:
    journal.begin(keyed("a"))
    journal.start("a", take=1)
    journal.begin(bulk(size=1))
    journal.start("b", take=1)
    connection = journal._database._connection
    connection.execute("PRAGMA query_only = ON")
    for _ in range(2):
        with pytest.raises(JournalUnavailable):
            journal.begin(keyed("a2"))
    with pytest.raises(JournalUnavailable):
        journal.finish("a", State.DONE, {"fidelity": "capture"}, settled=[sent(0)])
    with pytest.raises(JournalUnavailable):
        journal.finish_job("b", {})
    assert journal.get("a").state is State.RUNNING
    connection.execute("PRAGMA query_only = OFF")
    again = journal.begin(keyed("a2"))
    assert (again.fresh, again.action.state) == (False, State.DONE)
    assert journal.get("b").state is State.UNKNOWN
    assert [link.certain for link in journal.items.retried_as("t1")] == [True]


def test_an_end_that_was_written_twice_stops_nothing(journal: ActionJournal) -> None:
    journal.begin(retry())
    connection = journal._database._connection
    connection.execute("PRAGMA query_only = ON")
    for _ in range(2):
        with pytest.raises(JournalUnavailable):
            journal.finish("a", State.REFUSED, {})
    connection.execute("PRAGMA query_only = OFF")
    assert journal.begin(retry("a2", "t2")).fresh
    assert journal.get("a").state is State.REFUSED


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_was_taken_away_is_not_written_to(
    journal: ActionJournal, path: Path, replaced: bool
) -> None:
    aside = path.with_name("aside.db")
    path.rename(aside)
    if replaced:
        path.touch()
    with pytest.raises(JournalUnavailable):
        journal.begin(retry())
    aside.rename(path)
    assert journal.begin(retry()).fresh


def test_a_closed_journal_refuses(journal: ActionJournal) -> None:
    journal.close()
    for call in (lambda: journal.begin(retry()), journal.list):
        with pytest.raises(JournalUnavailable):
            call()


@pytest.mark.parametrize("text", ["\ud800", "x\udfff"])
def test_a_text_that_cannot_be_stored_is_refused(journal: ActionJournal, text: str) -> None:
    for action in (retry(task_id=text), replace(retry(), idempotency_key=text)):
        with pytest.raises(ActionError) as error:
            journal.begin(action)
        assert error.value.status == 422
    assert journal.list() == []


def test_commits_are_synced(journal: ActionJournal) -> None:
    connection = journal._database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
