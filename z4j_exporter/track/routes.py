"""Which queue a task name goes to, learned from task-sent: no other event carries the queue."""

#: Seconds after the last task-sent during which other tasks' are waited for.
_EXPECT_SECONDS = 600.0
#: Seconds after the start during which task-sent is waited for though none came yet.
_FIRST_SECONDS = 60.0
#: Task names remembered.
_MAX_NAMES = 10_000


class Routes:
    """Remembers the queue of each task name, while it is only one."""

    def __init__(self) -> None:
        # "" stands for: more than one queue.
        self._queue_of: dict[str, str] = {}
        self._first_asked: float | None = None
        self._last_sent: float | None = None

    def learn(self, name: str | None, queue: str | None, now: float) -> None:
        """Take note of a task-sent."""
        self._last_sent = now
        if name is None or queue is None:
            return
        known = self._queue_of.get(name)
        if known is None:
            if len(self._queue_of) < _MAX_NAMES:
                self._queue_of[name] = queue
        elif known != queue:
            self._queue_of[name] = ""

    def expects_sent(self, now: float) -> bool:
        """Return whether clients send task-sent here, so that one is worth waiting for."""
        if self._last_sent is not None:
            return now - self._last_sent < _EXPECT_SECONDS
        if self._first_asked is None:
            self._first_asked = now
        return now - self._first_asked < _FIRST_SECONDS

    def only_queue(self, name: str) -> str:
        """Return the one queue this task was ever sent to, else ""."""
        return self._queue_of.get(name, "")
