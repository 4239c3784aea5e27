"""Deadlines of connections, and which one goes to make room; with a clock that tests step."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from z4j_exporter.web.connections import Connection, ConnectionTable, Limits, Phase
from z4j_exporter.web.stats import WebStats


@dataclass
class Timer:
    at: float
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Loop:
    """Only what the table needs of an event loop."""

    now: float = 0.0
    timers: list[Timer] = field(default_factory=list)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, call))
        return self.timers[-1]

    def step_to(self, now: float) -> None:
        self.now = now
        for timer in list(self.timers):
            if not timer.cancelled and timer.at <= now:
                timer.cancelled = True
                timer.call()


@dataclass
class Transport:
    aborted: bool = False
    closing: bool = False

    def abort(self) -> None:
        self.aborted = self.closing = True

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


class Table:
    """A table with stand-ins around it."""

    def __init__(self, **limits: Any) -> None:
        self.loop = Loop()
        self.stats = WebStats()
        loop = cast("asyncio.AbstractEventLoop", self.loop)
        self.table = ConnectionTable(loop, Limits(**limits), self.stats)

    def add(self, *phases: Phase) -> tuple[Connection, Transport]:
        transport = Transport()
        connection = self.table.add(cast("asyncio.Transport", transport))
        assert connection is not None
        for phase in phases:
            connection.enter(phase)
        return connection, transport


@pytest.mark.parametrize(
    ("phase", "seconds"), [(Phase.HANDSHAKE, 3), (Phase.REQUEST, 4), (Phase.RESPONSE, 5)]
)
def test_a_phase_that_lasts_too_long_is_cut_off(phase: Phase, seconds: float) -> None:
    table = Table(handshake_seconds=3, request_seconds=4, response_seconds=5)
    _, transport = table.add(phase)
    table.loop.step_to(seconds - 0.1)
    assert not transport.aborted
    table.loop.step_to(seconds)
    assert transport.aborted
    assert len(table.table) == 0
    assert table.stats.slow_connections_closed == 1
    assert table.stats.open_connections == 0


def test_work_of_the_application_has_no_deadline() -> None:
    table = Table()
    _, transport = table.add(Phase.REQUEST, Phase.WORK)
    table.loop.step_to(1e6)
    assert not transport.aborted


def test_an_idle_connection_is_closed_in_order_and_then_cut_off() -> None:
    table = Table(idle_seconds=10)
    _, transport = table.add(Phase.REQUEST, Phase.WORK, Phase.IDLE)
    table.loop.step_to(10)
    assert transport.closing
    assert not transport.aborted
    table.loop.step_to(12)
    assert transport.aborted
    assert table.stats.slow_connections_closed == 0, "being idle is no fault"


def test_the_oldest_that_sent_no_request_makes_room() -> None:
    table = Table(open_connections=4)
    _, working = table.add(Phase.REQUEST, Phase.WORK)
    _, idle = table.add(Phase.REQUEST, Phase.WORK, Phase.IDLE)
    _, shaking = table.add(Phase.HANDSHAKE)
    _, dripping = table.add(Phase.REQUEST)
    gone = []
    for _ in range(3):
        table.add(Phase.REQUEST, Phase.WORK)
        names = [("shaking", shaking), ("dripping", dripping), ("idle", idle), ("work", working)]
        gone.append([name for name, transport in names if transport.aborted])
    assert gone == [["shaking"], ["shaking", "dripping"], ["shaking", "dripping", "idle"]]
    assert len(table.table) == table.stats.open_connections == 4
    late = Transport()
    assert table.table.add(cast("asyncio.Transport", late)) is None, "all the others are at work"
    assert late.aborted
    assert table.stats.evicted_connections == 4


def test_a_proven_client_that_drips_outlives_an_unproven_one() -> None:
    table = Table(open_connections=2)
    _, proven = table.add(Phase.REQUEST, Phase.WORK, Phase.IDLE, Phase.REQUEST)
    _, unproven = table.add(Phase.REQUEST)
    table.add(Phase.REQUEST)
    assert (proven.aborted, unproven.aborted) == (False, True)


def test_the_oldest_unread_answer_is_dropped_when_all_are_too_large() -> None:
    table = Table(unread_bytes=100)
    (first, a), (second, b), (third, c) = (table.add(Phase.RESPONSE) for _ in range(3))
    first.hold(60)
    second.hold(40)
    assert not a.aborted
    third.hold(50)
    assert (a.aborted, b.aborted, c.aborted) == (True, False, False)
    second.hold(0)
    third.hold(1000)
    assert not c.aborted, "one alone may be as large as it is"


def test_a_lost_connection_leaves_nothing_behind() -> None:
    table = Table()
    connection, _ = table.add(Phase.REQUEST)
    connection.hold(10)
    connection.lost()
    connection.lost()
    connection.enter(Phase.RESPONSE)
    assert all(timer.cancelled for timer in table.loop.timers)
    assert len(table.table) == table.stats.open_connections == 0
