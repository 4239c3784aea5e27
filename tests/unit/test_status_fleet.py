"""The rows of workers and queues, in their order and cut; and what counts as loss."""

import pytest

from tests.support.tracking import Stage, event
from z4j_exporter.fleet.model import WorkerFacts
from z4j_exporter.metrics.catalogue import exporter, groups, journal, workers
from z4j_exporter.metrics.store import Family, FamilySnapshot, label_text
from z4j_exporter.queues.model import QueuePoll, QueueReading
from z4j_exporter.status.fleet import QUEUES, WORKERS, WORKERS_DOWN, queue_rows, worker_rows
from z4j_exporter.status.losses import counted, losses
from z4j_exporter.web.status import Loss


def beat(name: str, **fields: object) -> object:
    return event("worker-heartbeat", hostname=name, **{"active": 0, "processed": 0, **fields})


# -- workers -------------------------------------------------------------------------------------


def test_a_worker_s_row_has_what_it_told_and_nothing_else() -> None:
    stage = Stage().play(
        [
            beat("full@h", active=2, processed=7, loadavg=[0.5, 1, 2], sw_ver="5.4.0"),
            event("worker-heartbeat", hostname="bare@h"),
        ]
    )
    facts = [WorkerFacts("full@h", pool="threads", pool_size=8), WorkerFacts("gone@h")]
    full, bare = worker_rows(stage.cluster, facts, stage.now + 3)
    assert full == ("full@h", True, 2, 8, "threads", 7, 0.5, 3.0, 0, "5.4.0")
    assert bare == ("bare@h", True, None, None, "", None, None, 3.0, None, "")


def test_the_last_to_go_come_first_then_the_busiest() -> None:
    stage = Stage(worker_timeout_seconds=10)
    stage.play([beat("old@h")]).wait(15)
    stage.play([beat("late@h")]).wait(15)
    stage.play(
        [beat("idle@h"), beat("busy@h", active=5), event("worker-heartbeat", hostname="m@h")]
    )
    rows = worker_rows(stage.cluster, [], stage.now)
    assert [row.name for row in rows] == ["late@h", "old@h", "busy@h", "idle@h", "m@h"]
    assert [row.up for row in rows] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("down", "up", "told_down", "told_up"),
    [
        (WORKERS_DOWN + 5, WORKERS + 5, WORKERS_DOWN, WORKERS - WORKERS_DOWN),
        (WORKERS + 5, 3, WORKERS - 3, 3),
        (2, WORKERS + 5, 2, WORKERS - 2),
        (WORKERS + 5, 0, WORKERS, 0),
    ],
)
def test_those_that_went_do_not_hide_those_that_are_there(
    down: int, up: int, told_down: int, told_up: int
) -> None:
    stage = Stage(worker_timeout_seconds=10)
    stage.play([beat(f"d{number}@h") for number in range(down)]).wait(15)
    stage.play([beat(f"u{number}@h") for number in range(up)])
    rows = worker_rows(stage.cluster, [], stage.now)
    assert [row.up for row in rows] == [False] * told_down + [True] * told_up


# -- queues --------------------------------------------------------------------------------------


def poll(*readings: QueueReading) -> QueuePoll:
    return QueuePoll(True, "redis", 0.1, 1000.0, readings)


def ages(reading: QueueReading) -> float | None:
    return reading.oldest_age_seconds


def test_the_oldest_message_first_then_the_longest() -> None:
    rows, total = queue_rows(
        poll(
            QueueReading("empty", {"": 0}),
            QueueReading("long", {"0": 5, "3": 6}),
            QueueReading("young", {"": 900}, oldest_age_seconds=1.0),
            QueueReading("old", {"": 1}, unacked=4, consumers=2, oldest_age_seconds=50.0),
            QueueReading("unread"),
        ),
        None,
        ages,
    )
    assert [row.name for row in rows] == ["old", "young", "long", "empty", "unread"]
    assert total == 5
    assert rows[0] == ("old", 1, 4, 50.0, None, None, 2)
    assert rows[2].ready == 11
    assert rows[4].ready is None


def test_who_takes_from_a_queue_and_who_does_not() -> None:
    facts = [
        WorkerFacts("a@h", pool_size=4, queues=("q", "only-told")),
        WorkerFacts("b@h", pool_size=2, queues=("q",)),
        WorkerFacts("c@h", queues=("unsized",)),
        WorkerFacts("d@h"),
    ]
    readings = poll(QueueReading("q", {"": 1}), QueueReading("nobody", {"": 2}))
    rows, total = queue_rows(readings, facts, ages)
    found = {row.name: (row.ready, row.workers, row.pool_size) for row in rows}
    assert found == {
        "q": (1, 2, 6),
        "nobody": (2, 0, 0),
        "only-told": (None, 1, 4),
        "unsized": (None, 1, None),
    }
    assert total == 4
    unknown, _ = queue_rows(readings, None, ages)
    assert {(row.workers, row.pool_size) for row in unknown} == {(None, None)}
    assert queue_rows(None, None, ages) == ([], 0)


def test_queues_are_cut_and_their_number_is_told() -> None:
    readings = poll(*(QueueReading(f"q{n}", {"": n}) for n in range(QUEUES + 30)))
    rows, total = queue_rows(readings, [], ages)
    assert (len(rows), total) == (QUEUES, QUEUES + 30)
    assert rows[0].name == f"q{QUEUES + 29}"


# -- losses --------------------------------------------------------------------------------------


def one(family: Family, value: float, *labels: str) -> FamilySnapshot:
    return FamilySnapshot(family, [(label_text(family.labels, labels), value)])


def test_what_is_not_lost_is_left_out() -> None:
    assert (
        losses(
            [
                one(exporter.SOURCE_GAPS, 0, "redis"),
                one(exporter.DUPLICATE_EVENTS, 5),
                one(exporter.LATE_EVENTS, 5),
                one(exporter.EVENTS, 5, "task-sent"),
                counted(exporter.TRACKER_EVICTIONS, {"succeeded": 9, "failed": 1, "lost": 1}),
                counted(groups.GROUP_EVICTIONS, {"finished": 7}),
                counted(journal.BACKEND_LOOKUPS, {"group": 3, "missing": 2}),
            ]
        )
        == []
    )


def test_each_loss_names_its_counter_and_its_reasons() -> None:
    found = losses(
        [
            counted(exporter.SPANS_DROPPED, {"late": 2, "refused": 9, "error": 0}),
            counted(workers.WORKER_MISSING, {"": 12}),
            one(exporter.SOURCE_GAPS, 3, "redis"),
            counted(exporter.EVENTS_REFUSED, {"a": 1, "b": 2, "c": 3, "d": 4}),
            counted(exporter.TRACKER_EVICTIONS, {"succeeded": 9, "running": 2, "waiting": 3}),
        ]
    )
    assert found == [
        Loss(
            "celery_exporter_source_gaps_total",
            "times the connection broke: events may be missing",
            3,
        ),
        Loss(
            "celery_exporter_events_refused_total",
            "messages and events that could not be read (d 4, c 3, b 2, …)",
            10,
        ),
        Loss(
            workers.WORKER_MISSING.name,
            "events that workers sent, by their count, and never came",
            12,
        ),
        Loss(
            "celery_exporter_tracker_evictions_total",
            "tasks in progress and workers forgotten to make room (waiting 3, running 2)",
            5,
        ),
        Loss(
            "celery_exporter_spans_dropped_total",
            "spans that were not made or not delivered (refused 9, late 2)",
            11,
        ),
    ]
