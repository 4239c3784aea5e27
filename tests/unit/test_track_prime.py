"""What workers say they hold gives names to tasks, and changes nothing else."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tracking import RECORDINGS, T0, Stage, event, recorded
from z4j_exporter.events.model import Event
from z4j_exporter.track.prime import GONE_SECONDS, Held
from z4j_exporter.track.transitions import UNKNOWN_TASK, TaskTransition

W = "w1@host"


@dataclass(frozen=True)
class Told:
    uuid: str = "u1"
    name: str = "math.add"
    state: str = "running"
    queue: str | None = "celery"
    started: float | None = T0


def primed(*held: Held, worker: str = W, stage: Stage | None = None, **options: Any) -> Stage:
    stage = stage or Stage(**options)
    stage.cluster.prime(worker, held, stage.now)
    return stage


def labels(stage: Stage) -> list[tuple[str, str, str]]:
    return [(step.kind, step.name, step.queue) for step in stage.tasks]


def state(stage: Stage, uuid: str = "u1") -> str:
    task = stage.cluster.task(uuid)
    return "none" if task is None else task.state()


# -- names ---------------------------------------------------------------------------------------


def test_the_end_of_a_task_that_began_before_counts_under_its_name() -> None:
    stage = primed(Told()).play([event("task-succeeded", 5, runtime=4.0)])
    assert labels(stage) == [("succeeded", "math.add", "celery")]
    assert stage.tasks[0].runtime == 4.0
    assert state(stage) == "succeeded"


def test_without_the_queue_the_name_alone_is_known() -> None:
    stage = primed(Told(queue=None)).play([event("task-succeeded", 5)]).wait(3)
    assert labels(stage) == [("succeeded", "math.add", "")]


def test_priming_tells_nothing() -> None:
    stage = primed(Told(), Told("u2", state="reserved"))
    stage.wait(10)
    assert stage.told == []
    assert stage.cluster.tasks.duplicates == stage.cluster.tasks.late == 0
    assert not any(stage.cluster.events.values())


def test_an_end_that_waits_for_its_name_gets_it() -> None:
    stage = Stage().play([event("task-succeeded", 5)])
    assert labels(stage) == []
    primed(Told(), stage=stage)
    assert labels(stage) == [("succeeded", "math.add", "celery")]
    stage.wait(5)
    assert len(stage.tasks) == 1


def test_an_end_that_waits_for_its_queue_waits_on_when_the_queue_is_not_told() -> None:
    stage = Stage().play([event("task-received", 1, name="math.add")])
    primed(Told(queue=None), stage=stage)
    assert labels(stage) == []
    stage.play([event("task-sent", 0, name="math.add", queue="slow")])
    assert labels(stage) == [("received", "math.add", "slow"), ("sent", "math.add", "slow")]


def test_what_events_told_stays() -> None:
    stage = Stage().play([event("task-sent", 0, name="web.visit", queue="web")])
    primed(Told(name="other", queue="elsewhere"), stage=stage)
    stage.play([event("task-succeeded", 5)])
    assert labels(stage) == [("sent", "web.visit", "web"), ("succeeded", "web.visit", "web")]


def test_a_task_that_ended_does_not_come_back() -> None:
    stage = Stage().play([event("task-received", 0, name="math.add"), event("task-succeeded", 5)])
    primed(Told(), stage=stage)
    assert state(stage) == "succeeded"
    assert len(stage.cluster.tasks.table.active) == 0


def test_twice_is_once() -> None:
    stage = primed(Told(), Told(), Told("u2"))
    primed(Told(), Told("u2"), stage=stage)
    assert len(stage.cluster.tasks.table) == 2
    stage.play([event("task-succeeded", 5)])
    assert len(stage.tasks) == 1


def test_events_that_priming_overtook_fill_in_the_same_attempt() -> None:
    stage = primed(Told())
    stage.play(
        [
            event("task-sent", 0, name="math.add", queue="celery"),
            event("task-received", 1, name="math.add"),
            event("task-started", 2),
            event("task-succeeded", 5),
        ]
    )
    task = stage.cluster.task("u1")
    assert task is not None
    assert len(task.attempts) == 1
    assert stage.tasks[2].queue_wait == 2.0
    assert stage.tasks[2].prefetch_wait == 1.0
    assert stage.tasks[3].runtime == 3.0
    assert stage.tasks[3].end_to_end == 5.0


# -- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["running", "reserved"])
def test_a_task_is_in_the_state_its_worker_tells(told: str) -> None:
    stage = primed(Told(state=told))
    task = stage.cluster.task("u1")
    assert task is not None
    assert task.state() == told
    assert task.since() == T0


def test_events_tell_the_state_from_then_on() -> None:
    stage = primed(Told(state="running")).play([event("task-received", 1, name="math.add")])
    assert state(stage) == "reserved"


def test_what_ran_on_a_dead_worker_is_lost_and_what_it_held_waits() -> None:
    stage = Stage().play([event("worker-heartbeat", 0, active=1)])
    primed(Told(), Told("u2", state="reserved"), stage=stage)
    stage.wait(61)
    assert labels(stage) == [("lost", "math.add", "celery")]
    assert stage.tasks[0].worker == W
    assert state(stage, "u2") == "waiting"


def test_what_an_idle_worker_claimed_has_ended_unseen() -> None:
    stage = Stage()
    primed(Told(), Told("u2", state="reserved"), stage=stage)
    for _ in range(8):
        stage.play([event("worker-heartbeat", stage.now - 1000.0, active=0)]).wait(2)
    assert labels(stage) == [("unseen", "math.add", "celery")]
    assert state(stage, "u2") == "reserved"


def test_a_task_that_its_worker_holds_no_more_goes() -> None:
    stage = primed(Told())
    primed(stage=stage)
    assert state(stage) == "waiting"
    stage.now += GONE_SECONDS - 1
    primed(stage=stage)
    assert state(stage) == "waiting"
    stage.now += 1
    primed(stage=stage)
    assert state(stage) == "none"
    assert stage.told == []
    assert not stage.cluster.tasks.table.evictions


def test_its_name_is_still_known_when_the_end_comes_a_little_later() -> None:
    stage = primed(Told())
    primed(stage=stage)
    stage.play([event("task-succeeded", 5)])
    assert labels(stage) == [("succeeded", "math.add", "celery")]


def test_a_task_that_moved_to_another_worker_stays() -> None:
    stage = primed(Told())
    primed(Told(), worker="w2@host", stage=stage)
    for _ in range(3):
        stage.now += GONE_SECONDS
        primed(stage=stage)
    assert state(stage) == "running"


def test_a_sent_task_whose_claim_ends_waits_again() -> None:
    stage = Stage().play([event("task-sent", 0, name="math.add", queue="celery")])
    primed(Told(), stage=stage)
    assert state(stage) == "running"
    for _ in range(3):
        stage.now += GONE_SECONDS
        primed(stage=stage)
    assert state(stage) == "waiting"


# -- bounds --------------------------------------------------------------------------------------


def test_tasks_that_have_not_ended_are_not_pushed_out() -> None:
    stage = Stage(max_tasks=100)
    stage.play(
        event("task-received", i, uuid=f"r{i}", name="math.add", hostname="w2@host")
        for i in range(100)
    )
    primed(*(Told(f"p{i}") for i in range(50)), stage=stage)
    assert len(stage.cluster.tasks.table) == 100
    assert not stage.cluster.tasks.table.evictions
    assert stage.cluster.task("r0") is not None


def test_finished_tasks_make_room() -> None:
    stage = Stage(max_tasks=100)
    for i in range(100):
        stage.play(
            [
                event("task-received", i, uuid=f"r{i}", name="math.add"),
                event("task-succeeded", i + 0.5, uuid=f"r{i}"),
            ]
        )
    primed(*(Told(f"p{i}") for i in range(1000)), stage=stage)
    assert len(stage.cluster.tasks.table) <= 100
    assert stage.cluster.task("p0") is not None


def test_a_pool_is_kept_for_workers_that_are_known() -> None:
    stage = Stage().play([event("worker-heartbeat", 0)])
    stage.cluster.learn_pools({W: "threads", "stranger@host": "solo"})
    known = stage.cluster.worker(W)
    assert known is not None
    assert known.pool == "threads"
    assert stage.cluster.worker("stranger@host") is None


# -- any history ---------------------------------------------------------------------------------

NAMES = sorted(
    p.name.removesuffix(".jsonl") for p in RECORDINGS.glob("*.jsonl") if p.stem != "demo"
)
HISTORIES = {
    name: [each for _, each in recorded(name) if each.type.startswith("task-")] for name in NAMES
}


def _names_of(history: list[Event]) -> dict[str, str]:
    """The first name of each uuid: what its worker would tell before any replacement."""
    names: dict[str, str] = {}
    for each in history:
        if each.uuid and each.name:
            names.setdefault(each.uuid, each.name)
    return names


def _account(steps: list[TaskTransition], *, named: bool) -> Counter[tuple[object, ...]]:
    """Everything that is counted or observed, without the queue that priming may tell."""
    return Counter(
        (
            step.kind, step.name if named else "", step.worker, step.timestamp, step.repeat,
            step.final, step.detail, step.queue_wait, step.prefetch_wait, step.runtime,
            step.runtime_outcome, step.end_to_end, step.attempts, step.outcome,
        )
        for step in steps
    )  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_priming_at_any_moment_changes_nothing_but_unknown_names(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([n for n in NAMES if "replaced" not in n]))
    arrivals = [e for e in HISTORIES[name] if data.draw(st.integers(0, 9)) < 8]
    names = _names_of(HISTORIES[name])
    plain = Stage().play(arrivals).wait(3)

    stage = Stage()
    moments = data.draw(st.lists(st.integers(0, len(arrivals)), min_size=1, max_size=3))
    for position, each in enumerate([*arrivals, None]):
        for _ in range(moments.count(position)):
            held = [
                Told(
                    uuid,
                    names[uuid],
                    data.draw(st.sampled_from(["running", "reserved"])),
                    data.draw(st.sampled_from([None, "celery"])),
                )
                for uuid in data.draw(st.lists(st.sampled_from(sorted(names)), unique=True))
            ]
            stage.cluster.prime(data.draw(st.sampled_from([W, "w1@host1"])), held, stage.now)
        if each is not None:
            stage.play([each])
    stage.wait(3)

    assert _account(stage.tasks, named=False) == _account(plain.tasks, named=False)
    assert stage.cluster.tasks.duplicates == plain.cluster.tasks.duplicates
    assert stage.cluster.tasks.late == plain.cluster.tasks.late
    unprimed = _account([s for s in plain.tasks if s.name != UNKNOWN_TASK], named=True)
    assert not unprimed - _account(stage.tasks, named=True)


def test_a_claim_of_a_whole_history_is_harmless_to_the_golden_ones() -> None:
    for name in ("visit_nested", "retry_and_fail", "rejected", "revoked_by_expiry"):
        held = [Told(uuid, called) for uuid, called in _names_of(HISTORIES[name]).items()]
        stage = primed(*(replace(each, queue=None) for each in held), worker="w1@host1")
        stage.play(HISTORIES[name]).wait(3)
        assert stage.counts() == Stage().play(HISTORIES[name]).wait(3).counts()
