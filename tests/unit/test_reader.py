"""The reader thread connects for ever, counts gaps, ends when told."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from z4j_exporter.errors import (
    BrokerUrlError,
    EndOfStreamError,
    FileError,
    SourceLostError,
)
from z4j_exporter.events.message import Message
from z4j_exporter.pipeline.buffer import Buffer
from z4j_exporter.pipeline.reader import (
    FIRST_DELAY_SECONDS,
    MAX_DELAY_SECONDS,
    READ_TIMEOUT_SECONDS,
    STABLE_SECONDS,
    Reader,
    delay_seconds,
)
from z4j_exporter.sources.base import Session, Source

Step = Exception | list[Message] | Callable[[], Any]


class FakeSession(Session):
    """Gives one step for each read; after the last it stops the reader."""

    def __init__(self, source: "FakeSource", steps: Sequence[Step]) -> None:
        self._source = source
        self._steps = list(steps)
        self.closed = 0
        self.dropped: list[Any] = []

    def read(self, timeout_seconds: float) -> tuple[list[Message], int]:
        assert timeout_seconds == READ_TIMEOUT_SECONDS
        if not self._steps:
            self._source.stop()
            return [], 0
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step()
            return [], 0
        return step, sum(len(m) for m in step)

    def unpack(self, items: list[Any]) -> list[Message]:
        return [b"<" + item + b">" for item in items]

    def drop(self, items: list[Any]) -> int:
        self.dropped += items
        return 10 * len(items)

    def close(self) -> None:
        self.closed += 1


class FakeSource(Source):
    """Each connection is an error to raise, or the steps of its session."""

    system = "fake"
    location = "fake://here"

    def __init__(self, *connections: Exception | Sequence[Step]) -> None:
        self._connections = list(connections)
        self.sessions: list[FakeSession] = []
        self.stop: Callable[[], object] = lambda: None

    def connect(self) -> Session:
        if not self._connections:
            self.stop()
            raise SourceLostError("nothing left")
        step = self._connections.pop(0)
        if isinstance(step, Exception):
            raise step
        self.sessions.append(FakeSession(self, step))
        return self.sessions[-1]


class Played:
    """A reader that ran to its end on made-up time; ``waits`` has what it waited between."""

    def __init__(
        self,
        *connections: Exception | Sequence[Step],
        jitter: float = 0.0,
        buffer_bytes: int = 10**6,
    ) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self.resumed = 0
        self.source = FakeSource(*connections)
        self.buffer = Buffer(buffer_bytes, monotonic=lambda: self.now, wall=lambda: 0.0)
        self.reader = Reader(
            self.source,
            self.buffer,
            on_connected=self._on_connected,
            jitter=lambda: jitter,
            monotonic=lambda: self.now,
            wait=self.waits.append,
        )
        self.source.stop = self.reader.stop

    def _on_connected(self) -> None:
        assert self.reader.connected
        self.resumed += 1

    def run(self) -> "Played":
        self.reader.run()
        return self

    def messages(self) -> list[Message]:
        taken = []
        while (batch := self.buffer.take()) is not None:
            taken += batch.messages()
        return taken


def lost(why: str = "gone") -> SourceLostError:
    return SourceLostError(why)


class WaitingFake(FakeSource):
    """A source that can be read later as well: a file."""

    def connect(self) -> Session:
        session = super().connect()
        session.can_wait = True
        return session


def test_a_file_is_not_dropped_but_waited_with() -> None:
    played = Played([[b"a" * 100], [b"b" * 100]], buffer_bytes=200)
    played.source.__class__ = WaitingFake
    taken: list[Message] = []

    def make_room(seconds: float) -> None:
        batch = played.buffer.take()
        taken.extend(batch.messages() if batch else [])

    played.reader._wait = make_room  # type: ignore[assignment]  # the made-up time makes room
    played.run()
    assert taken + played.messages() == [b"<" + b"a" * 100 + b">", b"<" + b"b" * 100 + b">"]
    assert played.reader.dropped == 0


# -- delays --------------------------------------------------------------------


def test_delays_double_up_to_a_cap() -> None:
    delays = [delay_seconds(n, 0.0) for n in range(1, 9)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert delay_seconds(10**9, 0.0) == MAX_DELAY_SECONDS


def test_jitter_takes_up_to_half_away() -> None:
    for failures in (1, 3, 50):
        whole = delay_seconds(failures, 0.0)
        assert delay_seconds(failures, 1.0) == whole / 2
        assert whole / 2 < delay_seconds(failures, 0.3) < whole


def test_each_failure_waits_longer_with_its_own_jitter() -> None:
    played = Played(*[lost()] * 4, jitter=0.5).run()
    assert played.waits == [delay_seconds(n, 0.5) for n in (1, 2, 3, 4)]


def test_a_connection_that_held_starts_the_delays_anew() -> None:
    def hold() -> None:
        played.now += STABLE_SECONDS

    played = Played(lost(), lost(), [hold, lost()], lost())
    played.run()
    assert played.waits == [0.5, 1.0, 0.5, 1.0]


def test_a_connection_that_broke_at_once_does_not() -> None:
    def blink() -> None:
        played.now += STABLE_SECONDS - 0.1

    played = Played([blink, lost()], [lost()], [lost()])
    played.run()
    assert played.waits == [0.5, 1.0, 2.0]


def test_an_attempt_that_took_long_is_no_connection_that_held() -> None:
    class Slow(FakeSource):
        def connect(self) -> Session:
            played.now += STABLE_SECONDS * 2
            return super().connect()

    played = Played()
    played.reader.source = slow = Slow(lost(), lost(), lost())
    slow.stop = played.reader.stop
    played.run()
    assert played.waits == [0.5, 1.0, 2.0]


# -- what it counts ------------------------------------------------------------


def test_messages_go_into_the_buffer_in_order() -> None:
    played = Played([[b"a", b"b"], [], [b"c"]]).run()
    assert played.messages() == [b"<a>", b"<b>", b"<c>"]
    assert played.reader.connections == 1
    assert played.reader.gaps == 0
    assert played.source.sessions[0].closed == 1
    assert not played.reader.connected
    assert played.reader.reason == "stopped"


def test_each_loss_of_a_connection_is_a_gap() -> None:
    played = Played(lost(), [[b"a"], lost()], lost(), [lost()], [[b"b"]]).run()
    reader = played.reader
    assert (reader.connections, reader.gaps, played.resumed) == (3, 2, 3)
    assert played.messages() == [b"<a>", b"<b>"]
    assert [session.closed for session in played.source.sessions] == [1, 1, 1]


def test_what_does_not_fit_is_dropped_and_counted_by_the_session() -> None:
    played = Played([[b"a" * 50], [b"b" * 50, b"c"], [b"d"]], buffer_bytes=150).run()
    session = played.source.sessions[0]
    assert session.dropped == [b"b" * 50, b"c", b"d"]
    assert played.reader.dropped == 30, "a session knows how many messages its items are"
    assert len(played.messages()) == 1


def test_the_reason_is_there_while_it_is_not_connected() -> None:
    seen: list[tuple[bool, str]] = []

    def look() -> None:
        seen.append((played.reader.connected, played.reader.reason))

    class Looking(list[float]):
        def append(self, _seconds: float) -> None:
            look()

    played = Played(lost("first"), [look, lost("second")])
    played.reader._wait = Looking().append
    look()
    played.run()
    assert seen == [(False, "not connected yet"), (False, "first"), (True, ""), (False, "second")]


def test_each_state_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Played(lost("a"), lost("a"), lost("b"), lost("b"), [lost("b")], lost("b")).run()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "fake://here: a; trying again",
        "fake://here: b; trying again",
        "connected to fake://here",
        "fake://here: b; trying again",
        "fake://here: nothing left; trying again",
    ]


# -- how it ends ---------------------------------------------------------------


@pytest.mark.parametrize("error", [BrokerUrlError("no such broker"), FileError("no such file")])
def test_an_error_that_no_attempt_can_mend_ends_it(error: Exception) -> None:
    for connections in ([error], [[[b"a"], error]]):
        played = Played(*connections, [[b"never"]]).run()
        assert played.reader.fatal is error
        assert played.reader.reason == str(error)
        assert not played.reader.connected
        assert b"<never>" not in played.messages()
        assert played.waits == []


def test_the_end_of_a_recording_is_no_gap() -> None:
    played = Played([[b"a"], EndOfStreamError("over")], [[b"never"]]).run()
    assert played.reader.ended
    assert played.reader.fatal is None
    assert (played.reader.gaps, played.reader.connections) == (0, 1)
    assert played.messages() == [b"<a>"]
    assert played.source.sessions[0].closed == 1


def test_a_drivers_surprise_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    played = Played(KeyError("odd"), [[b"a"], ZeroDivisionError("odder")], [[b"b"]]).run()
    assert played.messages() == [b"<a>", b"<b>"]
    assert played.reader.gaps == 1
    assert played.reader.fatal is None
    assert "unexpected ZeroDivisionError" in caplog.text
    assert "Traceback" in caplog.text
    assert played.source.sessions[0].closed == 1


def test_a_failing_callback_ends_nothing() -> None:
    played = Played([[b"lost"]], [[b"a"]])
    answers = iter([RuntimeError("odd")])

    def fail_once() -> None:
        for error in answers:
            raise error

    played.reader._on_connected = fail_once
    played.run()
    assert played.messages() == [b"<a>"]
    assert played.source.sessions[0].closed == 1


def test_stopped_while_it_connects_it_does_not_wait() -> None:
    def connect() -> Session:
        played.reader.stop()
        raise SourceLostError("late")

    played = Played()
    played.source.connect = connect  # type: ignore[method-assign]  # made for this test
    played.run()
    assert played.waits == []


def test_a_real_thread_stops_from_its_wait() -> None:
    source = FakeSource(lost(), lost())
    reader = Reader(source, Buffer(1000, monotonic=lambda: 0.0, wall=lambda: 0.0))
    assert reader.daemon
    assert reader.name == "reader"
    reader.start()
    reader.stop()
    reader.join(5)
    assert not reader.is_alive()


def test_first_delay_is_short_enough_to_be_missed_by_nobody() -> None:
    assert FIRST_DELAY_SECONDS <= 1.0
