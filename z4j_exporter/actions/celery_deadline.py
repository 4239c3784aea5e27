"""Bounds the time of a driver's call, whatever timeouts the driver has, and whether it has acted.

kombu, redis-py and other clients have a timeout for each attempt, each address, or none at all:
together they take longer than anybody was told. So such a call runs in a thread of its own, that is
left behind when it is late, and which may then no longer begin to change anything.
"""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class TooLateError(Exception):
    """Nobody waits any more: what would change something must not be done."""


class Gate:
    """Stands before the first thing that changes something: passed, or closed, but never both."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = self._passed = False

    def go_through(self) -> None:
        """Pass it. Raises TooLateError when nobody waits any more."""
        with self._lock:
            if self._closed:
                raise TooLateError
            self._passed = True

    def close(self) -> bool:
        """Close it; return whether somebody had passed it, so that something may be changed."""
        with self._lock:
            self._closed = True
            return self._passed


class Call(Generic[Result]):
    """A call in a thread of its own."""

    def __init__(self, act: Callable[[], Result], name: str) -> None:
        self._act = act
        self._outcome: list[Result] = []
        self._failure: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def result(self, seconds: float) -> Result:
        """Return what the call returns, or raise what it raises; TimeoutError when it is late."""
        self._thread.join(max(0.0, seconds))
        if self._failure:
            raise self._failure[0]
        if not self._outcome:
            raise TimeoutError
        return self._outcome[0]

    def _run(self) -> Any:
        try:
            self._outcome.append(self._act())
        except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
            self._failure.append(error)
