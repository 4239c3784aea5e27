"""Finds out which worker holds a task, and whether that worker's pool can terminate it."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from z4j_exporter.actions.celery_ask import Answer, Question
from z4j_exporter.actions.model import ActionError

#: Pools that can end one task (celery/concurrency: ``signal_safe`` or terminate_job). The others
#: raise NotImplementedError, after the backend was told that the task is revoked.
_TERMINATING: Final = frozenset({"prefork", "gevent", "eventlet"})

#: Asks workers: questions, deadline (monotonic), enough.
Asks = Callable[..., Sequence[Answer]]


@dataclass(frozen=True, slots=True)
class Held:
    """A task in a worker's hands."""

    worker: str
    #: active: it runs; reserved: it waits for a free process; scheduled: for its ETA.
    phase: str
    #: As inspect query_task answers: args and kwargs as JSON has them.
    info: dict[str, Any]
    #: prefork, threads, solo, gevent, eventlet; "" when the worker did not tell.
    pool: str = ""
    #: What ``active`` shows of it: reprs made by the sender. None where it does not run.
    args_repr: str | None = None
    kwargs_repr: str | None = None

    @property
    def can_terminate(self) -> bool:
        """Whether its pool can end one task."""
        return self.pool in _TERMINATING


@dataclass(frozen=True, slots=True)
class Located:
    """Who holds a task; ``answered`` says how many workers were heard."""

    held: tuple[Held, ...]
    answered: int
    #: Workers whose answer could not be read: in another serializer than JSON.
    unreadable: int = 0


def locate(ask: Asks, task_id: str, expected: Collection[str] = (), *, deadline: float) -> Located:
    """Ask all workers who holds a task, and the one that does for its pool.

    ``expected``: when all of these have answered, nobody else is waited for.

    Raises ActionError: 503 when the broker cannot be asked.
    """
    query = Question("query_task", {"ids": [task_id]})
    shown = Question("active", {"safe": True})

    def enough(answers: Sequence[Answer]) -> bool:
        holders = {a.worker for a in answers if a.question is query and _info(a, task_id)}
        showed = {a.worker for a in answers if a.question is shown}
        if holders and holders <= showed:
            return True
        return bool(expected) and showed.issuperset(expected)

    # Half of the time for the first question, so that some is left for the second.
    middle = (time.monotonic() + deadline) / 2
    answers = ask([query, shown], deadline=middle, enough=enough)
    held = [h for a in answers if a.question is query and (h := _held(a, task_id))]
    held = [_with_reprs(one, answers, shown, task_id) for one in held]
    if held:
        held = _with_pools(ask, held, deadline)
    answered = {a.worker for a in answers if a.worker}
    unreadable = sum(1 for a in answers if a.value is None)
    return Located(tuple(held), len(answered), unreadable)


def refuse_unless_terminable(found: Located) -> Held:
    """Return the one worker that runs the task, if its pool can end it.

    Raises ActionError: 504 when nobody answered, 409 where it does not run, where several run it,
    where the pool cannot end one task, or did not tell what it is.
    """
    if not found.answered:
        raise no_answer("nothing was sent")
    running = [one for one in found.held if one.phase == "active"]
    if not running:
        phase = found.held[0].phase if found.held else ""
        raise ActionError(
            "not-running",
            409,
            f"no worker that answered runs the task (it is {phase})"
            if phase
            else "no worker that answered runs the task",
            hint="Cancel it without terminate: then it does not start.",
        )
    if len(running) > 1:
        raise ActionError("runs-twice", 409, "several workers run a task of this id")
    if not running[0].pool:
        raise ActionError(
            "pool-unknown", 409, "the worker did not tell whether its pool can end one task"
        )
    if not running[0].can_terminate:
        raise ActionError(
            "pool-cannot-terminate",
            409,
            f"the task runs in a pool of kind {running[0].pool}, which cannot end one task",
            hint="Only prefork, gevent and eventlet can. Nothing was sent.",
        )
    return running[0]


def no_answer(what: str, *, sent: bool = False) -> ActionError:
    """Return the failure of a question that no worker answered."""
    return ActionError(
        "no-worker-answered",
        504,
        f"no worker answered in time: the state is unknown; {what}",
        hint="A worker with a solo pool does not answer while it works, nor does one with "
        "worker_enable_remote_control=False.",
        unknown=sent,
    )


def _info(answer: Answer, task_id: str) -> tuple[str, dict[str, Any]] | None:
    """Return phase and info from an answer to query_task: ``{id: [phase, info]}``."""
    value = answer.value.get(task_id) if isinstance(answer.value, dict) else None
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict):
        return str(value[0]), value[1]
    return None


def _held(answer: Answer, task_id: str) -> Held | None:
    found = _info(answer, task_id)
    return Held(answer.worker, *found) if found else None


def _with_reprs(one: Held, answers: Sequence[Answer], shown: Question, task_id: str) -> Held:
    for answer in answers:
        if answer.question is not shown or answer.worker != one.worker:
            continue
        for info in answer.value if isinstance(answer.value, list) else ():
            if isinstance(info, dict) and info.get("id") == task_id:
                return replace(
                    one, args_repr=_text(info.get("args")), kwargs_repr=_text(info.get("kwargs"))
                )
    return one


def _with_pools(ask: Asks, held: Sequence[Held], deadline: float) -> list[Held]:
    destination = tuple(one.worker for one in held)
    stats = Question("stats", destination=destination)
    answers = ask([stats], deadline=deadline, enough=lambda got: len(got) >= len(destination))
    pools = {a.worker: _pool(a.value) for a in answers}
    return [replace(one, pool=pools.get(one.worker, "")) for one in held]


def _pool(stats: object) -> str:
    """Return the kind of a pool: ``celery.concurrency.prefork:TaskPool`` is prefork."""
    pool = stats.get("pool") if isinstance(stats, dict) else None
    implementation = pool.get("implementation") if isinstance(pool, dict) else None
    if not isinstance(implementation, str):
        return ""
    kind = implementation.partition(":")[0].rpartition(".")[2]
    return {"thread": "threads", "aio": "asyncio"}.get(kind, kind)[:40]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
