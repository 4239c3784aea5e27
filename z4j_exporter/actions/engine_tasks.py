"""What the exporter remembers of tasks, as far as actions need it: name, queue, state."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from z4j_exporter.actions.engine_request import TASK_STATES, Filter, TaskState
from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.scopes import within
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.table import Task

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
#: Runs a question in the thread that owns the tracker (see Applier.ask).
Ask = Callable[[Callable[[], object], float], object]

_KNOWN_STATES: dict[str, TaskState] = {state: state for state in TASK_STATES}
#: Seconds that the tracker's thread is waited for.
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What events told of a task. Times are epoch seconds by the sender's clock."""

    task_id: str
    state: TaskState = "unknown"
    name: str | None = None
    queue: str | None = None
    worker: str | None = None
    #: Class of the exception that ended it, where it is remembered.
    exception: str | None = None
    ended_at: float | None = None
    root_id: str | None = None
    parent_id: str | None = None


class Tasks(Protocol):
    """The tasks that are remembered."""

    def get(self, task_id: str) -> TaskFacts | None:
        """Return a task, None when nothing is remembered of it. Raises ActionError (503)."""

    def get_all(self, task_ids: Sequence[str]) -> dict[str, TaskFacts]:
        """Return those of several tasks that are remembered. Raises ActionError (503)."""

    def find(self, wanted: Filter, limit: int) -> Sequence[TaskFacts]:
        """Return the tasks that fit, the oldest end first. Raises ActionError (422, 503)."""


class TrackedTasks:
    """The tracker's tasks; ``ask`` and ``cluster`` are the applier's."""

    def __init__(self, ask: Ask, cluster: Callable[[], Cluster]) -> None:
        self._ask = ask
        self._cluster = cluster

    def get(self, task_id: str) -> TaskFacts | None:
        """Return a task; see Tasks."""

        def look() -> TaskFacts | None:
            task = self._cluster().tasks.table.get(task_id)
            return facts_of(task) if task is not None else None

        return cast("TaskFacts | None", self._answer(look))

    def get_all(self, task_ids: Sequence[str]) -> dict[str, TaskFacts]:
        """Return those that are remembered; see Tasks."""

        def look() -> dict[str, TaskFacts]:
            table = self._cluster().tasks.table
            found = (table.get(task_id) for task_id in task_ids)
            return {task.uuid: facts_of(task) for task in found if task is not None}

        return cast("dict[str, TaskFacts]", self._answer(look))

    def find(self, wanted: Filter, limit: int) -> Sequence[TaskFacts]:
        """Return the tasks that fit; see Tasks."""

        def look() -> Sequence[TaskFacts]:
            table = self._cluster().tasks.table
            finished = wanted.state not in ("waiting", "reserved", "running", "unknown")
            tasks = table.finished.values() if finished else table.active.values()
            return _first(fitting(map(facts_of, tasks), wanted), limit)

        return cast("Sequence[TaskFacts]", self._answer(look))

    def _answer(self, look: Callable[[], object]) -> object:
        try:
            return self._ask(look, _ANSWER_SECONDS)
        except (TimeoutError, RuntimeError) as error:
            logger.warning("the tracker did not answer: %s", type(error).__name__)
            raise ActionError(
                "tracker-busy",
                503,
                "What is remembered of tasks cannot be read now; nothing was done.",
                hint="Try again; the exporter's log says more.",
            ) from None


def facts_of(task: Task) -> TaskFacts:
    """Return what is known of a tracked task. For the tracker's thread."""
    last = task.attempts[-1]
    state = task.state()
    return TaskFacts(
        task_id=task.uuid,
        state=_KNOWN_STATES.get(state, "unknown"),
        name=task.name,
        queue=task.queue or last.queue,
        worker=last.worker,
        exception=last.notes.detail or None if last.notes is not None else None,
        ended_at=task.ended_at,
        root_id=task.root_id,
        parent_id=task.parent_id,
    )


def fitting(tasks: Iterator[TaskFacts], wanted: Filter) -> Iterator[TaskFacts]:
    """Yield the tasks that a filter takes.

    Raises ActionError 422 (exception-not-remembered) at the end, when it asks for an exception and
    of none that fits otherwise the exception is remembered.
    """
    named = [wanted.task] if wanted.task is not None else []
    unremembered = remembered = 0
    for task in tasks:
        if task.state != wanted.state or not within(task.name, named):
            continue
        if wanted.queue is not None and task.queue != wanted.queue:
            continue
        if not _in_time(task.ended_at, wanted):
            continue
        if wanted.exception is not None:
            remembered += task.exception is not None
            unremembered += task.exception is None
            if task.exception != wanted.exception:
                continue
        yield task
    if unremembered and not remembered:
        raise ActionError(
            "exception-not-remembered",
            422,
            "The exceptions of tasks are not remembered, so they cannot be chosen by them.",
            hint="They are remembered with --otlp-endpoint or --trace-memory-spans.",
        )


def _in_time(ended_at: float | None, wanted: Filter) -> bool:
    if wanted.since is None and wanted.until is None:
        return True
    if ended_at is None:
        return False
    after = wanted.since is None or ended_at >= wanted.since
    return after and (wanted.until is None or ended_at < wanted.until)


def _first(tasks: Iterator[TaskFacts], limit: int) -> list[TaskFacts]:
    found = []
    for task in tasks:
        found.append(task)
        if len(found) >= limit:
            break
    return found
