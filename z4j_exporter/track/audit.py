"""Counts the task-started events that a worker sent and that never arrived.

A heartbeat's ``processed`` is the number of tasks the worker's pool has accepted
(celery/worker/state.py ``task_accepted``), and each of them sends a task-started right after. So
what ``processed`` grew by, less the task-started events seen with a timestamp up to the
heartbeat's own (the same clock), is missing: never sent (events are off, or off for that task),
or lost on the way.
"""

from collections import deque

#: Seconds that events may take to arrive after the heartbeat which counts them: workers send
#: task events in batches (celery/events/dispatcher.py ``buffer_group``), heartbeats at once.
SETTLE_SECONDS = 10.0
#: A heartbeat between ``processed += 1`` and the stamping of task-started counts one too many:
#: what is missing for good is still missing in each of this many heartbeats in a row.
_CONFIRMATIONS = 3
#: Heartbeats that may wait to settle; at the usual 2 s there are five.
_MAX_PENDING = 64


class _Mark:
    """One heartbeat that has not settled yet."""

    __slots__ = ("at", "expected", "received_at", "seen")

    def __init__(self, at: float, received_at: float, expected: int, seen: int) -> None:
        self.at = at
        self.received_at = received_at
        self.expected = expected
        self.seen = seen


class Audit:
    """The account of one worker process: tasks it says it started against task-started seen."""

    def __init__(self, *, processed: int, timestamp: float) -> None:
        """Start to count at a heartbeat or worker-online that told ``processed``."""
        self._base = processed
        self._since = timestamp
        self._started = 0
        self._pending: deque[_Mark] = deque(maxlen=_MAX_PENDING)
        self._settled: deque[int] = deque(maxlen=_CONFIRMATIONS)
        #: task-started events that are missing, so far; never decreases.
        self.missing = 0

    def started(self, timestamp: float) -> None:
        """Take note of a task-started of this worker."""
        if timestamp < self._since:
            return  # the base counts it already
        self._started += 1
        for mark in self._pending:
            if timestamp <= mark.at:
                mark.seen += 1

    def heartbeat(self, processed: int, timestamp: float, now: float) -> None:
        """Take note of a heartbeat, and settle those that are old enough."""
        while self._pending and now - self._pending[0].received_at >= SETTLE_SECONDS:
            mark = self._pending.popleft()
            self._settled.append(mark.expected - mark.seen)
            if len(self._settled) == _CONFIRMATIONS:
                self.missing = max(self.missing, min(self._settled))
        if len(self._pending) < _MAX_PENDING:
            self._pending.append(_Mark(timestamp, now, processed - self._base, self._started))
