"""Threads that call functions for coroutines: bounds, errors, end."""

import asyncio
import threading

import pytest

from tests.support.process import wait_until
from z4j_exporter.web.workers import BusyError, Workers


def test_a_result_and_an_error_come_back() -> None:
    def divide(by: int) -> int:
        return 10 // by

    async def scenario() -> None:
        workers = Workers(threads=1, waiting=1, name="test")
        assert await workers.run(divide, 5) == 2
        with pytest.raises(ZeroDivisionError):
            await workers.run(divide, 0)
        assert await workers.run(divide, 2) == 5, "the thread lives on"
        workers.close()

    asyncio.run(scenario())


def test_no_more_threads_than_needed_and_no_more_waiting_than_allowed() -> None:
    go = threading.Event()
    names = set()

    def work() -> None:
        names.add(threading.current_thread().name)
        assert go.wait(10)

    async def scenario() -> None:
        workers = Workers(threads=2, waiting=3, name="bounded")
        calls = [asyncio.create_task(workers.run(work)) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await workers.run(work)
        go.set()
        await asyncio.gather(*calls)
        await workers.run(work)
        workers.close()

    asyncio.run(scenario())
    assert names <= {"z4j-bounded-1", "z4j-bounded-2"}
    wait_until(lambda: not any(t.name.startswith("z4j-bounded") for t in threading.enumerate()))


def test_a_call_that_nobody_waits_for_any_more() -> None:
    """The listener has stopped: neither the thread nor the exit of the process may hang on it."""
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(10)
        ended.set()

    async def scenario() -> Workers:
        workers = Workers(threads=1, waiting=0, name="left")
        call = asyncio.create_task(workers.run(work))
        await asyncio.sleep(0)
        assert begun.wait(10)
        call.cancel()
        return workers

    workers = asyncio.run(scenario())
    workers.close()
    go.set()
    assert ended.wait(10)
    wait_until(lambda: not any(t.name.startswith("z4j-left") for t in threading.enumerate()))
