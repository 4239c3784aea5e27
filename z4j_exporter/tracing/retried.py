"""Remembers which task repeats which: an action sent it again, under a new id."""

import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from z4j_exporter.events.captured import Captured, Envelope
from z4j_exporter.events.model import NO_RAW

#: Retries remembered, unless told otherwise: an action has 10 000 at the most.
DEFAULT_MAX_RETRIES = 50_000
#: The header of an action's messages (actions/messages.py RETRY_OF), which Celery repeats when the
#: task itself retries.
_HEADER = "z4j-retry-of"
#: Characters of a task's id, as of events.
_LONGEST_ID = 512

_decode_headers = Decoder(dict[str, Any]).decode

#: Returns the id of the task that a task repeats; None where it is nobody's retry.
RetryOf = Callable[[str], str | None]


class Retried:
    """New ids and old ones, bounded; the oldest are forgotten first.

    Whoever sends retries tells of them, in any thread. So do the capture hook's notes.
    """

    def __init__(self, max_retries: int = DEFAULT_MAX_RETRIES) -> None:
        self._max_retries = max_retries
        self._old: dict[str, str] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._old)

    def of(self, task_id: str) -> str | None:
        """Return the id of the task that a task repeats; None where none is known."""
        return self._old.get(task_id)

    def learn(self, new_id: str, old_id: str) -> None:
        """Take a retry that is sent; what came first of a task holds."""
        if new_id == old_id:
            return
        with self._lock:
            if len(self._old) >= self._max_retries:
                for forgotten in list(islice(self._old, max(1, self._max_retries // 100))):
                    del self._old[forgotten]
            self._old.setdefault(new_id, old_id)

    def learn_note(self, note: Captured) -> None:
        """Take a note of the capture hook, whose headers may name what it repeats."""
        if isinstance(note, Envelope) and note.headers is not NO_RAW:
            old_id = _named(note.headers)
            if old_id is not None:
                self.learn(note.uuid, old_id)


def _named(raw: Raw) -> str | None:
    text = bytes(raw)
    if _HEADER.encode() not in text:
        return None
    try:
        value = _decode_headers(text).get(_HEADER)
    except (DecodeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID else None
