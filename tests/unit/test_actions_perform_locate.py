"""Who runs a task and whether it can be ended there, from answers of every kind."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from z4j_exporter.actions.celery_ask import Answer, Question
from z4j_exporter.actions.celery_deadline import Call, Gate, TooLateError
from z4j_exporter.actions.locate import Located, locate, refuse_unless_terminable
from z4j_exporter.actions.model import ActionError

INFO = {"id": "t", "args": [1], "kwargs": {}, "type": "name"}


def pool(kind: str) -> dict[str, Any]:
    return {"pool": {"implementation": f"celery.concurrency.{kind}:TaskPool"}}


def located(values: dict[str, dict[str, Any]]) -> Located:
    """``values``: what each worker answers to each command."""

    def ask(questions: Sequence[Question], **_: Any) -> list[Answer]:
        return [
            Answer(question, worker, answers[question.command], "application/json")
            for worker, answers in values.items()
            for question in questions
            if question.command in answers
            and (question.destination is None or worker in question.destination)
        ]

    return locate(ask, "t", deadline=time.monotonic() + 1)


def refusal(values: dict[str, dict[str, Any]]) -> ActionError:
    with pytest.raises(ActionError) as refused:
        refuse_unless_terminable(located(values))
    return refused.value


ACTIVE = {"query_task": {"t": ["active", INFO]}, "active": [{**INFO, "args": "(1,)"}]}


@pytest.mark.parametrize("kind", ["prefork", "gevent", "eventlet"])
def test_pools_that_can_end_one_task(kind: str) -> None:
    found = located({"w1": {**ACTIVE, "stats": pool(kind)}, "w2": {"query_task": {}, "active": []}})
    held = refuse_unless_terminable(found)
    assert (held.worker, held.pool, held.args_repr) == ("w1", kind, "(1,)")
    assert found.answered == 2


@pytest.mark.parametrize(
    ("stats", "kind"),
    [
        (pool("thread"), "pool-cannot-terminate"),
        (pool("solo"), "pool-cannot-terminate"),
        (pool("aio"), "pool-cannot-terminate"),
        ({"pool": {"implementation": "mine:Pool"}}, "pool-cannot-terminate"),
        ({"pool": {}}, "pool-unknown"),
        ({"pool": "?"}, "pool-unknown"),
        ([], "pool-unknown"),
        (None, "pool-unknown"),
    ],
)
def test_pools_that_cannot_or_do_not_say(stats: Any, kind: str) -> None:
    error = refusal({"w1": {**ACTIVE, "stats": stats}})
    assert (error.kind, error.status, error.unknown) == (kind, 409, False)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({}, "no-worker-answered"),
        ({"w1": {"query_task": {}}}, "not-running"),
        ({"w1": {"query_task": None}}, "not-running"),
        ({"w1": {"query_task": {"t": "active"}}}, "not-running"),
        ({"w1": {"query_task": {"t": ["active", None]}}}, "not-running"),
        ({"w1": {"query_task": {"t": ["reserved", INFO]}}}, "not-running"),
        ({"w1": {"query_task": {"other": ["active", INFO]}}}, "not-running"),
        ({"w1": ACTIVE, "w2": ACTIVE}, "runs-twice"),
    ],
)
def test_tasks_that_nobody_runs(answers: dict[str, dict[str, Any]], kind: str) -> None:
    assert refusal(answers).kind == kind


def test_who_is_late_may_not_begin() -> None:
    gate = Gate()
    gate.go_through()
    assert gate.close()
    late = Gate()
    assert not late.close()
    with pytest.raises(TooLateError):
        late.go_through()


def test_a_call_returns_raises_or_is_late() -> None:
    def fail() -> None:
        raise KeyError("x")

    assert Call(lambda: 7, "z4j-test").result(5) == 7
    with pytest.raises(KeyError):
        Call(fail, "z4j-test").result(5)
    may_end, ended = threading.Event(), threading.Event()
    with pytest.raises(TimeoutError):
        Call(lambda: may_end.wait(10), "z4j-test", after=ended.set).result(0.0)
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(10)
