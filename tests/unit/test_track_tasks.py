"""The task tracker's rules, one at a time, with made events and a made clock."""

import pytest

from tests.support.tracking import T0, Stage, event, names

SENT = {"name": "a.task", "queue": "q1", "retries": 0}
NAMED = {"name": "a.task", "retries": 0}


def _run(stage: Stage, uuid: str = "u1", at: float = 0.0) -> Stage:
    return stage.play(
        [
            event("task-sent", at, uuid, **SENT),
            event("task-received", at + 1, uuid, **NAMED),
            event("task-started", at + 3, uuid),
            event("task-succeeded", at + 7, uuid, runtime=4.5),
        ]
    )


def test_durations_of_a_plain_task() -> None:
    stage = _run(Stage())
    assert names(stage.tasks) == ["sent", "received", "started", "succeeded"]
    started, succeeded = stage.tasks[2:]
    assert (started.queue_wait, started.prefetch_wait) == (3.0, 2.0)
    assert (succeeded.runtime, succeeded.end_to_end, succeeded.attempts) == (4.5, 7.0, 1)
    assert succeeded.final
    assert all((t.name, t.queue) == ("a.task", "q1") for t in stage.tasks)


def test_sent_after_received_waits_for_the_queue_then_keeps_the_order() -> None:
    stage = Stage().play([event("task-received", 1, **NAMED), event("task-started", 2)])
    assert stage.told == []  # held: the queue is not known yet
    stage.play([event("task-sent", 0, **SENT)])
    assert names(stage.tasks) == ["received", "started", "sent"]
    assert {t.queue for t in stage.tasks} == {"q1"}
    assert stage.tasks[2].queue_wait == 2.0  # told by the event that completes it


def test_what_waits_for_a_name_is_told_after_two_seconds() -> None:
    stage = Stage().play([event("task-succeeded", 0, runtime=1.0)])
    assert stage.wait(1).told == []
    stage.wait(2)
    assert [(t.name, t.queue) for t in stage.tasks] == [("unknown", "")]


def test_a_task_without_sent_gets_the_only_queue_its_name_was_ever_sent_to() -> None:
    stage = _run(Stage(), "u1")
    stage.play([event("task-received", 20, "u2", **NAMED)]).wait(3)
    assert stage.tasks[-1].queue == "q1"
    stage.play([event("task-sent", 30, "u3", name="a.task", queue="q2", retries=0)])
    stage.play([event("task-received", 40, "u4", **NAMED)]).wait(3)
    assert stage.tasks[-1].queue == ""  # it could be either: not known


def test_nothing_waits_where_nobody_sends_task_sent() -> None:
    stage = Stage().play([event("task-received", 0, "u0", **NAMED)]).wait(61)
    told = len(stage.told)
    stage.play([event("task-received", 70, "u1", **NAMED)])
    assert len(stage.told) == told + 1


def test_a_retry_with_a_countdown_waits_from_its_eta() -> None:
    stage = _run_until_retry(Stage())
    # Sent at 5 with an eta at 25, started at 26.
    stage.play(
        [
            event("task-sent", 5, **SENT | {"retries": 1}, eta="2026-09-21T14:13:45+00:00"),
            event("task-retried", 5.1, exception="OSError('x')"),
            event("task-received", 6, **NAMED | {"retries": 1}, eta="2026-09-21T14:13:45+00:00"),
            event("task-started", 26),
            event("task-succeeded", 27, runtime=1.0),
        ]
    )
    started, ended = stage.tasks[-2:]
    assert T0 + 25 == 1790000025.0
    assert started.queue_wait == pytest.approx(1.0)
    assert started.prefetch_wait == pytest.approx(1.0)
    assert (ended.attempts, ended.end_to_end) == (2, 27.0)


def _run_until_retry(stage: Stage) -> Stage:
    return stage.play(
        [
            event("task-sent", 0, **SENT),
            event("task-received", 1, **NAMED),
            event("task-started", 2),
        ]
    )


