"""What the tracker says of recorded real histories: exact, label by label."""

import pytest

from tests.support.tracking import play_recording

Q = "celery"
WEB = "web"


def _full(name: str, queue: str = Q, times: int = 1) -> dict[tuple[str, ...], int]:
    """The counts of tasks that are sent, received, started and succeed."""
    kinds = ("sent", "received", "started", "succeeded")
    return {(kind, name, queue, ""): times for kind in kinds}


def _begun(name: str, times: int = 1, queue: str = Q) -> dict[tuple[str, ...], int]:
    return {(kind, name, queue, ""): times for kind in ("sent", "received", "started")}


VISIT_FAILED = _begun("web.visit", 4, WEB) | {
    ("retried", "web.visit", WEB, "HTTPError"): 3,
    ("failed", "web.visit", WEB, "HTTPError"): 1,
}
REJECTED = _begun("web.visit", 1, WEB) | {
    ("failed", "web.visit", WEB, "Reject"): 1,
    ("rejected", "web.visit", WEB, "false"): 1,
}
EXPIRED = {
    ("sent", "web.visit", WEB, ""): 3,
    ("received", "web.visit", WEB, ""): 3,
    ("started", "web.visit", WEB, ""): 2,
    ("retried", "web.visit", WEB, "HTTPError"): 2,
    ("revoked", "web.visit", WEB, "expired"): 1,
}
NESTED = _full("web.visit", WEB) | _full("web.extract", WEB) | _full("web.store", WEB)

EXPECTED = {
    "visit_nested": NESTED,
    "visit_nested.rabbitmq": NESTED,
    "retry_and_fail": VISIT_FAILED,
    "retry_and_fail.rabbitmq": VISIT_FAILED,
    "rejected": REJECTED,
    "rejected.rabbitmq": REJECTED,
    "revoked_by_expiry": EXPIRED,
    "revoked_by_expiry.rabbitmq": EXPIRED,
    # The second of the two task-failed is a repeat.
    "hard_time_limit": _begun("end.hard_limit")
    | {("failed", "end.hard_limit", Q, "TimeLimitExceeded"): 1},
    "soft_time_limit": _begun("end.soft_limit")
    | {("failed", "end.soft_limit", Q, "SoftTimeLimitExceeded"): 1},
    "ignored": _begun("end.ignored"),
    "requeued_once": {
        ("sent", "end.requeued", Q, ""): 1,
        ("received", "end.requeued", Q, ""): 2,
        ("started", "end.requeued", Q, ""): 2,
        ("rejected", "end.requeued", Q, "true"): 1,
        ("succeeded", "end.requeued", Q, ""): 1,
    },
    # One uuid under two names.
    "replaced": _begun("work.replaced") | _full("math.add"),
    "child_killed": _begun("end.child_killed")
    | {("failed", "end.child_killed", Q, "WorkerLostError"): 1},
    "killed_after_success": _full("end.killed_after_success"),
    "system_exit": _begun("errors.raise") | {("failed", "errors.raise", Q, "WorkerLostError"): 1},
    "terminated": _begun("work.sleep") | {("revoked", "work.sleep", Q, "terminated"): 1},
    "revoked_before_start": {
        ("sent", "math.add", Q, ""): 1,
        ("received", "math.add", Q, ""): 1,
        ("revoked", "math.add", Q, "revoked"): 1,
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_history_is_counted_exactly(name: str) -> None:
    stage = play_recording(name)
    assert stage.counts() == EXPECTED[name]


def test_a_task_revoked_by_two_workers_counts_once() -> None:
    stage = play_recording("revoked_by_two")
    revoked = [t for t in stage.tasks if t.kind == "revoked"]
    assert [(t.worker, t.repeat) for t in revoked] == [("w1@host1", False), ("w2@host2", True)]


@pytest.mark.parametrize(
    ("name", "attempts"),
    [("retry_and_fail", 4), ("visit_nested", 1), ("requeued_once", 1), ("custom_ids", 1)],
)
def test_attempts_are_told_at_the_final_end(name: str, attempts: int) -> None:
    finals = [t for t in play_recording(name).tasks if t.final]
    assert finals
    assert all(t.attempts == attempts for t in finals)
    assert all(t.end_to_end is not None and t.end_to_end > 0 for t in finals)


def test_queue_wait_leaves_the_retry_countdown_out() -> None:
    waits = [t.queue_wait for t in play_recording("retry_and_fail").tasks if t.kind == "started"]
    # The countdowns are 0.1 s each: a wait that counted them would be longer.
    assert len(waits) == 4
    assert all(wait is not None and wait < 0.09 for wait in waits)


def test_an_eta_is_no_waiting_time() -> None:
    started = [t for t in play_recording("eta").tasks if t.kind == "started"]
    assert started
    assert all(t.queue_wait is not None and t.queue_wait < 0.9 for t in started)
    assert all(t.prefetch_wait is not None and t.prefetch_wait < 0.9 for t in started)


def test_a_worker_that_dies_and_the_redelivery_on_another() -> None:
    stage = play_recording("worker_killed_redelivered")
    kinds = [(t.kind, t.worker) for t in stage.tasks if t.kind in ("started", "succeeded")]
    assert kinds == [
        ("started", "w1@host1"),
        ("started", "w2@host2"),
        ("succeeded", "w2@host2"),
    ]


def test_without_task_sent_the_queue_stays_empty() -> None:
    counts = play_recording("without_sent").counts()
    assert {key[2] for key in counts} == {""}
    assert {key[1] for key in counts} == {"web.visit"}


def test_exceptions_of_every_odd_form_get_their_class() -> None:
    stage = play_recording("odd_exceptions")
    found = sorted(t.detail for t in stage.tasks if t.kind == "failed")
    assert found == [
        "BrokenRepr",
        "ExceptionGroup",
        "JSONDecodeError",
        "Local",
        "Nested",
        "OddRepr",
        "RuntimeError",
        "ValueError",
    ]
