"""A few daemon threads for work that would hold up the event loop, with a bound on the queue."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class BusyError(Exception):
    """Every thread works and as many calls wait as may wait."""


class Workers:
    """Threads that call functions for coroutines.

    Not a ThreadPoolExecutor: its threads are joined when the interpreter ends, so one call that
    hangs would hang the exit; and its queue has no bound.
    """

    def __init__(self, *, threads: int, waiting: int, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting = waiting
        self._threads = threads
        self._name = name
        self._started = 0
        #: Calls under way and waiting. Only the event loop's thread changes it.
        self._pending = 0

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call a function in a thread. Raises what it raises, or `BusyError`, at once."""
        if self._pending >= self._threads + self._waiting:
            raise BusyError
        if self._started < min(self._threads, self._pending + 1):
            self._start_thread()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def call() -> None:
            try:
                result = function(*args)
            except BaseException as exc:  # noqa: BLE001 - it is raised again, by the coroutine
                _post(loop, future.set_exception, future, exc)
            else:
                _post(loop, future.set_result, future, result)

        self._pending += 1
        self._queue.put(call)
        try:
            return await future
        finally:
            self._pending -= 1

    def close(self) -> None:
        """Let the threads end, each after the call that it has begun; does not wait."""
        for _ in range(self._started):
            self._queue.put(None)

    def _start_thread(self) -> None:
        self._started += 1
        threading.Thread(
            target=self._work, name=f"z4j-{self._name}-{self._started}", daemon=True
        ).start()

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            call()


def _post(
    loop: asyncio.AbstractEventLoop,
    settle: Callable[[Any], None],
    future: "asyncio.Future[Any]",
    value: object,
) -> None:
    def deliver() -> None:
        if not future.done():  # cancelled when the listener stopped
            settle(value)

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:
        return  # the loop has ended: nobody waits any more
