"""Ends of actions that a full disk kept out of the journal: written when there is room again."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from z4j_exporter.actions.records_database import JournalUnavailable
from z4j_exporter.actions.records_states import TransitionError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: More are not kept: those actions stay at work until the next start makes them unknown.
_MOST = 1000


class Owed:
    """What is still to be written, oldest first.

    An action whose end is not written counts as at work: its idempotency key is a conflict, and
    its rule's limit of actions in flight is used up. A restart would end that with "unknown".
    """

    def __init__(self) -> None:
        self._writes: deque[Callable[[], object]] = deque(maxlen=_MOST)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._writes)

    def write(self, write: Callable[[], Result]) -> Result:
        """Write now; what cannot be written is kept for ``pay``. Raises what ``write`` raises."""
        try:
            return write()
        except JournalUnavailable:
            self._writes.append(write)
            raise

    def pay(self) -> None:
        """Write what is owed, as far as it goes; one thread at a time, others do not wait."""
        if not self._writes or not self._lock.acquire(blocking=False):
            return
        try:
            while self._writes:
                try:
                    self._writes[0]()
                except JournalUnavailable:
                    return
                except TransitionError as error:  # it was written meanwhile
                    logger.warning("not written: %s", error)
                self._writes.popleft()
        finally:
            self._lock.release()
