"""The poller on a reader of the test's and made clocks: what it publishes, and that it goes on."""

import logging
import threading
from collections.abc import Callable, Collection
from typing import Any

import pytest

from tests.support.process import wait_until
from z4j_exporter.config import Settings
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.queues.poller import QueuePoller
from z4j_exporter.queues.select import FORGET_SECONDS, KnownNames


class Reader:
    """Answers what it is told to, and remembers what it was asked."""

    method = "redis"

    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        self.asked: list[tuple[list[str], float]] = []
        self.closed = 0
        self.extra: list[QueueReading] = []
        self.act: Callable[[], None] = lambda: None

    def read(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        self.asked.append((list(names), deadline))
        self.act()
        empty = [QueueReading(name, ready={"0": 0}) for name in names]
        return [r for r in empty if r.name not in {e.name for e in self.extra}] + self.extra

    def close(self) -> None:
        self.closed += 1


class Bench:
    """A poller, its reader and its clocks."""

    def __init__(self, **settings: Any) -> None:
        self.reader = Reader()
        self.now = 1000.0
        self.known = KnownNames()
        self.deaf: Exception | None = None
        self.poller = QueuePoller(
            self.reader,
            Settings.model_validate(settings),
            self.names,
            monotonic=lambda: self.now,
            wall=lambda: self.now + 1e9,
            rand=lambda: 0.5,
        )

    def names(self) -> KnownNames:
        if self.deaf is not None:
            raise self.deaf
        return self.known

    def fail(self, error: Exception) -> None:
        def act() -> None:
            self.now += 2.0
            raise error

        self.reader.act = act


def test_a_look_is_published() -> None:
    bench = Bench(queues=["mine"], queue_poll_timeout=4)
    assert bench.poller.latest is None
    bench.known = KnownNames(sent={"sent"}, consumed={"eaten"})
    bench.reader.notes = ("half of it",)

    def act() -> None:
        bench.now += 0.5

    bench.reader.act = act
    poll = bench.poller.poll_once()
    assert bench.poller.latest is poll
    assert bench.reader.asked == [(["eaten", "mine", "sent"], 1004.0)]
    assert poll.success
    assert poll.method == "redis"
    assert poll.duration_seconds == 0.5
    assert poll.finished_at == poll.last_success_at == 1e9 + 1000.5
    assert [r.name for r in poll.readings] == ["eaten", "mine", "sent"]
    assert poll.notes == ("half of it",)


def test_a_failed_look_has_no_values() -> None:
    bench = Bench(queues=["mine"])
    good = bench.poller.poll_once()
    bench.fail(QueuePollError("no answer in time"))
    poll = bench.poller.poll_once()
    assert not poll.success
    assert poll.readings == ()
    assert poll.error == "no answer in time"
    assert poll.duration_seconds == 2.0
    assert poll.last_success_at == good.finished_at
    bench.reader.act = lambda: None
    assert bench.poller.poll_once().success


def test_nothing_that_a_reader_raises_ends_the_poller(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.fail(RuntimeError("a secret in a text"))
    poll = bench.poller.poll_once()
    assert poll.error == "unforeseen: RuntimeError"
    bench.reader.act = lambda: None

    bench.deaf = TimeoutError()  # the owner of the names is busy
    assert bench.poller.poll_once().success
    assert "TimeoutError" in caplog.text


def test_what_the_broker_knows_is_watched_if_it_may_be() -> None:
    bench = Bench(queue_deny=["secret"], max_series=3)
    bench.reader.extra = [
        QueueReading(name, ready={"0": 1})
        for name in ("found", "secret", "celeryev.1", "b", "c", "d")
    ]
    poll = bench.poller.poll_once()
    assert [r.name for r in poll.readings] == ["found", "b", "c"]
    assert poll.notes == ("1 queues are left out, beyond --max-series",)
    # Once known, an absent queue is an empty one.
    bench.reader.extra = []
    poll = bench.poller.poll_once()
    assert {r.name: r.ready for r in poll.readings} == {n: {"0": 0} for n in ("b", "c", "found")}


def test_an_empty_queue_that_nobody_names_is_forgotten() -> None:
    bench = Bench()
    bench.reader.extra = [QueueReading("old", ready={"0": 1}), QueueReading("gone", ready={"0": 1})]
    bench.poller.poll_once()
    bench.reader.extra = [QueueReading("old", ready={"0": 1})]
    bench.now += FORGET_SECONDS - 1
    bench.poller.poll_once()
    bench.now += 2
    assert [r.name for r in bench.poller.poll_once().readings] == ["old"]


def test_an_overdue_look_counts_as_failed() -> None:
    bench = Bench(queues=["mine"], queue_poll_interval=15, queue_poll_timeout=10)
    poll = bench.poller.poll_once()
    bench.now += 40.0
    assert bench.poller.latest is poll
    bench.now += 0.1
    late = bench.poller.latest
    assert late is not None
    assert not late.success
    assert late.readings == ()
    assert "overdue" in late.error
    assert late.last_success_at == poll.last_success_at


def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench()
    bench.reader.notes = ("a note",)
    for _ in range(3):
        bench.poller.poll_once()
    bench.fail(QueuePollError("away"))
    for _ in range(3):
        bench.poller.poll_once()
    bench.reader.act = lambda: None
    for _ in range(3):
        bench.poller.poll_once()
    said = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert said == [
        ("INFO", "queues: a note"),
        ("WARNING", "the queues cannot be read: away"),
        ("INFO", "the queues can be read again"),
        ("INFO", "queues: a note"),
    ]


def test_the_thread_polls_until_it_is_stopped() -> None:
    reader = Reader()
    settings = Settings.model_validate({"queue_poll_interval": 0.01})
    poller = QueuePoller(reader, settings, KnownNames)
    poller.start()
    wait_until(lambda: len(reader.asked) >= 3, 5)
    assert poller.is_alive()
    poller.stop(5)
    assert not poller.is_alive()
    assert reader.closed == 1


def test_a_look_that_hangs_is_alone_and_is_left() -> None:
    reader = Reader()
    release = threading.Event()
    reader.act = lambda: bool(release.wait(20)) and None
    poller = QueuePoller(reader, Settings.model_validate({"queue_poll_interval": 0.01}), KnownNames)
    poller.start()
    wait_until(lambda: bool(reader.asked), 5)
    poller.stop(0.05)
    assert poller.is_alive()  # a daemon: it ends with the process
    assert len(reader.asked) == 1
    release.set()
    wait_until(lambda: not poller.is_alive(), 5)
