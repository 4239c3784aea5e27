"""A worker that comes and goes: its queue backs up while it is away, and drains afterwards."""

from collections.abc import Callable

from z4j_exporter.demo.processes import Child

#: The queue that nobody else consumes.
SHIFT_QUEUE = "reports"
#: Seconds at work, and away; and away at the beginning, when others have enough to do.
_WORK_SECONDS = 50.0
_AWAY_SECONDS = 25.0
_FIRST_SECONDS = 8.0


class Shift:
    """Says when to come and when to go; ``come`` starts the worker and ``go`` asks it to leave."""

    def __init__(self, come: Callable[[], Child], go: Callable[[Child], None]) -> None:
        self._come = come
        self._go = go
        self._at_work: Child | None = None
        self._next_seconds: float | None = None

    def turn(self, now_seconds: float) -> None:
        """Do what is due at ``now_seconds`` of a monotonic clock; the first call begins."""
        if self._next_seconds is None:
            self._next_seconds = now_seconds + _FIRST_SECONDS
        if now_seconds < self._next_seconds:
            return
        if self._at_work is None:
            self._at_work = self._come()
            self._next_seconds = now_seconds + _WORK_SECONDS
        else:
            self._go(self._at_work)
            self._at_work = None
            self._next_seconds = now_seconds + _AWAY_SECONDS