def test_retried_closes_the_oldest_open_attempt() -> None:
    stage = _run_until_retry(Stage())
    # The next attempt overtakes the retried of the first one.
    stage.play(
        [
            event("task-received", 5, **NAMED | {"retries": 1}),
            event("task-started", 6),
            event("task-retried", 4, exception="OSError('x')"),
        ]
    )
    retried = stage.tasks[-1]
    assert (retried.runtime, retried.runtime_outcome, retried.detail) == (2.0, "retried", "OSError")
    assert stage.cluster.task("u1").state() == "running"  # type: ignore[union-attr]  # it is there


def test_a_second_failure_is_a_repeat_and_ends_nothing_again() -> None:
    stage = _run_until_retry(Stage())
    stage.play(
        [event("task-failed", 3, exception="A()"), event("task-failed", 3.1, exception="B()")]
    )
    first, second = stage.tasks[-2:]
    assert (first.repeat, first.final, first.attempts) == (False, True, 1)
    assert (second.repeat, second.final, second.runtime) == (True, False, None)


def test_a_redelivery_after_the_end_is_a_new_run() -> None:
    stage = _run(Stage())
    stage.play(
        [
            event("task-received", 20, **NAMED, hostname="w2@host"),
            event("task-started", 21, hostname="w2@host"),
        ]
    )
    assert stage.cluster.task("u1").state() == "running"  # type: ignore[union-attr]  # it is there
    stage.play([event("task-succeeded", 23, runtime=2.0, hostname="w2@host")])
    assert [t.final for t in stage.tasks if t.kind == "succeeded"] == [True, True]


def test_an_event_older_than_the_end_does_not_open_a_task_again() -> None:
    stage = _run(Stage())
    stage.play([event("task-started", 2.5)])
    assert stage.cluster.task("u1").state() == "succeeded"  # type: ignore[union-attr]  # it is there


def test_two_workers_that_run_one_task_at_a_time() -> None:
    """A visibility timeout that is too short: both run it, both ends belong to their own start."""
    stage = _run_until_retry(Stage())
    stage.play(
        [
            event("task-received", 10, **NAMED, hostname="w2@host"),
            event("task-started", 11, hostname="w2@host"),
            event("task-failed", 13, exception="E()", hostname="w1@host"),
            event("task-failed", 14, exception="E()", hostname="w2@host"),
        ]
    )
    first, second = stage.tasks[-2:]
    assert (first.runtime, second.runtime) == (11.0, 3.0)
    assert not second.repeat


def test_replace_keeps_the_uuid_under_another_name() -> None:
    stage = _run_until_retry(Stage())
    stage.play(
        [
            event("task-sent", 3, name="b.task", queue="q2", retries=0, parent_id="u1"),
            event("task-received", 4, name="b.task", retries=0, parent_id="u1"),
            event("task-started", 5),
            event("task-succeeded", 6, runtime=1.0),
        ]
    )
    assert [(t.kind, t.name, t.queue) for t in stage.tasks[-4:]] == [
        (kind, "b.task", "q2") for kind in ("sent", "received", "started", "succeeded")
    ]
    task = stage.cluster.task("u1")
    assert task is not None
    assert task.parent_id is None  # its own uuid is no parent


def test_clocks_that_differ_make_no_negative_durations() -> None:
    stage = Stage().play(
        [
            event("task-sent", 100, **SENT),
            event("task-received", 50, **NAMED),
            event("task-started", 40),
            event("task-failed", 30, exception="E()"),
        ]
    )
    values = [
        value
        for t in stage.tasks
        for value in (t.queue_wait, t.prefetch_wait, t.runtime, t.end_to_end)
        if value is not None
    ]
    assert values == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "eta", ["tomorrow", "2026-13-45", "0001-01-01T00:00:00+14:00", "", "9" * 400]
)
def test_an_eta_that_is_none_is_left_out(eta: str) -> None:
    stage = Stage().play([event("task-sent", 0, **SENT, eta=eta), event("task-started", 5)])
    assert stage.tasks[-1].queue_wait == 5.0


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"terminated": True, "signum": 15}, "terminated"),
        ({"expired": True}, "expired"),
        ({"terminated": False, "expired": False}, "revoked"),
        ({}, "revoked"),
    ],
)
def test_why_a_task_was_revoked(fields: dict[str, object], detail: str) -> None:
    fields.pop("signum", None)
    stage = Stage().play([event("task-sent", 0, **SENT), event("task-revoked", 1, **fields)])
    assert stage.tasks[-1].detail == detail
    assert stage.tasks[-1].final


