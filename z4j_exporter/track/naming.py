"""Holds a transition back until its task's name and queue are known, for a moment only.

Only task-sent carries the queue, and it is published after the message itself, so that a quick
worker's events overtake it; task-started and the ends carry no name. Without the wait, a race
would decide under which labels a task is counted.
"""

from collections import deque

from z4j_exporter.track.attempts import Attempt
from z4j_exporter.track.observer import Observer
from z4j_exporter.track.routes import Routes
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import UNKNOWN_TASK, Emit, TaskTransition

#: Seconds a transition waits at the most.
RESOLVE_SECONDS = 2.0


class Naming:
    """Fills name and queue in and hands transitions on, in each task's own order."""

    def __init__(self, emit: Emit, observer: Observer | None = None) -> None:
        self._emit = emit
        self._observer = observer
        self._held: deque[tuple[float, Task]] = deque()
        self.routes = Routes()

    def tell(self, task: Task, attempt: Attempt, step: TaskTransition, now: float) -> None:
        """Emit a transition of this attempt, or hold it until it can be named."""
        name = attempt.name or task.name
        queue = attempt.queue or task.queue
        if name is not None and (queue is not None or not self.routes.expects_sent(now)):
            if task.held is not None:
                self.release(task)
            step.name = name
            step.queue = queue or self.routes.only_queue(name)
            if self._observer is not None:
                self._observer.observe(task, attempt, step)
            self._emit(step)
        elif task.held is None:
            task.held = [(step, attempt)]
            self._held.append((now + RESOLVE_SECONDS, task))
        else:
            task.held.append((step, attempt))

    def learned(self, task: Task, now: float) -> None:
        """Emit what is held of a task if it can be named by now."""
        if (
            task.held is not None
            and task.name is not None
            and (task.queue is not None or not self.routes.expects_sent(now))
        ):
            self.release(task)

    def release(self, task: Task) -> None:
        """Emit what is held of a task, under the best name known."""
        held, task.held = task.held, None
        for step, attempt in held or ():
            step.name = attempt.name or task.name or UNKNOWN_TASK
            step.queue = attempt.queue or task.queue or self.routes.only_queue(step.name)
            if self._observer is not None:
                self._observer.observe(task, attempt, step)
            self._emit(step)

    def tick(self, now: float) -> None:
        """Emit what was held long enough."""
        while self._held and self._held[0][0] <= now:
            self.release(self._held.popleft()[1])

    def flush(self) -> None:
        """Emit all that is held: the program ends."""
        while self._held:
            self.release(self._held.popleft()[1])
