"""The gathering of the status: once for all who ask, whole or with a word on what it lacks."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.process import wait_until
from tests.support.tracking import RECORDINGS, T0, event
from z4j_exporter.app import Exporter
from z4j_exporter.config import build_settings
from z4j_exporter.metrics.actions import ActionReadings
from z4j_exporter.otlp.outcome import Accepted, Failed
from z4j_exporter.status.gather import StatusGatherer
from z4j_exporter.web.pages import Readiness


class Applier:
    """Answers in the asking thread, or as it is told."""

    def __init__(self, exporter: Exporter) -> None:
        self.cluster = exporter._applier.cluster
        self.alive = True
        self.asked: list[Callable[[], Any]] = []
        self.trouble: Callable[[int], None] = lambda _number: None

    def ask(self, question: Callable[[], Any], timeout_seconds: float) -> Any:
        assert timeout_seconds > 0
        self.asked.append(question)
        self.trouble(len(self.asked))
        return question()

    def is_alive(self) -> bool:
        return self.alive


class Rig:
    """The status of an exporter that runs in no thread, with a stepped clock."""

    def __init__(self, **settings: Any) -> None:
        broker = {} if "recording" in settings else {"broker_url": "redis://:secret@broker/0"}
        self.exporter = Exporter(
            build_settings({"listen_address": "127.0.0.1:0", **broker, **settings})
        )
        self.applier = Applier(self.exporter)
        self.now = 100.0
        self.gatherings = 0
        self.parts = replace(
            self.exporter._status._parts,
            applier=self.applier,  # type: ignore[arg-type]
            ready=self._ready,
            healthy=lambda: Readiness(True, "Well."),
            monotonic=lambda: self.now,
            wall=lambda: T0 + self.now,
        )
        self.status = StatusGatherer(self.parts)

    def _ready(self) -> Readiness:
        self.gatherings += 1
        return Readiness(True, "Well.")

    def play(self, *events: Any) -> "Rig":
        for each in events:
            self.applier.cluster.apply(each, self.now, T0 + self.now)
        return self

    def disconnect(self, reason: str) -> None:
        self.exporter._reader.reason = reason

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self.status.status().notes)


@pytest.fixture
def rig() -> Rig:
    return Rig(trace_memory_spans=100)


def fail(uuid: str = "u1") -> list[Any]:
    return [
        event("task-sent", 0, uuid, name="a", queue="q", root_id=uuid),
        event("task-received", 1, uuid, name="a", root_id=uuid),
        event("task-started", 2, uuid),
        event("task-failed", 3, uuid, exception="E('secret')"),
    ]


def test_the_parts_come_together(rig: Rig) -> None:
    rig.play(
        event("worker-heartbeat", active=1, processed=1),
        *fail(),
        event("task-received", 4, "r", name="b"),
        event("task-started", 4, "r"),
    )
    rig.applier.cluster.flush()
    status = rig.status.status()
    assert status.notes == ()
    assert (status.ready, status.workers_total, status.workers_up) == (True, 1, 1)
    assert status.totals["failed"] == 1
    assert status.totals["started"] == 2
    assert status.in_progress == {"running": 1, "reserved": 0, "waiting": 0}
    assert status.in_progress_total == 1
    assert [(row.name, row.seconds) for row in status.stuck] == [("b", 96.0)]
    assert [(row.name, row.exception, row.attempt) for row in status.failures] == [("a", "E", 1)]
    assert [row.seconds for row in status.slowest] == [1.0]
    assert (status.lag_median_seconds, status.rates, status.losses) == (None, [], [])
    assert "secret" not in repr(status)


def test_one_picture_serves_all_who_ask_within_a_second(rig: Rig) -> None:
    first = rig.status.status()
    rig.now += 0.99
    assert rig.status.status() is first
    rig.now += 0.02
    assert rig.status.status() is not first
    assert rig.gatherings == 2


def test_what_took_long_serves_longer(rig: Rig) -> None:
    def slow(number: int) -> None:
        rig.now += 0.1 if number <= 5 else 0.0

    rig.applier.trouble = slow
    first = rig.status.status()
    rig.now += 1.9
    assert rig.status.status() is first
    rig.now += 0.2
    assert rig.status.status() is not first


def test_two_who_ask_at_once_cause_one_gathering(rig: Rig) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_number: int) -> None:
        begun.set()
        assert go_on.wait(10)

    rig.applier.trouble = hold
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(rig.status.status())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    assert found == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len({id(each) for each in found}) == 1
    assert rig.gatherings == 1


def test_a_tracker_that_does_not_answer_costs_only_what_it_knows(rig: Rig) -> None:
    rig.play(*fail())
    rig.disconnect("connection refused")

    def never(_number: int) -> None:
        rig.now += 1.0
        raise TimeoutError

    rig.applier.trouble = never
    status = rig.status.status()
    assert len(rig.applier.asked) == 1  # it is not asked again and again
    assert "did not answer within 1 s" in status.notes[0]
    assert (status.totals, status.in_progress, status.failures) == ({}, {}, ())
    assert status.in_progress_total == 0  # this can be read without it
    assert status.connections[0].ok is False
    assert status.connections[0].detail == "connection refused"


def test_a_tracker_that_has_ended_is_told(rig: Rig) -> None:
    rig.applier.alive = False

    def ended(_number: int) -> None:
        raise RuntimeError("the applier thread is not running")

    rig.applier.trouble = ended
    assert rig.notes == ("The tracker does not run: tasks and workers are not known.",)


def test_a_fault_in_one_answer_leaves_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig.play(event("task-received", 0, "r", name="b"), event("task-started", 0, "r"))

    def broken() -> Any:
        raise KeyError("bug")

    monkeypatch.setattr(rig.status._tracked, "figures", broken)
    status = rig.status.status()
    assert status.notes == ("A part of this could not be gathered; the exporter's log says why.",)
    assert status.in_progress["running"] == 1
    assert "this is a bug" in caplog.text


def test_a_fault_beside_the_tracker_leaves_what_the_tracker_says(rig: Rig) -> None:
    def broken() -> Any:
        raise KeyError("bug")

    rig.parts = replace(rig.parts, advice=broken)
    status = StatusGatherer(rig.parts).status()
    assert status.in_progress == {"running": 0, "reserved": 0, "waiting": 0}
    assert len(status.notes) == 1


def test_a_census_that_takes_too_long_tells_how_far_it_came(rig: Rig) -> None:
    rig.play(*(event("task-sent", 0, f"u{n}", name="a", queue="q") for n in range(1000)))

    def slow(number: int) -> None:
        if number > 5:
            rig.now += 0.6

    rig.applier.trouble = slow
    rig.parts = replace(rig.parts, monotonic=lambda: rig.now)
    clock = iter(range(10**6))
    original = rig.status._tracked.census

    def in_pieces(wall: float) -> Any:
        made = original(wall)
        go_on = made.go_on
        made.go_on = lambda _clock: go_on(lambda: float(next(clock)))  # one look each
        return made

    rig.status._tracked.census = in_pieces  # type: ignore[method-assign]
    status = rig.status.status()
    assert status.notes == (
        "There was time to look at 512 tasks in progress of 1000, the oldest first.",
    )
    assert status.in_progress == {}  # a part of them would be wrong
    assert status.in_progress_total == 1000
    assert len(status.stuck) == 10


def test_a_trace_is_linked_only_while_the_pages_have_it(rig: Rig) -> None:
    uuid = "0123456789abcdef0123456789abcdef"
    rig.play(*fail(uuid), event("task-received", 4, "child", name="b", root_id=uuid))
    rig.applier.cluster.tick(rig.now)
    before = rig.status.status()
    assert [row.trace_id for row in (*before.failures, *before.stuck)] == ["", ""]
    rig.applier.cluster.tick(rig.now + 3)  # by now its spans are made
    rig.now += 3
    after = rig.status.status()
    assert [row.trace_id for row in (*after.failures, *after.stuck)] == [uuid, uuid]
    traces = rig.exporter._telemetry.traces
    assert traces is not None
    assert traces.find(uuid) == [uuid]


def test_without_a_memory_of_traces_nothing_is_linked() -> None:
    rig = Rig(trace_memory_spans=0)
    rig.play(*fail())
    rig.applier.cluster.flush()
    status = rig.status.status()
    assert [row.trace_id for row in status.failures] == [""]
    assert status.traces is False


def test_rates_come_with_the_ticks(rig: Rig) -> None:
    rig.exporter._reader.connected = True
    rig.status.tick(rig.now)
    rig.play(*fail())
    rig.applier.cluster.flush()
    rig.now += 15
    rig.status.tick(rig.now)
    (rate,) = rig.status.status().rates
    assert rate[1:] == (15.0, 1, 0, 1, 0)


@pytest.mark.parametrize("profile", ["native", "celery-exporter", "flower"])
def test_every_profile_has_a_status(profile: str) -> None:
    rig = Rig(metrics_profile=profile)
    rig.play(event("worker-heartbeat", active=1, processed=1), *fail())
    rig.applier.cluster.flush()
    status = rig.status.status()
    assert status.notes == ()
    assert (len(status.failures), status.workers_total) == (1, 1)


def test_only_what_is_configured_is_a_connection(tmp_path: Any) -> None:
    recording = Rig(recording=next(RECORDINGS.glob("*.jsonl")))
    assert [c.what for c in recording.status.status().connections] == ["Events (recording)"]
    every = Rig(
        otlp_endpoint="http://user:secret@collector:4318",
        otlp_metrics=True,
        journal_path=tmp_path / "journal",
        result_backend_url="redis://:secret@backend/1",
    )
    status = every.status.status()
    assert [(c.what, c.ok) for c in status.connections] == [
        ("Events (Redis)", None),
        ("Queues", None),
        ("Workers (inspect)", None),
        ("Traces (OTLP)", None),
        ("Metrics (OTLP)", None),
        ("Journal", True),
        ("Result backend", None),
    ]
    assert "secret" not in repr(status)


def test_how_the_last_request_went_is_told() -> None:
    rig = Rig(otlp_endpoint="http://collector:4318", otlp_metrics=True)
    telemetry = rig.exporter._telemetry
    assert telemetry._sender is not None
    assert telemetry._push is not None
    for outcome, ok, detail in (
        (Accepted(), True, ""),
        (Accepted(3, "bad ids"), False, "3 of the last request refused: bad ids"),
        (Failed("timed out\n\x1b"), False, "timed out\ufffd\ufffd"),
    ):
        telemetry._sender.last = telemetry._push.last = outcome
        rig.now += 2
        found = [c for c in rig.status.status().connections if "OTLP" in c.what]
        assert [(c.ok, c.detail) for c in found] == [(ok, detail)] * 2
    assert found[0].where == "http://collector:4318/v1/traces"


def test_the_thread_that_holds_the_tracker_keeps_time() -> None:
    """The applier itself ticks: the sampler has looked soon after the start."""
    exporter = Exporter(
        build_settings(
            {"recording": next(RECORDINGS.glob("*.jsonl")), "listen_address": "127.0.0.1:0"}
        )
    )
    # Not the whole of it: that would change this process's garbage collection.
    exporter._applier.start()
    exporter._reader.start()
    try:
        samples = exporter._status._tracked.sampler._samples
        wait_until(lambda: len(samples) == 1, timeout=10)
        assert exporter._applier.errors["status"] == 0
        assert exporter._status.status().notes == ()
    finally:
        exporter._reader.stop()
        exporter._applier.stop()
        exporter._reader.join(5)
        exporter._applier.join(5)


@pytest.mark.parametrize("answered", [4, 5])
def test_a_census_that_is_never_answered_keeps_what_was_answered(rig: Rig, answered: int) -> None:
    rig.play(*fail())
    rig.applier.cluster.flush()

    def stops(number: int) -> None:
        if number > answered:
            rig.now += 1.0
            raise TimeoutError

    rig.applier.trouble = stops
    status = rig.status.status()
    assert status.totals["failed"] == 1
    assert len(status.failures) == 1
    assert (status.in_progress, status.stuck) == ({}, ())
    assert len(status.notes) == 1
    assert "did not answer" in status.notes[0]


def test_the_actions_are_a_connection_and_their_losses_count(rig: Rig) -> None:
    class Acting:
        url = "http://127.0.0.1:9809"
        good = True

        def readings(self) -> ActionReadings:
            names = ActionReadings.__dataclass_fields__
            nothing: dict[str, Any] = {
                n: {} if "Mapping" in str(f.type) else 0 for n, f in names.items()
            }
            known = {"last_token_reload_ok": self.good, "audit_failures": 2, "audit_mac": ""}
            return ActionReadings(**{**nothing, **known})

    acting = Acting()
    parts = replace(rig.parts, acting=lambda: acting)  # type: ignore[arg-type,return-value]
    status = StatusGatherer(parts).status()
    assert status.connections[-1] == ("Actions", acting.url, True, "")
    assert [loss.count for loss in status.losses] == [2]
    acting.good = False
    last = StatusGatherer(parts).status().connections[-1]
    assert (last.ok, last.detail) == (False, "the token file is broken: an older one is in force")
