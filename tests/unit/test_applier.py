"""The applier thread: applies, answers between batches, isolates sinks, drains at the end."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.process import wait_until
from z4j_exporter.events.decode import Decoder
from z4j_exporter.events.message import Framed
from z4j_exporter.pipeline.applier import TICK_SECONDS, Applier
from z4j_exporter.pipeline.buffer import Buffer
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.transitions import TaskTransition, Transition


class Sink:
    """Remembers what it took; fails on what it is told to."""

    def __init__(self, name: str = "sink", fails: Callable[[Transition], bool] | None = None):
        self.name = name
        self.taken: list[Transition] = []
        self._fails = fails or (lambda _transition: False)

    def take(self, transition: Transition) -> None:
        if self._fails(transition):
            raise ValueError(f"{self.name} cannot")
        self.taken.append(transition)

    def kinds(self) -> list[str]:
        return [t.kind for t in self.taken]


class Rig:
    """An applier on made-up time, with its buffer."""

    def __init__(self, *sinks: Sink, **options: Any) -> None:
        self.now = 1000.0
        self.wall = 1_700_000_000.0
        self.lags: list[float] = []
        self.sinks = list(sinks) or [Sink()]
        self.buffer = Buffer(10**8, monotonic=lambda: self.now, wall=lambda: self.wall)
        self.decoder = Decoder()
        self.applier = Applier(
            self.buffer,
            self.decoder,
            Cluster,
            self.sinks,
            lag=self.lags.append,
            monotonic=lambda: self.now,
            **options,
        )

    def put(self, *bodies: str) -> None:
        framed = [Framed(body.encode(), "application/json", "utf-8") for body in bodies]
        self.buffer.put(list(framed), sum(map(len, bodies)), lambda items: items)

    def run_to_the_end(self) -> None:
        """Apply what is there in this thread."""
        self.applier.stop()
        self.applier.run()


def event(kind: str, uuid: str = "u1", **fields: Any) -> str:
    import json

    given = {"hostname": "w@h", "timestamp": 1_700_000_000.0, "name": "t", "queue": "q", **fields}
    return json.dumps({"type": f"task-{kind}", "uuid": uuid, **given})


@contextmanager
def running(rig: Rig) -> Iterator[Applier]:
    rig.applier.start()
    try:
        yield rig.applier
    finally:
        rig.applier.stop()
        rig.applier.join(10)
        assert not rig.applier.is_alive()


def test_events_become_transitions_in_their_order() -> None:
    rig = Rig()
    rig.put(event("sent"), event("received"))
    rig.put(event("started", timestamp=1_700_000_001), event("succeeded", timestamp=1_700_000_002))
    rig.run_to_the_end()
    assert rig.sinks[0].kinds() == ["sent", "received", "started", "succeeded"]
    assert rig.buffer.size_bytes == 0


def test_the_lag_is_told_once_for_each_message() -> None:
    rig = Rig()
    rig.wall += 3
    rig.put(f"[{event('sent')}, {event('received')}]", event("started"), "refused")
    rig.run_to_the_end()
    assert rig.lags == [3.0, 3.0]


def test_what_is_held_back_is_told_at_the_end() -> None:
    rig = Rig()
    rig.put(event("started", name=None, queue=None))
    rig.run_to_the_end()
    assert rig.sinks[0].kinds() == ["started"]


def test_a_sink_that_fails_is_counted_and_alone(caplog: pytest.LogCaptureFixture) -> None:
    bad = Sink("bad", fails=lambda t: t.kind == "received")
    good = Sink("good")
    rig = Rig(bad, good)
    rig.put(event("sent"), event("received"), event("sent", "u2"), event("received", "u2"))
    rig.put(event("started", timestamp=1_700_000_001))
    rig.run_to_the_end()
    assert good.kinds() == ["sent", "received", "sent", "received", "started"]
    assert bad.kinds() == ["sent", "sent", "started"]
    assert dict(rig.applier.errors) == {
        "bad": 2, "good": 0, "tracker": 0, "decoder": 0, "status": 0
    }  # fmt: skip
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1, "once a minute"


def test_a_failing_sink_is_logged_again_after_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(Sink(fails=lambda _t: True))
    rig.applier._failed("sink")
    rig.now += 59
    rig.applier._failed("sink")
    rig.now += 1
    rig.applier._failed("sink")
    assert len(caplog.records) == 2
    assert rig.applier.errors["sink"] == 3


def test_an_event_that_the_tracker_fails_on_takes_no_other_with_it() -> None:
    rig = Rig()
    apply = rig.applier.cluster.apply

    def fail_on_two(event: Any, now: float, wall: float) -> None:
        if event.uuid == "u2":
            raise RuntimeError("a bug")
        apply(event, now, wall)

    rig.applier.cluster.apply = fail_on_two  # type: ignore[method-assign]  # made for this test
    rig.put(f"[{event('sent')}, {event('sent', 'u2')}, {event('sent', 'u3')}]")
    rig.run_to_the_end()
    taken = [t.uuid for t in rig.sinks[0].taken if isinstance(t, TaskTransition)]
    assert taken == ["u1", "u3"]
    assert rig.applier.errors["tracker"] == 1


def test_a_message_that_the_decoder_fails_on_takes_no_other_with_it() -> None:
    rig = Rig()
    decode = rig.decoder.decode

    def fail(message: Any) -> Any:
        if b"u2" in message.body:
            raise RuntimeError("a bug")
        return decode(message)

    rig.decoder.decode = fail  # type: ignore[method-assign]  # made for this test
    rig.put(event("sent"), event("sent", "u2"), event("sent", "u3"))
    rig.run_to_the_end()
    assert len(rig.sinks[0].taken) == 2
    assert rig.applier.errors["decoder"] == 1


# -- time ----------------------------------------------------------------------


def test_time_is_told_to_the_tracker_once_a_second() -> None:
    rig = Rig(is_connected=lambda: False)
    ticks: list[tuple[float, bool]] = []
    rig.applier.cluster.tick = (  # type: ignore[method-assign]  # made for this test
        lambda now, *, connected=True: ticks.append((now, connected))
    )
    for _ in range(21):
        rig.applier._keep_time()
        rig.now += TICK_SECONDS / 10
    assert [now for now, _ in ticks] == pytest.approx([1000, 1001, 1002], abs=0.11)
    assert {connected for _, connected in ticks} == {False}


def test_a_tick_that_fails_is_counted_and_comes_again() -> None:
    rig = Rig()
    rig.applier.cluster.tick = lambda _now, **_more: 1 / 0  # type: ignore[method-assign]  # made for this test
    rig.applier._keep_time()
    rig.now += TICK_SECONDS
    rig.applier._keep_time()
    assert rig.applier.errors["tracker"] == 2


def test_questions_are_answered_before_a_long_buffer_is_empty() -> None:
    """A scrape during a burst waits for some slices, not for all."""
    rig = Rig()
    seen: list[int] = []
    sink = rig.sinks[0]
    rig.put(*[event("sent", f"u{n}") for n in range(20_000)])
    rig.applier._put(lambda: seen.append(len(sink.taken)), Future())
    rig.applier._work()
    assert len(sink.taken) == 20_000
    assert 0 <= seen[0] <= 10_000
    assert len(seen) == 1


# -- questions -----------------------------------------------------------------


def test_a_question_is_answered_in_the_appliers_thread() -> None:
    rig = Rig()
    with running(rig) as applier:
        assert applier.ask(threading.current_thread, 5.0) is applier
        assert applier.name == "applier"
        assert applier.daemon


def test_a_question_sees_what_was_put_before_it() -> None:
    rig = Rig()
    with running(rig) as applier:
        rig.put(event("sent"), event("received"))
        wait_until(lambda: applier.ask(lambda: len(rig.sinks[0].taken)) == 2, 5)


def test_what_a_question_raises_reaches_who_asked() -> None:
    rig = Rig()
    with running(rig) as applier:
        with pytest.raises(ZeroDivisionError):
            applier.ask(lambda: 1 / 0, 5.0)
        assert applier.ask(lambda: 42, 5.0) == 42
        assert applier.errors.total() == 0


def test_an_order_that_fails_is_counted() -> None:
    rig = Rig()
    done = threading.Event()
    with running(rig) as applier:
        applier.post(lambda: 1 / 0)
        applier.post(done.set)
        assert done.wait(5)
        assert applier.errors["tracker"] == 1


def test_a_question_that_was_given_up_is_not_asked_any_more() -> None:
    rig = Rig()
    blocked, free = threading.Event(), threading.Event()
    asked: list[int] = []
    with running(rig) as applier:
        applier.post(lambda: (blocked.set(), free.wait(5)))
        assert blocked.wait(5)
        for n in range(3):
            with pytest.raises(TimeoutError):
                applier.ask(lambda n=n: asked.append(n), 0.01)
        free.set()
        assert applier.ask(lambda: "well", 5.0) == "well"
    assert asked == []


def test_no_question_hangs_once_the_thread_has_ended() -> None:
    rig = Rig()
    with pytest.raises(RuntimeError):
        rig.applier.ask(lambda: 1)
    with running(rig):
        pass
    with pytest.raises(RuntimeError):
        rig.applier.ask(lambda: 1)
    rig.applier.is_alive = lambda: True  # type: ignore[method-assign]  # it looked a moment earlier
    before = time.monotonic()
    with pytest.raises(RuntimeError):
        rig.applier.ask(lambda: 1)
    assert time.monotonic() - before < 5


def test_it_applies_everything_before_it_ends() -> None:
    rig = Rig()
    for n in range(200):
        rig.put(*[event("sent", f"{n}-{m}") for m in range(20)])
    with running(rig):
        pass
    assert len(rig.sinks[0].taken) == 4000
