"""The span exporter: what is sent, tried again, given up, dropped, counted and said."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.otlp_decoded import spans_of
from tests.support.otlp_messages import MESSAGES
from tests.support.process import wait_until
from z4j_exporter.otlp.outcome import Accepted, Failed, Outcome, Refused
from z4j_exporter.tracing.encode import SpanEncoder
from z4j_exporter.tracing.export import DROP_REASONS, MAX_REQUEST_BYTES, SpanExporter
from z4j_exporter.tracing.export_queue import SpanQueue, size_bytes
from z4j_exporter.tracing.model import CONSUMER, Source, Span, SpanEvent

WORKER = Source(service="shop", nodename="shop@host")


def span(number: int, text: str = "", **fields: Any) -> Span:
    return Span(
        trace_id=number.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        kind=CONSUMER,
        name="process shop.pay",
        start_ns=1,
        end_ns=2,
        source=WORKER,
        attributes=fields.pop("attributes", (("text", text),)),
        **fields,
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        #: Called at each wait; true ends it.
        self.at_wait: Callable[[], object] = lambda: False

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return bool(self.at_wait())


class FakeChannel:
    location = "http://collector:4318/v1/traces"
    timeout = 10.0

    def __init__(self, *outcomes: Outcome | Exception, last: Outcome | None = None) -> None:
        self.outcomes = list(outcomes)
        self.last = last or Accepted()
        self.payloads: list[bytes] = []
        self.seconds: list[float] = []
        self.closed = False

    def send(self, payload: bytes, seconds: float) -> Outcome:
        self.payloads.append(payload)
        self.seconds.append(seconds)
        outcome = self.outcomes.pop(0) if self.outcomes else self.last
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        self.closed = True

    def sent(self) -> list[list[int]]:
        """Return the numbers of the spans of each request."""
        return [
            [int(each.span_id, 16) for each in spans_of(MESSAGES["traces"][0].FromString(payload))]
            for payload in self.payloads
        ]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def exporter(channel: FakeChannel, clock: Clock, **how: Any) -> SpanExporter:
    return SpanExporter(
        channel,
        SpanEncoder({}),
        monotonic=clock,
        rand=lambda: 1.0,
        wait=clock.wait,
        **how,
    )


def drops(made: SpanExporter) -> dict[str, int]:
    return {reason: count for reason, count in made.dropped.items() if count}


def test_a_batch_is_sent_and_counted(clock: Clock) -> None:
    channel = FakeChannel()
    seen: list[tuple[str, float]] = []
    made = exporter(channel, clock, batch_spans=2, observed=lambda *what: seen.append(what))
    made.offer([span(1), span(2), span(3)])
    assert made.queued == 3
    assert made.export_batch()
    assert made.export_batch()
    assert channel.sent() == [[1, 2], [3]]
    assert (made.exported, made.queued, drops(made)) == (3, 0, {})
    assert seen == [("ok", 0.0), ("ok", 0.0)]
    assert channel.seconds == [10.0, 10.0]


def test_every_reason_is_there_from_the_start(clock: Clock) -> None:
    assert exporter(FakeChannel(), clock).dropped == dict.fromkeys(DROP_REASONS, 0)


def test_a_failed_batch_is_tried_again_with_growing_pauses(clock: Clock) -> None:
    channel = FakeChannel(*[Failed("down")] * 7)
    made = exporter(channel, clock)
    made.offer([span(1)])
    made.export_batch()
    assert clock.waits == [1, 2, 4, 8, 16, 30, 30]
    assert len(set(channel.payloads)) == 1
    assert (made.exported, drops(made)) == (1, {})


def test_pauses_are_jittered(clock: Clock) -> None:
    channel = FakeChannel(Failed("down"), Failed("down"))
    made = SpanExporter(
        channel, SpanEncoder({}), monotonic=clock, rand=lambda: 0.0, wait=clock.wait
    )
    made.offer([span(1)])
    made.export_batch()
    assert clock.waits == [0.5, 1.0]


def test_the_endpoint_says_how_long_to_wait(clock: Clock) -> None:
    channel = FakeChannel(Failed("busy", 7.5), Failed("busy", 1e9))
    made = exporter(channel, clock)
    made.offer([span(1)])
    made.export_batch()
    assert clock.waits == [7.5, 300.0]  # not for years


def test_a_batch_that_never_gets_through_is_given_up(clock: Clock) -> None:
    channel = FakeChannel(last=Failed("down"))
    seen: list[str] = []
    made = exporter(channel, clock, batch_spans=2, observed=lambda kind, _: seen.append(kind))
    made.offer([span(1), span(2), span(3)])
    began = clock.now
    assert not made.export_batch()
    assert 300 <= clock.now - began <= 330
    assert drops(made) == {"retries_exhausted": 2}
    assert made.queued == 1  # the next batch is another try
    assert set(seen) == {"failed"}


def test_what_is_refused_is_dropped_at_once(clock: Clock) -> None:
    channel = FakeChannel(Refused("HTTP status 400"))
    made = exporter(channel, clock, batch_spans=2)
    made.offer([span(1), span(2), span(3)])
    assert made.export_batch()
    assert made.export_batch()
    assert (made.exported, drops(made), clock.waits) == (1, {"refused": 2}, [])


def test_partial_success(clock: Clock) -> None:
    channel = FakeChannel(Accepted(1, "too old"), Accepted(5, "more than there were"))
    made = exporter(channel, clock, batch_spans=2)
    made.offer([span(1), span(2), span(3)])
    made.export_batch()
    made.export_batch()
    assert (made.exported, drops(made)) == (1, {"partial_rejected": 2})


def test_a_span_that_cannot_be_encoded_costs_itself_only(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    channel = FakeChannel()
    made = exporter(channel, clock)
    bad = span(2, attributes=(("n", 1 << 70),))
    for _ in range(2):
        made.offer([span(1), bad, span(3)])
        made.export_batch()
    assert channel.sent() == [[1, 3], [1, 3]]
    assert (made.exported, drops(made), made.queued) == (4, {"encode_error": 2}, 0)
    assert len(caplog.records) == 1
    made.offer([bad])
    made.export_batch()
    assert len(channel.payloads) == 2  # an empty request is not sent


def test_a_fault_of_the_channel_is_a_failure_like_any_other(clock: Clock) -> None:
    channel = FakeChannel(RuntimeError("a bug"))
    made = exporter(channel, clock)
    made.offer([span(1)])
    made.export_batch()
    assert (made.exported, clock.waits) == (1, [1.0])


def test_a_request_is_never_larger_than_receivers_take(clock: Clock) -> None:
    channel = FakeChannel()
    made = exporter(channel, clock, max_bytes=1 << 30)
    traceback = "x" * 30_000
    made.offer([span(n, events=(SpanEvent("exception", 1, (("s", traceback),)),))
                for n in range(512)])  # fmt: skip
    made.export_batch()
    assert sum(channel.sent(), []) == list(range(512))  # noqa: RUF017  # in order
    assert max(map(len, channel.payloads)) <= MAX_REQUEST_BYTES
    assert made.exported == 512


def test_one_span_that_is_too_large_is_sent_alone(clock: Clock) -> None:
    channel = FakeChannel(Accepted(), Refused("HTTP status 413"))
    made = exporter(channel, clock, max_bytes=1 << 30)
    made.offer([span(1), span(2, "x" * (MAX_REQUEST_BYTES + 1))])
    made.export_batch()
    assert (made.exported, drops(made)) == (1, {"refused": 1})


# ------------------------------------------------------------------------------- the queue


def test_the_queue_is_bounded_in_spans(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    made = exporter(FakeChannel(), clock, max_spans=3)
    for _ in range(4):
        made.offer([span(1), span(2)])
    assert (made.queued, drops(made)) == (3, {"queue_full": 5})
    assert len(caplog.records) == 1
    assert "3 wait for http://collector:4318/v1/traces" in caplog.text
    clock.now += 61
    made.offer([span(1)])
    assert len(caplog.records) == 2


def test_the_queue_is_bounded_in_bytes(clock: Clock) -> None:
    traceback = "x" * 100_000
    made = exporter(FakeChannel(), clock, max_bytes=250_000)
    made.offer([span(n, traceback) for n in range(5)])
    made.offer([span(9)])  # a small one still has room
    assert (made.queued, drops(made)) == (3, {"queue_full": 3})
    made.export_batch()
    made.offer([span(1, traceback)])
    assert made.queued == 1


def test_all_texts_of_a_span_count() -> None:
    small = size_bytes(span(1))
    texts = (("a", "x" * 1000),)
    assert size_bytes(span(1, "x" * 1000)) == small + 1000
    assert size_bytes(span(1, events=(SpanEvent("e", 1, texts),))) == small + 1000
    assert size_bytes(span(1, error=True, status_message="x" * 1000)) == small + 1000


def test_who_takes_waits_for_a_full_batch_or_the_delay() -> None:
    queue = SpanQueue(100, 1 << 20)
    waited: list[int] = []

    def wait() -> None:
        queue.wait(3, 30.0)
        waited.append(len(queue))

    taker = threading.Thread(target=wait)
    taker.start()
    queue.offer([span(1)])
    queue.offer([span(2)])
    assert not waited
    queue.offer([span(3), span(4)])
    taker.join(5)
    assert waited == [4]
    queue.take(10)
    queue.offer([span(1)])
    queue.wait(3, 0.0)  # the delay is over at once
    assert len(queue) == 1
    queue.close()
    queue.wait(3, 30.0)
    assert queue.offer([span(1), span(2)]) == 2


# --------------------------------------------------------------------------------- the end


def test_stop_sends_what_waits(clock: Clock) -> None:
    channel = FakeChannel()
    made = exporter(channel, clock, batch_spans=2)
    made.offer([span(n) for n in range(5)])
    made.start()
    made.stop(5.0)
    assert sum(map(len, channel.sent())) == 5
    assert (made.exported, made.queued, channel.closed) == (5, 0, True)
    made.offer([span(1)])
    assert drops(made) == {"shutdown": 1}


def test_stop_does_not_wait_for_an_endpoint_that_is_away(clock: Clock) -> None:
    channel = FakeChannel(last=Failed("down"))
    made = SpanExporter(channel, SpanEncoder({}), batch_spans=2, monotonic=clock)
    made.offer([span(n) for n in range(5)])
    made.start()
    wait_until(lambda: channel.payloads)  # the first batch failed, and a retry is due
    made.stop(5.0)
    # One last try of that batch; the others would fare no better.
    assert len(channel.payloads) == 2
    assert drops(made) == {"shutdown": 5}
    assert made.queued == 0


def test_the_last_requests_have_the_time_that_is_left(clock: Clock) -> None:
    channel = FakeChannel()
    made = exporter(channel, clock, batch_spans=1)
    made.offer([span(1)])
    made.start()
    wait_until(lambda: made.exported == 1)
    channel.outcomes = [Accepted()]
    made._deadline = clock.now + 3.0
    made._stopping.set()
    made._queue.offer([span(2)])
    made._queue.close()
    made._thread.join(5)
    assert channel.seconds[-1] == 3.0


# ---------------------------------------------------------------------------- what is said


def test_it_is_said_once_when_it_breaks_and_once_when_it_recovers(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    channel = FakeChannel(*[Failed("cannot connect: refused")] * 20)
    made = exporter(channel, clock, batch_spans=1, max_spans=2)
    made.offer([span(1), span(2)])
    clock.at_wait = lambda: made.offer([span(3), span(4)])
    made.export_batch()
    made.export_batch()
    said = [record.getMessage() for record in caplog.records if "wait for" not in record.message]
    assert said == [
        "Spans do not reach http://collector:4318/v1/traces, tried again: "
        "cannot connect: refused (told once)",
        f"Spans reach http://collector:4318/v1/traces again; {made.dropped.total()} were dropped "
        "meanwhile",
    ]


def test_an_endpoint_that_comes_and_goes_does_not_flood_the_log(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = exporter(FakeChannel(*[Refused("no"), Accepted()] * 50), clock, batch_spans=1)
    for number in range(100):
        made.offer([span(number)])
        made.export_batch()
    assert len(caplog.records) == 2
    clock.now += 61
    made._channel.outcomes = [Accepted(1, "old"), Refused("no")]  # type: ignore[attr-defined]
    for _ in range(2):
        made.offer([span(1)])
        made.export_batch()
    assert "refused in part" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 3
