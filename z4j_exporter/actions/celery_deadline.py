"""Bounds the time of a driver's call, whatever timeouts the driver has, and whether it has acted.

kombu, redis-py and other clients have a timeout for each attempt, each address, or none at all:
together they take longer than anybody was told. So such a call runs in a thread of its own, that is
left behind when it is late, and which may then no longer begin to change anything.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

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
    """A call in a thread of its own. ``after`` cleans up, and nobody waits for that."""

    def __init__(
        self, act: Callable[[], Result], name: str, *, after: Callable[[], None] = lambda: None
    ) -> None:
        self._act, self._after = act, after
        self._done = threading.Event()
        self._outcome: list[Result] = []
        self._failure: list[Exception] = []
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def result(self, seconds: float) -> Result:
        """Return what the call returns, or raise what it raises; TimeoutError when it is late."""
        if not self._done.wait(max(0.0, seconds)):
            raise TimeoutError
        if self._failure:
            raise self._failure[0]
        return self._outcome[0]

    def _run(self) -> None:
        try:
            self._outcome.append(self._act())
        except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
            self._failure.append(error)
        finally:
            self._done.set()
            self._after()