def test_a_rejection_that_requeues_ends_nothing() -> None:
    stage = _run_until_retry(Stage()).play([event("task-rejected", 3, requeue=True)])
    assert (stage.tasks[-1].detail, stage.tasks[-1].final) == ("true", False)
    assert stage.cluster.task("u1").state() == "waiting"  # type: ignore[union-attr]  # it is there


def test_requeued_is_taken_as_the_manual_spells_it() -> None:
    stage = _run_until_retry(Stage()).play([event("task-rejected", 3, requeued=True)])
    assert stage.tasks[-1].detail == "true"


def test_a_cancelled_task_comes_back() -> None:
    stage = _run_until_retry(Stage())
    stage.play(
        [
            event("task-cancelled", 3),
            event("task-received", 4, **NAMED),
            event("task-started", 5),
            event("task-succeeded", 6, runtime=1.0),
        ]
    )
    assert [t.kind for t in stage.tasks if t.final] == ["succeeded"]


def test_a_success_without_runtime() -> None:
    stage = _run_until_retry(Stage()).play([event("task-succeeded", 9, runtime=None)])
    assert stage.tasks[-1].runtime == 7.0  # from its start


def test_a_task_is_given_up_after_a_day_of_silence() -> None:
    stage = Stage(give_up_seconds=600.0)
    _run_until_retry(stage)
    stage.play([event("task-sent", 0, "u2", **SENT)])
    stage.wait(700)
    lost = stage.tasks[-1]
    assert (lost.kind, lost.detail, lost.final) == ("lost", "timeout", True)
    assert stage.cluster.tasks.table.evictions == {"given_up": 1}
    assert stage.cluster.task("u2") is None


def test_the_oldest_finished_task_is_evicted_first() -> None:
    stage = Stage(max_tasks=100)
    for number in range(50):
        _run(stage, f"done{number}", number)
    for number in range(50):
        stage.play([event("task-sent", 100 + number, f"open{number}", **SENT)])
    stage.play([event("task-sent", 200, "one more", **SENT)])
    assert stage.cluster.task("done0") is None
    assert stage.cluster.task("done1") is not None
    assert stage.cluster.task("open0") is not None
    assert stage.cluster.tasks.table.evictions == {"succeeded": 1}


def test_a_task_that_retries_for_ever_stays_small() -> None:
    stage = Stage()
    for retry in range(200):
        fields = SENT | {"retries": retry}
        stage.play(
            [
                event("task-sent", retry * 10, **fields),
                event("task-received", retry * 10 + 1, **NAMED | {"retries": retry}),
                event("task-started", retry * 10 + 2),
                event("task-retried", retry * 10 + 3, exception="E()"),
            ]
        )
    task = stage.cluster.task("u1")
    assert task is not None
    assert len(task.attempts) <= 12
    assert stage.kinds() == {"sent": 200, "received": 200, "started": 200, "retried": 200}
    assert stage.cluster.tasks.duplicates == 0


def test_relatives_are_remembered_as_they_are_told() -> None:
    stage = Stage().play(
        [
            event("task-sent", 0, "root", **SENT, root_id="root", parent_id=None),
            event("task-sent", 1, "child", **SENT, root_id="root", parent_id="root"),
        ]
    )
    child = stage.cluster.task("child")
    root = stage.cluster.task("root")
    assert child is not None
    assert root is not None
    assert child.root_id is root.uuid  # one string in memory
    assert child.parent_id is root.uuid


def test_custom_events_are_counted_and_change_nothing() -> None:
    stage = Stage().play([event("task-progress", 0), event("order-shipped", 1, uuid=None)])
    assert stage.cluster.events["other"] == 2
    assert stage.told == []
