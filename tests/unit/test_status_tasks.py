"""The census of tasks in progress: what is counted, what is stuck, and that it holds nobody up."""

from collections import Counter

import pytest

from tests.support.tracking import RECORDINGS, T0, Stage, event, recorded
from z4j_exporter.status.tasks import (
    EACH_STATE,
    HOLD_SECONDS,
    STUCK,
    STUCK_AFTER_SECONDS,
    Census,
    stuck_row,
)
from z4j_exporter.track.cluster import Cluster


def census(stage: Stage, at: float) -> Census:
    made = Census(list(stage.cluster.tasks.table.active.values()), T0 + at)
    assert made.go_on(lambda: 0.0)
    return made


def waiting(number: int, at: float = 0.0, **fields: object) -> object:
    return event("task-sent", at, f"w{number}", name="a", queue="q", **fields)


def running(number: int, at: float = 0.0) -> list[object]:
    uuid = f"r{number}"
    return [
        event("task-received", at, uuid, name="a"),
        event("task-started", at, uuid),
    ]


def test_states_are_counted_and_rows_say_who_and_where() -> None:
    stage = Stage().play(
        [
            waiting(1),
            event("task-sent", 0, "v", name="a", queue="q"),
            event("task-received", 10, "v", name="a"),
            *running(1, 50),
            event("task-succeeded", 60, "done", runtime=1.0),
        ]
    )
    made = census(stage, 100)
    assert made.states == {"waiting": 1, "reserved": 1, "running": 1}
    rows = [stuck_row(each, "") for each in made.stuck()]
    assert [(r.task_id, r.state, r.seconds, r.worker, r.queue) for r in rows] == [
        ("w1", "waiting", 100.0, "", "q"),
        ("v", "reserved", 90.0, "w1@host", "q"),
        ("r1", "running", 50.0, "w1@host", ""),
    ]


def test_what_only_goes_on_is_not_stuck() -> None:
    stage = Stage().play([waiting(1), *running(1)])
    for at, expected in ((4.0, []), (6.0, ["r1"]), (31.0, ["r1", "w1"])):
        assert sorted(each.task.uuid for each in census(stage, at).stuck()) == expected
    assert STUCK_AFTER_SECONDS == {"running": 5.0, "reserved": 30.0, "waiting": 30.0}


def test_what_waits_for_its_time_is_not_stuck() -> None:
    eta = "2026-09-21T15:13:20+00:00"  # T0 + 1000
    stage = Stage().play(
        [
            waiting(1, eta=eta),
            event("task-received", 1, "held", name="a", eta=eta),
            event("task-received", 1, "now", name="a"),
        ]
    )
    when = stage.cluster.task("held").attempts[0].eta - T0  # type: ignore[union-attr,operator]
    assert [each.task.uuid for each in census(stage, when - 10).stuck()] == ["now"]
    late = {each.task.uuid: each.seconds for each in census(stage, when + 100).stuck()}
    assert late == {"now": when + 99, "held": 100.0, "w1": 100.0}


def test_a_long_queue_does_not_hide_what_hangs() -> None:
    many = [waiting(number, number) for number in range(500)]
    hung = [each for number in range(5) for each in running(number, 900 + number)]
    made = census(Stage().play([*many, *hung]), 1000)
    stuck = made.stuck()
    assert len(stuck) == STUCK
    states = Counter(each.state for each in stuck)
    assert states == {"running": EACH_STATE, "waiting": STUCK - EACH_STATE}
    seconds = [each.seconds for each in stuck]
    assert seconds == sorted(seconds, reverse=True)
    assert [each.task.uuid for each in stuck[:2]] == ["w0", "w1"]
    assert [each.task.uuid for each in stuck if each.state == "running"] == ["r0", "r1", "r2"]


def test_it_goes_on_where_it_stopped_and_holds_nobody_up() -> None:
    stage = Stage().play([waiting(number) for number in range(2000)])
    made = Census(list(stage.cluster.tasks.table.active.values()), T0 + 100)
    now = [0.0]

    def clock() -> float:
        now[0] += HOLD_SECONDS / 2  # each look at the clock is that much later
        return now[0]

    pieces = 1
    while not made.go_on(clock):
        pieces += 1
        assert made.looked_at == sum(made.states.values()) < made.total
    assert pieces > 3
    assert made.states["waiting"] == made.total == 2000


def test_tasks_that_end_between_two_pieces_are_left_out() -> None:
    stage = Stage().play([*running(1), *running(2)])
    made = Census(list(stage.cluster.tasks.table.active.values()), T0 + 100)
    stage.play([event("task-succeeded", 50, "r1", runtime=1.0)])
    assert made.go_on(lambda: 0.0)
    assert made.states["running"] == 1
    assert [each.task.uuid for each in made.stuck()] == ["r2"]


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("*.jsonl")))
def test_the_quick_way_says_what_the_tracker_says(name: str) -> None:
    cluster = Cluster(lambda _step: None)
    looked = 0
    for received_at, each in recorded(name):
        cluster.apply(each, received_at, received_at)
        tasks = list(cluster.tasks.table.active.values())
        made = Census(tasks, received_at + 10_000.0)
        made.go_on(lambda: 0.0)
        assert +made.states == Counter(task.state() for task in tasks)
        for stuck in made.stuck():
            assert stuck.state == stuck.task.state()
            since = stuck.task.since()
            assert since is not None
            assert stuck.seconds <= received_at + 10_000.0 - since
            if stuck.state == "running":
                assert stuck.seconds == received_at + 10_000.0 - since
            looked += 1
    assert looked or not any("received" in e.type for _, e in recorded(name))
