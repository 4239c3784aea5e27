"""When metrics are pushed, what is tried again, what is counted and said; on a clock of its own."""

import logging
import math
from collections.abc import Callable, Sequence

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client.parser import text_string_to_metric_families

from z4j_exporter import __version__
from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError
from z4j_exporter.metrics.export_durations import ExportDurations
from z4j_exporter.metrics.exposition import render
from z4j_exporter.metrics.push import MetricsPush, interval_seconds, make_push
from z4j_exporter.metrics.resource import own_resource
from z4j_exporter.metrics.store import Family, FamilySnapshot
from z4j_exporter.otlp.outcome import Accepted, Failed, Outcome, Refused

ONE = FamilySnapshot(Family("jobs_total", "counter", "Jobs."), [("", 1)])


class Clock:
    """Time that passes when someone waits or sends."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        #: Ends what waits when this many waits are over.
        self.ends_after = 10**9

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return len(self.waits) >= self.ends_after


class Scripted:
    """A channel that answers as it is told, the last answer for ever; each takes its time."""

    location = "http://collector:4318/v1/metrics"
    timeout = 10.0

    def __init__(self, clock: Clock, *answers: Outcome | Exception, takes: float = 0.5) -> None:
        self._clock = clock
        self._answers = list(answers) or [Accepted()]
        self.takes = takes
        self.sent: list[tuple[float, bytes, float]] = []
        self.closed = False

    def send(self, payload: bytes, seconds: float) -> Outcome:
        self.sent.append((self._clock.now, payload, seconds))
        self._clock.now += min(self.takes, seconds)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


class Words:
    """An encoder whose requests can be told apart: the push's number and the request's."""

    def __init__(self, requests: int = 1) -> None:
        self.pushes = 0
        self.requests = requests

    def encode(self, snapshots: Sequence[FamilySnapshot], now_ns: int) -> list[bytes]:
        assert snapshots == [ONE]
        assert now_ns == 5
        self.pushes += 1
        return [f"{self.pushes}.{n}".encode() for n in range(self.requests)]


class Pushed:
    """A push with everything around it."""

    def __init__(
        self,
        *answers: Outcome | Exception,
        take: Callable[[], list[FamilySnapshot]] = lambda: [ONE],
        requests: int = 1,
        takes: float = 0.5,
        interval: float = 60.0,
    ) -> None:
        self.clock = Clock()
        self.channel = Scripted(self.clock, *answers, takes=takes)
        self.exports = ExportDurations(("metrics",))
        self.push = MetricsPush(
            take,
            Words(requests),
            self.channel,
            self.exports,
            interval_seconds=interval,
            monotonic=self.clock.monotonic,
            wall_ns=lambda: 5,
            rand=lambda: 1.0,
            wait=self.clock.wait,
        )

    def once(self, within: float = 60.0) -> float:
        return self.push.push(until=self.clock.now + within)

    def counted(self) -> dict[str, float]:
        text = render([self.exports.snapshot()], openmetrics=False).decode()
        (family,) = text_string_to_metric_families(text)
        return {
            sample.labels["outcome"]: sample.value
            for sample in family.samples
            if sample.name.endswith("_count") and sample.value
        }


# -- one push ------------------------------------------------------------------------------------


def test_all_requests_are_sent() -> None:
    pushed = Pushed(requests=3)
    assert pushed.once() == 0
    assert [payload for _, payload, _ in pushed.channel.sent] == [b"1.0", b"1.1", b"1.2"]
    assert pushed.counted() == {"ok": 3}


def test_what_failed_is_tried_again_ever_later() -> None:
    pushed = Pushed(Failed("down"), Failed("down"), Failed("down"), Accepted())
    assert pushed.once() == 0
    assert pushed.clock.waits == [1, 2, 4]
    assert {payload for _, payload, _ in pushed.channel.sent} == {b"1.0"}
    assert pushed.counted() == {"failed": 3, "ok": 1}


def test_it_is_tried_until_the_next_push_and_no_longer() -> None:
    pushed = Pushed(Failed("down"), requests=5)
    began = pushed.clock.now
    pushed.once(within=60)
    assert pushed.clock.waits == [1, 2, 4, 8, 16]
    assert pushed.clock.now < began + 60
    # The other requests would fare the same.
    assert {payload for _, payload, _ in pushed.channel.sent} == {b"1.0"}


def test_the_last_try_ends_in_time() -> None:
    pushed = Pushed(Failed("slow"), takes=10)
    began = pushed.clock.now
    pushed.once(within=25)
    assert [seconds for *_, seconds in pushed.channel.sent] == [10, 10, 2]
    assert pushed.clock.now <= began + 25


def test_what_was_refused_is_not_tried_again_but_the_rest_is_sent() -> None:
    pushed = Pushed(Refused("too large"), Accepted(), requests=2)
    pushed.once()
    assert [payload for _, payload, _ in pushed.channel.sent] == [b"1.0", b"1.1"]
    assert pushed.counted() == {"refused": 1, "ok": 1}
    assert pushed.clock.waits == []


def test_the_endpoint_says_when_to_come_again() -> None:
    pushed = Pushed(Failed("busy", retry_after=7), Accepted())
    assert pushed.once() == 0
    assert pushed.clock.waits == [7]


@pytest.mark.parametrize(
    ("asked", "left"), [(100.0, 100), (1e300, 3600), (math.inf, 3600), (math.nan, 0), (-5.0, 0)]
)
def test_an_endpoint_that_wants_to_be_left_alone_is(asked: float, left: float) -> None:
    pushed = Pushed(Failed("busy", retry_after=asked))
    assert pushed.once(within=1.2) == left
    assert len(pushed.channel.sent) == 1


def test_a_fault_of_the_channel_counts_as_failed() -> None:
    pushed = Pushed(RuntimeError("a bug"), Accepted())
    pushed.once()
    assert pushed.counted() == {"failed": 1, "ok": 1}


# -- the thread ----------------------------------------------------------------------------------


def test_it_pushes_every_interval() -> None:
    pushed = Pushed(interval=60)
    began = pushed.clock.now
    pushed.clock.ends_after = 4
    pushed.push.run()
    assert [at - began for at, *_ in pushed.channel.sent] == [60, 120, 180]
    assert pushed.channel.closed


def test_a_push_that_took_too_long_shifts_nothing() -> None:
    pushed = Pushed(interval=4, takes=6.0)
    began = pushed.clock.now
    pushed.clock.ends_after = 4
    pushed.push.run()
    assert [at - began for at, *_ in pushed.channel.sent] == [4, 12, 20]


def test_it_leaves_the_endpoint_alone_for_longer_than_an_interval() -> None:
    pushed = Pushed(Failed("busy", retry_after=100), Accepted(), interval=10, takes=0)
    began = pushed.clock.now
    pushed.clock.ends_after = 3
    pushed.push.run()
    assert [at - began for at, *_ in pushed.channel.sent] == [10, 110]


def test_each_push_reads_the_metrics_anew() -> None:
    pushed = Pushed(Failed("down"), interval=1)
    pushed.clock.ends_after = 4
    pushed.push.run()
    assert [payload for _, payload, _ in pushed.channel.sent] == [b"1.0", b"2.0", b"3.0"]


def test_it_pushes_once_more_at_the_end() -> None:
    pushed = Pushed(Failed("down"), takes=100)
    pushed.clock.ends_after = 1
    began = pushed.clock.now + 60
    pushed.push.stop(63)  # not started: it takes note only
    pushed.push.run()
    assert [(at, seconds) for at, _, seconds in pushed.channel.sent] == [(began, 3)]
    assert pushed.channel.closed


def test_the_real_thread_stops_with_a_last_push() -> None:
    clock = Clock()
    channel = Scripted(clock, takes=0)
    push = MetricsPush(
        lambda: [ONE],
        Words(),
        channel,
        ExportDurations(("metrics",)),
        interval_seconds=1e6,
        wall_ns=lambda: 5,
    )
    push.start()
    assert push.name == "otlp-metrics"
    assert push.daemon
    push.stop(10)
    assert not push.is_alive()
    assert [payload for _, payload, _ in channel.sent] == [b"1.0"]
    assert channel.closed


# -- what is said --------------------------------------------------------------------------------


def test_each_state_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    down, no = Failed("connection refused"), Refused("401 Unauthorized")
    rejected = Accepted(rejected=3, message="too old")
    pushed = Pushed(Accepted(), down, down, no, no, rejected, rejected, Accepted(), Accepted())
    with caplog.at_level(logging.INFO, "z4j_exporter"):
        for _ in range(9):
            pushed.once(within=1)
    where = "http://collector:4318/v1/metrics"
    assert [record.getMessage() for record in caplog.records] == [
        f"Metrics do not reach {where}: connection refused (told once)",
        f"{where} refuses the metrics: 401 Unauthorized (told once)",
        f"{where} refuses 3 data points: too old (told once)",
        f"Metrics reach {where} again",
    ]


def test_metrics_that_cannot_be_read_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    takes = iter([TimeoutError("busy"), TimeoutError("busy"), None])

    def take() -> list[FamilySnapshot]:
        if error := next(takes):
            raise error
        return [ONE]

    pushed = Pushed(take=take)
    for _ in range(3):
        pushed.once()
    assert len(pushed.channel.sent) == 1
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == ["Metrics could not be read to be pushed: TimeoutError('busy') (told once)"]


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "environ", "seconds"),
    [
        ({}, {}, 60),
        ({}, {"OTEL_METRIC_EXPORT_INTERVAL": "5000"}, 5),
        ({}, {"OTEL_METRIC_EXPORT_INTERVAL": " "}, 60),
        ({"otlp_metrics_interval": 2.5}, {"OTEL_METRIC_EXPORT_INTERVAL": "x"}, 2.5),
        ({"otlp_metrics_interval": 1e300}, {}, 365 * 86400),
    ],
)
def test_the_interval(settings: dict[str, object], environ: dict[str, str], seconds: float) -> None:
    assert interval_seconds(Settings.model_validate(settings), environ) == seconds


@pytest.mark.parametrize("text", ["x", "0", "-1", "nan", "inf"])
def test_an_interval_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="OTEL_METRIC_EXPORT_INTERVAL is not a number above 0"):
        interval_seconds(Settings(), {"OTEL_METRIC_EXPORT_INTERVAL": text})


def made(environ: dict[str, str], **settings: object) -> MetricsPush | None:
    exports = ExportDurations(("metrics",))
    return make_push(Settings.model_validate(settings), list, exports, environ, start_ns=1)


def test_nothing_is_pushed_unless_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    there = {"otlp_endpoint": "http://localhost:4318"}
    assert made({}, **there) is None
    assert not caplog.records
    assert made({}, **there, otlp_metrics=True) is not None
    assert made({}, otlp_metrics=True) is None
    assert made({"OTEL_METRICS_EXPORTER": "none"}, **there, otlp_metrics=True) is None
    assert {record.getMessage() for record in caplog.records} == {
        "--otlp-metrics has no effect: no endpoint is set, or OTLP is turned off"
    }


def test_what_is_made_pushes_real_requests() -> None:
    push = made({"OTEL_SERVICE_NAME": "mine"}, otlp_endpoint="http://x", otlp_metrics=True)
    assert push is not None
    (payload,) = push._encoder.encode([ONE], 2)
    request = ExportMetricsServiceRequest.FromString(payload)
    attributes = request.resource_metrics[0].resource.attributes
    assert ("service.name", "mine") in {(a.key, a.value.string_value) for a in attributes}


# -- the resource --------------------------------------------------------------------------------


def test_the_resource_is_the_exporter() -> None:
    first, second = own_resource({}), own_resource({})
    assert first == second
    assert first.keys() == {"service.name", "service.version", "service.instance.id"}
    assert first["service.name"] == "z4j-exporter"
    assert first["service.version"] == __version__
    assert len(first["service.instance.id"]) == 36


def test_the_environment_says_more() -> None:
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "zone=a%2Cb,service.name=one,service.instance.id=7"}
    found = own_resource(environ)
    assert found["zone"] == "a,b"
    assert (found["service.name"], found["service.instance.id"]) == ("one", "7")
    assert own_resource({**environ, "OTEL_SERVICE_NAME": "two"})["service.name"] == "two"


# -- durations -----------------------------------------------------------------------------------


def test_all_outcomes_are_there_at_0() -> None:
    exports = ExportDurations(("traces", "metrics"))
    labels = [labels for labels, _ in exports.snapshot().samples]
    assert labels == [
        f'signal="{signal}",outcome="{outcome}"'
        for signal in ("traces", "metrics")
        for outcome in ("ok", "failed", "refused")
    ]


def test_a_snapshot_of_durations_is_a_copy() -> None:
    exports = ExportDurations(("traces",))
    before = exports.snapshot()
    exports.observe("traces", "ok", 0.2)
    assert before != exports.snapshot()
    assert all(value.sum == 0 for _, value in before.samples)  # type: ignore[union-attr]
