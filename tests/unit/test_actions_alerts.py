"""Alerts become actions: once each, within limits, over restarts. A real journal, no broker."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from z4j_exporter.actions import alert_work
from z4j_exporter.actions.alert_rules import parse
from z4j_exporter.actions.alerts import AlertActions
from z4j_exporter.actions.engine_parts import Outcome, Planned, may_pass
from z4j_exporter.actions.engine_request import Request
from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.model import Action, ActionError, Actor, State, Target, Verb
from z4j_exporter.actions.records import ActionJournal, JournalUnavailable
from z4j_exporter.actions.records_items import Settled
from z4j_exporter.actions.records_states import ItemState

POSTER = Actor("alertmanager", "alert", "token")
START = 1_795_168_800.0


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Engine:
    """Plans and carries out as the engine does, without broker and audit log."""

    def __init__(self, journal: ActionJournal, clock: Clock) -> None:
        self.journal, self.clock = journal, clock
        self.jobs = self
        self.planned: list[Request] = []
        self.done: list[str] = []
        self.stopped: list[str] = []
        self.found = ["t1"]
        self.facts: dict[str, TaskFacts] = {}
        self.refusal: ActionError | None = None
        self.failure: ActionError | None = None
        #: Leave jobs at work.
        self.slow = False

    def plan(self, request: Request) -> Planned:
        self.planned.append(request)
        if self.refusal is not None:
            raise self.refusal
        bulk = request.verb is Verb.BULK_RETRY
        found = tuple(request.task_ids or self.found)[: request.limit] if bulk else ()
        count = len(found) if bulk else int(request.verb is Verb.RETRY)
        new = tuple(str(uuid.uuid4()) for _ in range(count))
        action = Action(
            str(uuid.uuid4()),
            request.verb,
            Target(request.task_id, task_ids=found),
            request.actor,
            self.clock.now,
            dry_run=request.dry_run,
            new_task_ids=() if request.dry_run else new,
        )
        facts = TaskFacts(request.task_id, name="shop.pay") if request.task_id else None
        return Planned(action, request, facts, {"total": count} if bulk else {})

    def carry_out(self, planned: Planned) -> Outcome:
        action = planned.action
        if self.failure is not None:
            state = State.UNKNOWN if self.failure.unknown else State.REFUSED
            self.journal.finish(action.id, state, {}, release=may_pass(self.failure))
            raise self.failure
        self.done.append(action.id)
        if action.dry_run:
            return Outcome(self.journal.finish(action.id, State.DONE, {}))
        items = self.journal.start(action.id, take=len(action.new_task_ids))
        if self.slow:
            return Outcome(self.journal.get(action.id))
        settled = [Settled(one.position, ItemState.SENT, {}) for one in items]
        return Outcome(self.journal.finish(action.id, State.DONE, {}, settled=settled))

    def cancel(self, action_id: str, by: str) -> None:  # noqa: ARG002 - as Jobs
        self.stopped.append(action_id)

    # as engine_tasks.Tasks

    def get_all(self, task_ids: Sequence[str]) -> dict[str, TaskFacts]:
        return {one: self.facts[one] for one in task_ids if one in self.facts}

    def end(self, state: Any) -> None:
        """Let all that was sent, and is not known, end so."""
        for action in self.journal.list():
            for item in self.journal.items.list(action.id, state=ItemState.SENT):
                self.facts.setdefault(item.new_id, TaskFacts(item.new_id, state))


class Stage:
    """Rules with journal, engine and clock; a post or a step at a time."""

    def __init__(self, path: Path, **options: str) -> None:
        self.path, self.clock = path, Clock()
        self.rules = rules(**options)
        self.most_waiting = 100
        self.open()

    def open(self) -> None:
        self.journal = ActionJournal(self.path / "journal.db", clock=self.clock)
        self.engine = Engine(self.journal, self.clock)
        self.alerts = AlertActions(
            self.rules,
            self.engine,
            self.journal,
            self.engine,
            most_waiting=self.most_waiting,
            clock=self.clock,
            monotonic=self.clock,
        )

    def restart(self) -> None:
        """Come back after kill -9."""
        self.clock.now += 1
        self.journal.close()
        self.open()
        self.alerts.work.go_on()

    def post(self, *alerts: dict[str, Any], actor: Actor = POSTER) -> int:
        try:
            return self.alerts(actor, {"version": "4", "alerts": list(alerts)}).status
        except ActionError as error:
            return error.status

    def step(self) -> None:
        """Do one thing that waits, and look."""
        self.alerts.work.step(0)
        self.clock.now += 1.5

    def count(self, decision: str, rule: str = "r") -> int:
        return self.alerts.stats.counted().get((rule, decision), 0)

    def states(self) -> list[State]:
        return [action.state for action in reversed(self.journal.list())]


def rules(enabled: str = "true", action: str = "", **more: str) -> Any:
    action = action or "verb: bulk-retry, task: '{{ labels.task }}'"
    text = "".join(f", {name}: {value}" for name, value in more.items())
    return parse(
        "rules: [{name: r, matchers: [alertname=Fail], "
        f"enabled: {enabled}, action: {{{action}}}{text}}}]",
        name="f",
    )


def alert(start: float = 0.0, *, status: str = "firing", **labels: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(START + start, UTC)
    return {
        "status": status,
        "labels": {"alertname": "Fail", "task": "shop.pay"} | labels,
        "startsAt": moment.isoformat().replace("+00:00", "Z"),
    }


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[Any]:
    made: list[Stage] = []

    def make(**options: str) -> Stage:
        made.append(Stage(tmp_path, **options))
        return made[-1]

    yield make
    for stage in made:
        stage.journal.close()


def test_an_alert_acts_once(stages: Any) -> None:
    stage = stages()
    assert stage.post(alert()) == 202
    assert stage.states() == [State.PENDING]
    assert stage.post(alert()) == 200  # the second peer, before it is done
    stage.step()
    assert stage.states() == [State.DONE]
    assert stage.post(alert()) == 200  # and after
    stage.step()
    assert len(stage.engine.done) == 1
    assert (stage.count("queued"), stage.count("duplicate"), stage.count("done")) == (1, 2, 1)


def test_an_alert_acts_once_over_restarts(stages: Any) -> None:
    stage = stages(cooldown="0s")
    stage.post(alert())
    stage.step()
    stage.restart()
    assert stage.post(alert()) == 200
    stage.step()
    assert (stage.engine.done, stage.count("duplicate")) == ([], 1)
    assert stage.engine.planned == []  # known without a look at the tasks of now
    assert stage.post(alert(60)) == 202


def test_a_firing_that_goes_on_for_months_acts_once(stages: Any) -> None:
    stage = stages()
    stage.post(alert())
    stage.step()
    for day in range(70):
        stage.clock.now += 86_400
        assert stage.post(alert()) == 200, day
        stage.journal.prune()
    assert len(stage.engine.done) == 1


def test_what_is_asked_for(stages: Any) -> None:
    stage = stages(action="verb: bulk-retry, task: '{{ labels.task }}', since: 10m, max: 7")
    stage.post(alert(task="shop.*"))
    (request,) = stage.engine.planned
    assert request.filter.task == "shop.[*]"
    assert (request.filter.since, request.filter.state) == (START - 600, "failed")
    assert (request.limit, request.dry_run) == (7, False)
    assert request.actor == Actor("r", "alert", "alert")
    assert stage.journal.list()[0].options["alert"]["rule"] == "r"


def test_a_rule_acts_within_the_scope_of_who_posts(stages: Any) -> None:
    stage = stages()
    stage.post(alert(), actor=replace(POSTER, tasks=("a.*",), queues=("q",)))
    assert stage.engine.planned[0].actor == Actor("r", "alert", "alert", ("a.*",), ("q",))


def test_a_rule_that_is_not_enabled_only_looks(stages: Any) -> None:
    stage = stages(enabled="false")
    assert stage.post(alert()) == 202
    stage.step()
    assert stage.journal.list()[0].dry_run
    assert stage.post(alert()) == 200
    assert (stage.count("dry_run"), stage.count("queued"), stage.count("done")) == (1, 0, 0)
    # Switched on, it acts on what it only watched before.
    stage.rules = rules()
    stage.restart()
    assert stage.post(alert()) == 202


def test_one_task(stages: Any) -> None:
    stage = stages(action="verb: retry, task_id: '{{ labels.id }}'", tasks="['shop.*']")
    assert stage.post(alert(id="abc")) == 202
    (request,) = stage.engine.planned
    assert (request.verb, request.task_id, request.from_state) == (Verb.RETRY, "abc", ("failed",))
    assert stage.post(alert(id="a/b"), alert(id=""), alert()) == 200
    assert stage.count("unfilled") == 3


def test_one_task_that_is_not_the_rules(stages: Any) -> None:
    stage = stages(action="verb: cancel, task_id: '{{ labels.id }}'", tasks="['mail.*']")
    assert stage.post(alert(id="abc")) == 200
    assert stage.count("out_of_scope") == 1
    assert stage.states() == []


@pytest.mark.parametrize(("task", "decision"), [("mail.x", "out_of_scope"), ("\x00", "unfilled")])
def test_labels_that_lead_elsewhere(stages: Any, task: str, decision: str) -> None:
    stage = stages(tasks="['shop.*']")
    assert stage.post(alert(task=task)) == 200
    assert (stage.count(decision), stage.engine.planned) == (1, [])


def test_no_rule(stages: Any) -> None:
    stage = stages()
    assert stage.post(alert(alertname="Other"), {"x": 1}) == 200
    assert (stage.count("no_rule", ""), stage.count("unusable", "")) == (1, 1)


def test_cooldown_hourly_limit_and_flight(stages: Any) -> None:
    stage = stages(cooldown="10m", max_per_hour="2", max_in_flight="1")
    assert stage.post(alert(), alert(task="shop.b")) == 202
    assert stage.count("in_flight") == 1
    stage.step()
    stage.clock.now += 60
    assert stage.post(alert(30)) == 200
    assert stage.count("cooldown") == 1
    assert stage.post(alert(task="shop.b")) == 202
    stage.step()
    assert stage.post(alert(task="shop.c")) == 200
    assert stage.count("hourly_limit") == 1
    stage.clock.now += 3600
    assert stage.post(alert(task="shop.c")) == 202


def test_a_limit_of_a_rule_is_asked_for_once_a_post(stages: Any) -> None:
    stage = stages(max_in_flight="1")
    stage.post(*(alert(task=f"shop.{n}") for n in range(50)))
    assert len(stage.engine.planned) == 2
    assert stage.count("in_flight") == 49


@pytest.mark.parametrize(
    ("error", "decision", "status"),
    [
        (ActionError("out-of-scope", 403, "x"), "forbidden", 200),
        (ActionError("nothing-matches", 422, "x"), "nothing", 200),
        (ActionError("exception-not-remembered", 422, "x"), "refused", 200),
        (ActionError("conflict", 409, "x"), "refused", 200),
        (ActionError("rate", 429, "x"), "refused", 200),
        (ActionError("tracker-busy", 503, "x"), "busy", 503),
    ],
)
def test_what_cannot_be_planned(
    stages: Any, error: ActionError, decision: str, status: int
) -> None:
    stage = stages()
    stage.engine.refusal = error
    assert stage.post(alert()) == status
    assert stage.count(decision) == 1
    # It claimed nothing: the alert is judged anew when it is sent again.
    stage.engine.refusal = None
    stage.clock.now += 60
    assert stage.post(alert()) == 202


def test_a_full_queue_is_sent_again_and_gets_on(stages: Any) -> None:
    stage = stages(max_in_flight="0", max_per_hour="0")
    stage.most_waiting = 2
    stage.restart()
    group = [alert(task=f"shop.{n}") for n in range(5)]
    assert stage.post(*group) == 503
    for _ in range(2):
        stage.step()
        stage.step()
        stage.post(*group)
    stage.step()
    assert stage.post(*group) == 200
    assert len(stage.engine.done) == 5
    assert len(set(stage.engine.done)) == 5


def test_a_journal_that_cannot_be_written(stages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stages()

    def refuse(*_args: Any, **_options: Any) -> Any:
        raise JournalUnavailable("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(stage.journal, "begin_for_alert", refuse)
        assert stage.post(alert()) == 503
    assert stage.alerts.waiting == 0
    assert stage.post(alert()) == 202


def test_malformed_posts(stages: Any) -> None:
    stage = stages()
    with pytest.raises(ActionError) as refused:
        stage.alerts(POSTER, {"version": "3"})
    assert refused.value.status == 400
    assert stage.alerts.stats.notifications_total == {400: 1}


def test_resolved_takes_back_what_waits(stages: Any) -> None:
    stage = stages(max_in_flight="0")
    stage.post(alert(), alert(task="shop.b"))
    assert stage.post(alert(status="resolved")) == 200
    assert stage.states().count(State.REFUSED) == 1
    stage.step()
    stage.step()
    assert len(stage.engine.done) == 1
    assert stage.count("resolved") == 1
    # A peer that is late does not start it again.
    assert stage.post(alert()) == 200
    assert stage.count("duplicate") == 1


def test_resolved_leaves_a_newer_firing(stages: Any) -> None:
    stage = stages()
    stage.post(alert(60))
    stage.post(alert(status="resolved"))
    stage.step()
    assert stage.states() == [State.DONE]


def test_resolved_when_the_journal_fails(stages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stages()
    stage.post(alert())

    def refuse(*_args: Any, **_options: Any) -> Any:
        raise JournalUnavailable("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(stage.journal, "finish", refuse)
        assert stage.post(alert(status="resolved")) == 503
    assert stage.post(alert(status="resolved")) == 200
    assert stage.states() == [State.REFUSED]


def test_what_waited_is_done_once_after_a_restart(stages: Any) -> None:
    stage = stages()
    stage.engine.found = ["t1", "t2"]
    stage.post(alert())
    stage.restart()
    stage.engine.found = []  # the tracker has forgotten
    assert stage.post(alert()) == 200
    stage.step()
    stage.step()
    assert stage.states() == [State.FAILED, State.DONE]
    assert stage.journal.list()[0].target.task_ids == ("t1", "t2")
    stage.restart()
    stage.step()
    assert stage.states() == [State.FAILED, State.DONE]


def test_what_was_begun_stays_unknown(stages: Any) -> None:
    stage = stages()
    stage.engine.slow = True
    stage.post(alert())
    stage.step()
    stage.restart()
    stage.step()
    assert stage.states() == [State.UNKNOWN]
    assert stage.post(alert()) == 200


def test_a_rule_that_was_switched_off_meanwhile_does_nothing(stages: Any) -> None:
    stage = stages()
    stage.post(alert())
    stage.rules = rules(enabled="false")
    stage.restart()
    stage.step()
    assert stage.states() == [State.FAILED]
    assert stage.engine.done == []


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (ActionError("broker", 503, "x"), "failed"),
        (ActionError("no-payload", 422, "x"), "refused"),
        (ActionError("no-answer", 504, "x", unknown=True), "unknown"),
    ],
)
def test_what_is_not_done(stages: Any, error: ActionError, decision: str) -> None:
    stage = stages()
    stage.engine.failure = error
    stage.post(alert())
    stage.step()
    assert stage.count(decision) == 1
    assert stage.alerts.waiting == 0
    # Sent again, the alert has another turn only where nothing was done and the cause may pass.
    stage.engine.failure = None
    passes = decision == "failed"
    assert stage.post(alert()) == (202 if passes else 200)
    stage.step()
    assert len(stage.engine.done) == passes
    assert stage.post(alert()) == 200


def test_a_journal_that_fails_when_its_turn_comes(
    stages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_work, "_OUTAGE_SECONDS", 0.0)
    stage = stages()
    stage.post(alert())

    def refuse(*_args: Any, **_options: Any) -> Any:
        raise JournalUnavailable("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(stage.journal, "start", refuse)
        stage.step()
        assert stage.states() == [State.PENDING]
        assert stage.alerts.waiting == 1
    stage.step()
    assert stage.states() == [State.DONE]
    assert stage.alerts.waiting == 0


def test_peers_that_post_at_the_same_moment(stages: Any) -> None:
    stage = stages(max_in_flight="0", max_per_hour="0")
    group = [alert(task=f"shop.{number}") for number in range(20)]
    answers: list[int] = []
    peers = [threading.Thread(target=lambda: answers.append(stage.post(*group))) for _ in range(4)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.join(20)
    assert sorted(answers) == [200, 200, 200, 202]
    assert (stage.count("queued"), stage.count("duplicate")) == (20, 60)


def fail_three(stage: Stage) -> None:
    for number in range(3):
        stage.post(alert(task=f"shop.{number}"))
        stage.step()
        stage.engine.end("failed")
        stage.step()


def test_the_breaker_opens_when_what_was_retried_fails_again(stages: Any) -> None:
    stage = stages(cooldown="0s", breaker="{failures: 3, half_open_after: 10m}")
    fail_three(stage)
    assert stage.alerts.work.breakers() == {"r": "open"}
    assert stage.post(alert(task="shop.x")) == 200
    assert stage.count("breaker_open") == 1
    stage.restart()
    assert stage.alerts.work.breakers() == {"r": "open"}


def test_half_open_one_task_decides(stages: Any) -> None:
    stage = stages(cooldown="0s", max_in_flight="0", breaker="{failures: 3, half_open_after: 10m}")
    fail_three(stage)
    stage.clock.now += 601
    stage.engine.found = ["t1", "t2"]
    assert stage.post(alert(task="shop.x"), alert(task="shop.y")) == 202
    assert stage.alerts.work.breakers() == {"r": "half-open"}
    assert stage.count("breaker_open") == 1
    assert stage.journal.list()[0].target.task_ids == ("t1",)
    stage.step()
    assert stage.post(alert(task="shop.y")) == 200  # the one task has not ended yet
    stage.engine.end("failed")
    stage.step()
    assert stage.alerts.work.breakers() == {"r": "open"}
    stage.clock.now += 601
    stage.post(alert(task="shop.z"))
    stage.step()
    stage.engine.end("succeeded")
    stage.step()
    assert stage.alerts.work.breakers() == {"r": "closed"}


def test_a_success_between_failures_keeps_it_closed(stages: Any) -> None:
    stage = stages(cooldown="0s", breaker="{failures: 2, half_open_after: 10m}")
    for number, state in enumerate(["failed", "succeeded", "failed", "succeeded"]):
        stage.post(alert(task=f"shop.{number}"))
        stage.step()
        stage.engine.end(state)
        stage.step()
    assert stage.alerts.work.breakers() == {"r": "closed"}


def test_an_open_breaker_stops_what_is_at_work_and_what_waits(stages: Any) -> None:
    stage = stages(cooldown="0s", max_in_flight="0", breaker="{failures: 2, half_open_after: 10m}")
    stage.engine.found = ["t1", "t2", "t3"]
    stage.engine.slow = True
    stage.post(alert())
    stage.step()
    (job,) = stage.journal.list()
    items = stage.journal.items.list(job.id)
    stage.journal.items.settle(
        job.id, [Settled(one.position, ItemState.SENT, {}) for one in items[:2]]
    )
    stage.engine.end("failed")
    stage.post(alert(task="shop.y"), alert(task="shop.z"))
    stage.alerts.work.step(0)
    stage.step()
    stage.step()
    # The first and the second were at work, the third waited.
    assert stage.engine.stopped[0] == job.id
    assert len(stage.engine.stopped) == 2
    assert stage.count("breaker_open") == 1
    assert sorted(stage.states()) == [State.REFUSED, State.RUNNING, State.RUNNING]


def test_what_was_retried_is_followed_after_a_restart(stages: Any) -> None:
    stage = stages(breaker="{failures: 1, half_open_after: 10m}")
    stage.post(alert())
    stage.step()
    stage.restart()
    stage.engine.end("failed")
    stage.step()
    assert stage.alerts.work.breakers() == {"r": "open"}
    assert stage.count("done") == 0  # it was counted before


def test_a_job_is_counted_when_it_ends(stages: Any) -> None:
    stage = stages()
    stage.engine.slow = True
    stage.post(alert())
    stage.step()
    assert stage.count("done") == 0
    (job,) = stage.journal.list()
    stage.journal.finish(job.id, State.PARTIAL, {}, settled=[Settled(0, ItemState.SENT, {})])
    stage.step()
    stage.step()
    assert stage.count("partial") == 1


def test_the_thread_works_and_stops(stages: Any) -> None:
    stage = stages()
    stage.post(alert())
    stage.alerts.start()
    stage.alerts.stop(5)
    # Whether it came to it or not: nothing is half done.
    assert stage.states() in ([State.DONE], [State.PENDING])
    assert stage.post(alert(60)) == 503
