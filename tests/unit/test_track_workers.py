"""The worker tracker's rules: who is up, what the dead ran, which events are missing."""

from typing import Any

from tests.support.tracking import Stage, event, recorded
from z4j_exporter.events.model import Event

W1, W2 = "w1@host", "w2@host"
SENT = {"name": "a.task", "queue": "q1", "retries": 0}


def beat(at: float, worker: str = W1, kind: str = "heartbeat", **fields: Any) -> Event:
    fields = {"active": 0, "processed": 0, "pid": 7, "freq": 2.0} | fields
    return event(f"worker-{kind}", at, hostname=worker, **fields)


def _beats(stage: Stage, seconds: int, *workers: str, **fields: Any) -> Stage:
    """Let workers live for some seconds: a heartbeat every two."""
    for _ in range(seconds // 2):
        at = stage.now - 1000.0
        stage.play([beat(at, worker, **fields) for worker in workers]).wait(2)
    return stage


def _begin(stage: Stage, uuid: str, worker: str = W1, pid: int = 7) -> Stage:
    at = stage.now - 1000.0
    return stage.play(
        [
            event("task-sent", at, uuid, **SENT),
            event("task-received", at, uuid, hostname=worker, name="a.task", retries=0),
            event("task-started", at, uuid, hostname=worker, pid=pid),
        ]
    )


def test_two_workers_on_one_host_are_two() -> None:
    stage = _beats(Stage(), 4, W1, W2)
    _beats(stage, 70, W2)
    assert stage.workers == [("up", W1), ("up", W2), ("down", W1)]
    assert stage.cluster.worker(W2).up  # type: ignore[union-attr]  # it is there


def test_a_client_is_no_worker() -> None:
    stage = Stage().play([event("task-sent", 0, **SENT, hostname="gen12@web")])
    assert len(stage.cluster.workers) == 0


def test_a_dead_worker_stays_at_zero_long_enough_for_an_alert_then_goes() -> None:
    stage = _beats(Stage(worker_timeout_seconds=60.0, worker_forget_seconds=1800.0), 4, W1)
    stage.wait(70)
    assert not stage.cluster.worker(W1).up  # type: ignore[union-attr]  # it is there
    stage.wait(15 * 60)
    assert stage.cluster.worker(W1) is not None
    stage.wait(16 * 60)
    assert stage.cluster.worker(W1) is None
    assert stage.workers[-1] == ("forgotten", W1)


def test_a_timeout_of_zero_never_judges() -> None:
    stage = _beats(Stage(worker_timeout_seconds=0.0), 2, W1).wait(10_000)
    assert stage.cluster.worker(W1).up  # type: ignore[union-attr]  # it is there


def test_what_a_dead_worker_ran_is_lost_what_it_held_goes_back() -> None:
    stage = _beats(Stage(), 4, W1, W2)
    _begin(stage, "runs")
    stage.play([event("task-received", 5, "held", hostname=W1, name="a.task", retries=0)])
    _begin(stage, "elsewhere", W2)
    _beats(stage, 70, W2, active=1)
    lost = [t for t in stage.tasks if t.kind == "lost"]
    assert [(t.uuid, t.detail, t.worker, t.final) for t in lost] == [
        ("runs", "worker_lost", W1, True)
    ]
    assert stage.cluster.task("held").state() == "waiting"  # type: ignore[union-attr]  # it is there
    assert stage.cluster.task("elsewhere").state() == "running"  # type: ignore[union-attr]  # it is there


def test_a_lost_task_that_is_redelivered_runs_again() -> None:
    stage = _beats(Stage(), 4, W1, W2)
    _begin(stage, "u1")
    _beats(stage, 70, W2)
    stage.play(
        [
            event("task-received", 80, hostname=W2, name="a.task", retries=0),
            event("task-started", 81, hostname=W2),
            event("task-succeeded", 82, hostname=W2, runtime=1.0),
        ]
    )
    assert [t.kind for t in stage.tasks if t.final] == ["lost", "succeeded"]


def test_offline_waits_for_the_last_events_of_its_tasks() -> None:
    stage = _beats(Stage(), 4, W1)
    _begin(stage, "u1")
    stage.play([beat(6, kind="offline")]).wait(5)
    stage.play([event("task-cancelled", 5.9)]).wait(20)
    assert [t.kind for t in stage.tasks][-1] == "cancelled"
    assert not [t for t in stage.tasks if t.kind == "lost"]
    assert stage.workers == [("up", W1), ("down", W1)]


def test_a_farewell_of_an_idle_worker_says_that_nothing_was_lost() -> None:
    stage = _beats(Stage(), 4, W1)
    _begin(stage, "ignored")
    stage.play([beat(6, kind="offline", active=0)]).wait(20)
    assert [t.kind for t in stage.tasks][-1] == "unseen"
    assert not [t for t in stage.tasks if t.kind == "lost"]


def test_a_worker_that_loses_its_connection_comes_back() -> None:
    stage = _beats(Stage(), 4, W1)
    _begin(stage, "u1")
    stage.play([beat(6, kind="offline", processed=1)]).wait(2)
    stage.play([beat(8, kind="online", processed=1, active=1)])
    _beats(stage, 20, W1, processed=1, active=1)
    assert stage.workers == [("up", W1), ("down", W1), ("up", W1)]
    assert not [t for t in stage.tasks if t.kind == "lost"]


def test_nobody_is_judged_while_the_source_is_deaf() -> None:
    stage = _beats(Stage(), 4, W1)
    _begin(stage, "u1")
    stage.wait(600, connected=False)
    stage.cluster.resume(stage.now)
    stage.wait(30)
    assert stage.workers == [("up", W1)]
    assert not [t for t in stage.tasks if t.kind == "lost"]


def test_ignore_ends_when_its_worker_runs_nothing() -> None:
    stage = _beats(Stage(), 4, W1)
    _begin(stage, "ignored")
    _beats(stage, 8, W1)
    assert not [t for t in stage.tasks if t.kind == "unseen"]
    _beats(stage, 10, W1)
    assert [t.uuid for t in stage.tasks if t.kind == "unseen"] == ["ignored"]
    assert stage.cluster.task("ignored").state() == "unseen"  # type: ignore[union-attr]  # it is there


def test_a_long_task_is_not_ended_while_its_worker_says_it_runs() -> None:
    stage = _beats(Stage(), 4, W1)
    _begin(stage, "long")
    _beats(stage, 600, W1, active=1)
    assert stage.cluster.task("long").state() == "running"  # type: ignore[union-attr]  # it is there


def test_clock_skew_is_judged_by_the_quickest_delivery() -> None:
    stage = Stage()
    for number, delay in enumerate([3.0, 0.0, 5.0, 1.0]):
        stage.play([beat(number * 2 + 7.0 - delay)]).wait(2)
    skew = stage.cluster.worker(W1).clock_skew  # type: ignore[union-attr]  # it is there
    assert skew == 7.0


def test_an_old_heartbeat_that_was_overtaken_changes_nothing() -> None:
    stage = Stage().play([beat(10, active=3), beat(8, active=9)])
    assert stage.cluster.worker(W1).active == 3  # type: ignore[union-attr]  # it is there


def test_no_event_is_missing_when_all_arrive() -> None:
    stage = _beats(Stage(), 4, W1)
    for number in range(1, 31):
        _begin(stage, f"u{number}")
        stage.wait(1)
        _beats(stage, 2, W1, processed=number, active=1)
    assert stage.cluster.worker(W1).missing_events == 0  # type: ignore[union-attr]  # it is there


def test_a_worker_that_sends_no_task_events_shows() -> None:
    stage = _beats(Stage(), 4, W1)
    for processed in range(0, 60, 2):
        _beats(stage, 2, W1, processed=processed)
    missing = stage.cluster.worker(W1).missing_events  # type: ignore[union-attr]  # it is there
    assert missing is not None
    assert 40 <= missing <= 58  # the last ten seconds have not settled


def test_events_that_come_late_are_not_missing() -> None:
    stage = _beats(Stage(), 4, W1)
    # The heartbeat counts the task, its task-started arrives five seconds later in a batch.
    _beats(stage, 6, W1, processed=1, active=1)
    stage.play([event("task-started", 4.5, "u1", hostname=W1, pid=7)])
    _beats(stage, 60, W1, processed=1, active=1)
    assert stage.cluster.worker(W1).missing_events == 0  # type: ignore[union-attr]  # it is there


def test_a_heartbeat_between_counting_and_stamping_is_no_miss() -> None:
    stage = _beats(Stage(), 4, W1)
    at = stage.now - 1000.0
    stage.play([beat(at, processed=1)])
    stage.play([event("task-started", at + 0.001, "u1", hostname=W1, pid=7)])
    stage.wait(2)
    _beats(stage, 60, W1, processed=1)
    assert stage.cluster.worker(W1).missing_events == 0  # type: ignore[union-attr]  # it is there


def test_a_restarted_worker_keeps_the_account() -> None:
    stage = _beats(Stage(), 4, W1)
    _beats(stage, 30, W1, processed=5)
    before = stage.cluster.worker(W1).missing_events  # type: ignore[union-attr]  # it is there
    assert before == 5
    stage.play([beat(stage.now - 1000.0, kind="online", pid=8)])
    _begin(stage, "u1", pid=8)
    stage.wait(1)
    _beats(stage, 40, W1, processed=1, pid=8)
    assert stage.cluster.worker(W1).missing_events == 5  # type: ignore[union-attr]  # it is there


def test_a_worker_that_was_there_before_us_is_not_blamed_for_the_past() -> None:
    stage = _beats(Stage(), 60, W1, processed=1_000_000)
    assert stage.cluster.worker(W1).missing_events == 0  # type: ignore[union-attr]  # it is there


def test_a_recorded_worker_with_silent_tasks() -> None:
    """opted_out: the task has send_events=False, so nothing but task-sent comes of it."""
    stage = Stage()
    for received_at, each in recorded("opted_out"):
        stage.cluster.apply(each, received_at, received_at)
    offline = each
    worker = stage.cluster.worker(offline.hostname)
    assert worker is not None
    assert worker.processed == 1


def test_workers_are_bounded() -> None:
    stage = Stage(max_workers=10)
    for number in range(25):
        stage.play([beat(number, f"w{number}@h")]).wait(1)
    assert len(stage.cluster.workers) == 10
    assert stage.cluster.workers.evictions == 15
    assert stage.cluster.worker("w24@h") is not None
