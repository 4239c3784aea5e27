"""Each check, on facts that are made up."""

from dataclasses import replace

import pytest

from z4j_exporter.doctor.checks import check_backend, check_exposure, diagnose
from z4j_exporter.doctor.checks_events import (
    check_channels,
    check_enabled,
    check_refused,
    check_task_events,
    check_task_sent,
    check_workers,
)
from z4j_exporter.doctor.checks_fleet import check_clock, check_control, check_versions
from z4j_exporter.doctor.checks_queues import check_consumers, check_management, check_queues
from z4j_exporter.doctor.facts import (
    BackendFacts,
    BrokerFacts,
    ChannelFacts,
    Elsewhere,
    Exposure,
    Facts,
    HeardWorker,
    SentFacts,
)
from z4j_exporter.doctor.model import Finding
from z4j_exporter.fleet.model import FleetReading, WorkerFacts
from z4j_exporter.queues.model import QueuePoll, QueueReading

BROKER = BrokerFacts("redis://h:6379/0", "redis", connected=True)
W1 = HeardWorker("w1@a", heartbeats=5, task_events=8, ran=3, clock_skew=0.01, version="5.7.0")
W2 = replace(W1, name="w2@b")
HERE = ChannelFacts("/0.celeryev")
APART = Elsewhere("app:/0.celeryev", "--broker-transport-option global_keyprefix=app:", 7)


def facts(*workers: HeardWorker, **more: object) -> Facts:
    given: dict[str, object] = {"broker": BROKER, "listened_seconds": 10.0, "workers": workers}
    return Facts(**{**given, **more})  # type: ignore[arg-type]


def answers(*names: str, queues: tuple[str, ...] | None = ("celery",)) -> FleetReading:
    told = tuple(WorkerFacts(name, queues=queues) for name in names)
    return FleetReading(0.0, 1.0, True, workers=told, answered=frozenset(names))


def poll(*readings: QueueReading, success: bool = True, **more: object) -> QueuePoll:
    given: dict[str, object] = {"method": "redis", "error": "" if success else "it hung"}
    return QueuePoll(
        success=success,
        duration_seconds=0.01,
        finished_at=0.0,
        readings=readings,
        **{**given, **more},  # type: ignore[arg-type]
    )


def queue(name: str, ready: int, consumers: int | None = None) -> QueueReading:
    return QueueReading(name, ready={"": ready}, consumers=consumers)


def found(finding: Finding | None) -> tuple[str, str]:
    assert finding is not None
    if finding.verdict in ("warning", "problem"):
        assert finding.advice, "who is told of trouble is told what to do"
    return finding.verdict, f"{finding.evidence} / {finding.advice}"


# -- broker and transport ------------------------------------------------------------------------


def test_without_a_transport_nothing_else_is_judged() -> None:
    unusable = BrokerFacts(usable=False, error="the transport 'sqs' cannot carry events")
    (only,) = diagnose(Facts(unusable))
    assert (only.check, only.verdict) == ("transport", "problem")
    assert "sqs" in only.evidence


def test_without_a_connection_nothing_else_is_judged() -> None:
    refused = replace(BROKER, connected=False, error="the server refused the password")
    transport, broker = diagnose(Facts(refused))
    assert transport.verdict == "ok"
    assert found(broker)[0] == "problem"
    assert "--broker-url" in broker.advice


def test_a_connection_that_breaks() -> None:
    broken = replace(BROKER, error="the server closed the connection")
    finding = next(f for f in diagnose(facts(W1, broker=broken)) if f.check == "broker")
    assert found(finding)[0] == "warning"


# -- workers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "verdict", "says"),
    [
        (facts(W1, W2), "ok", "2 workers up: w1@a, w2@b"),
        (facts(), "problem", "no heartbeat within 10 s"),
        (facts(asked=True, fleet=answers()), "problem", "nobody answers"),
        (facts(listened_seconds=1.0), "skipped", "yet"),
        (facts(channels=replace(HERE, listeners=2)), "warning", "2 workers connected"),
        (facts(channels=replace(HERE, listeners=0)), "problem", "Start a worker"),
        (facts(channels=replace(HERE, elsewhere=(APART,))), "skipped", "Fan-out prefix"),
        (facts(polls=(poll(queue("celery", 0, consumers=1)),)), "warning", "solo"),
        (facts(W1, replace(W2, up=False)), "warning", "w2@b went away; 1 worker up"),
        (facts(replace(W1, heartbeats=0, woken=1)), "warning", "--without-heartbeat"),
        (facts(asked=True, fleet=answers("w1@a")), "problem", "w1@a: inspect"),
        (facts(W1, asked=True, fleet=answers("w1@a", "w2@b")), "warning", "w2@b: inspect"),
        (
            facts(asked=True, fleet=answers("w1@a"), channels=ChannelFacts("x", (APART,))),
            "skipped",
            "their events go elsewhere",
        ),
    ],
)
def test_workers(given: Facts, verdict: str, says: str) -> None:
    got, text = found(check_workers(given))
    assert got == verdict
    assert says in text


def test_the_place_to_look_is_the_brokers_own() -> None:
    rabbit = replace(BROKER, system="rabbitmq")
    assert "vhost" in check_workers(facts(broker=rabbit)).advice
    assert "database" in check_workers(facts()).advice


@pytest.mark.parametrize(
    ("given", "verdict", "says"),
    [
        (facts(W1, channels=HERE), "ok", "/0.celeryev"),
        (facts(W1, channels=replace(HERE, looked=False)), "ok", "/0.celeryev"),
        (facts(channels=replace(HERE, looked=False)), "note", "by hand"),
        (facts(W1, channels=ChannelFacts("/0.celeryev", (APART,))), "ok", "app:/0.celeryev"),
        (facts(channels=ChannelFacts("/0.celeryev", (APART,))), "problem", "global_keyprefix=app:"),
        (facts(channels=ChannelFacts("x", (Elsewhere("y", ""),))), "problem", "fanout_prefix"),
    ],
)
def test_channels(given: Facts, verdict: str, says: str) -> None:
    got, text = found(check_channels(given))
    assert got == verdict
    assert says in text


def test_channels_are_for_redis() -> None:
    assert check_channels(facts(W1)) is None


# -- events --------------------------------------------------------------------------------------

OFF = replace(W1, task_events=0)
QUIET = replace(W2, task_events=0, ran=0)
RUNNING = replace(W1, task_events=None, missing=0)


@pytest.mark.parametrize(
    ("given", "verdict", "says"),
    [
        (facts(), "skipped", "no worker"),
        (facts(W1), "ok", "on: w1@a"),
        (facts(W1, QUIET), "ok", "ran no task, so unknown: w2@b"),
        (facts(QUIET), "note", "no task ran"),
        (facts(OFF), "problem", "w1@a ran 3 tasks, but sent no task event"),
        (facts(OFF), "problem", "-E"),
        (facts(OFF, W2), "problem", "w1@a ran 3 tasks"),
        (facts(replace(OFF, up=False), W2), "ok", "on: w2@b"),
        (facts(QUIET, enabled={"w2@b": "task events enabled"}), "ok", "on: w2@b"),
        (facts(RUNNING), "ok", "no worker"),
        (facts(replace(RUNNING, missing=4)), "warning", "w1@a 4"),
        (facts(*(replace(OFF, name=f"w{n}") for n in range(5))), "problem", "and 2 more"),
    ],
)
def test_task_events(given: Facts, verdict: str, says: str) -> None:
    got, text = found(check_task_events(given))
    assert got == verdict
    assert says in text


BEFORE, GROWN, SHRUNK = (poll(queue("celery", n)) for n in (100, 150, 60))


@pytest.mark.parametrize(
    ("sent", "polls", "verdict"),
    [
        (SentFacts(received=0, matched=0, sent=0), (BEFORE, BEFORE), "skipped"),
        (SentFacts(received=9, matched=9, sent=12), (BEFORE, BEFORE), "ok"),
        (SentFacts(received=0, matched=0, sent=3), (BEFORE, GROWN), "ok"),
        (SentFacts(received=9, matched=1, sent=1), (BEFORE, BEFORE), "note"),
        (SentFacts(received=9, matched=0, sent=0), (BEFORE, BEFORE), "warning"),
        (SentFacts(received=9, matched=0, sent=0), (BEFORE, GROWN), "warning"),
        # What was received may all have waited since before.
        (SentFacts(received=9, matched=0, sent=0), (BEFORE, SHRUNK), "note"),
        (SentFacts(received=9, matched=0, sent=0), (BEFORE,), "note"),
        (SentFacts(received=9, matched=0, sent=0), (BEFORE, poll(success=False)), "note"),
        (SentFacts(received=9, matched=0, sent=0), (), "note"),
    ],
)
def test_sent_events(sent: SentFacts, polls: tuple[QueuePoll, ...], verdict: str) -> None:
    assert found(check_task_sent(facts(W1, sent=sent, polls=polls)))[0] == verdict


def test_sent_events_are_not_judged_where_they_were_not_counted() -> None:
    assert check_task_sent(facts(W1)) is None


def test_unreadable_events() -> None:
    assert check_refused(facts(W1)) is None
    verdict, text = found(check_refused(facts(W1, refused={"unsafe_content_type": 3})))
    assert verdict == "warning"
    assert "3 messages" in text
    assert "event_serializer" in text
    assert found(check_refused(facts(refused={"malformed": 1})))[0] == "warning"


def test_what_enabling_did() -> None:
    assert check_enabled(facts(W1)) is None
    assert found(check_enabled(facts(W1, enabled={})))[0] == "warning"
    done = {"w1@a": "task events enabled", "w2@b": "task events already enabled"}
    verdict, text = found(check_enabled(facts(W1, W2, enabled=done)))
    assert verdict == "note"
    assert "turned on: w1@a; were on: w2@b" in text
    assert "restart" in text
    assert "restart" not in found(check_enabled(facts(enabled={"w2@b": "already"})))[1]


# -- fleet ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (facts(W1), "skipped"),
        (facts(asked=True, fleet=answers()), "skipped"),
        (facts(W1, asked=True, fleet=answers("w1@a")), "ok"),
        (facts(W1, W2, asked=True, fleet=answers("w1@a")), "note"),
        (facts(W1, asked=True), "note"),
        (facts(W1, asked=True, fleet=FleetReading(0.0, 1.0, False, error="it hung")), "note"),
        (facts(W1, replace(W2, up=False), asked=True, fleet=answers("w1@a")), "ok"),
    ],
)
def test_control(given: Facts, verdict: str) -> None:
    assert found(check_control(given))[0] == verdict


@pytest.mark.parametrize(
    ("skews", "verdict", "says"),
    [
        ((), "skipped", ""),
        ((0.2, -4.9), "ok", "within 4.9 s"),
        ((0.2, 30.0), "warning", "w1 is 30 s ahead"),
        ((-30.0, 0.0), "warning", "w0 is 30 s behind"),
        ((30.0, 31.0), "warning", "this machine's clock"),
        ((30.0,), "warning", "NTP"),
    ],
)
def test_clock(skews: tuple[float, ...], verdict: str, says: str) -> None:
    workers = [replace(W1, name=f"w{n}", clock_skew=skew) for n, skew in enumerate(skews)]
    got, text = found(check_clock(facts(*workers)))
    assert got == verdict
    assert says in text


@pytest.mark.parametrize(
    ("versions", "verdict", "says"),
    [
        (("",), "skipped", ""),
        (("5.7.0", "5.7.0"), "ok", "5.7.0 (2 workers)"),
        (("5.6.2", "5.7.0"), "note", "mixed: 5.6.2 (1 worker), 5.7.0 (1 worker)"),
        (("4.4.7",), "note", "not tested"),
        (("\x1b[2Jnext",), "ok", "\\x1b[2Jnext"),
    ],
)
def test_versions(versions: tuple[str, ...], verdict: str, says: str) -> None:
    workers = [replace(W1, name=f"w{n}", version=v) for n, v in enumerate(versions)]
    got, text = found(check_versions(facts(*workers)))
    assert got == verdict
    assert says in text


# -- queues --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("polls", "verdict", "says"),
    [
        ((), "skipped", ""),
        ((poll(),), "skipped", "no queue"),
        ((poll(queue("celery", 1)),), "ok", "1 queue in 10 ms"),
        ((poll(queue("celery", 1), notes=("unacked is too large",)),), "note", "too large"),
        ((poll(queue("celery", 1), method="declare", notes=("no API",)),), "ok", "1 queue"),
        ((poll(success=False),), "warning", "it hung"),
    ],
)
def test_queues(polls: tuple[QueuePoll, ...], verdict: str, says: str) -> None:
    got, text = found(check_queues(facts(W1, polls=polls)))
    assert got == verdict
    assert says in text


LONE = queue("lone", 5)


@pytest.mark.parametrize(
    ("given", "verdict", "says"),
    [
        (facts(W1), "skipped", "not read"),
        (facts(polls=(poll(LONE),)), "skipped", "no worker"),
        (facts(W1, fleet=answers("w1@a"), polls=(poll(queue("celery", 9)),)), "ok", ""),
        (facts(W1, fleet=answers("w1@a"), polls=(poll(queue("lone", 0)),)), "ok", ""),
        (facts(W1, fleet=answers("w1@a"), polls=(poll(LONE),)), "warning", "-Q lone"),
        (facts(W1, fleet=answers("w1@a"), polls=(poll(LONE), poll(LONE))), "warning", "5 messages"),
        (
            facts(W1, fleet=answers("w1@a"), polls=(poll(LONE), poll(queue("lone", 9)))),
            "problem",
            "4 more than at first",
        ),
        # It was not known at the first look: nothing says that it grows.
        (facts(W1, fleet=answers("w1@a"), polls=(poll(), poll(LONE))), "warning", "5 messages"),
        # Somebody who did not answer may consume it.
        (facts(W1, W2, fleet=answers("w1@a"), polls=(poll(LONE),)), "note", "unknown"),
        (facts(W1, polls=(poll(LONE),)), "note", "unknown"),
        (
            facts(
                W1,
                fleet=answers("w1@a"),
                polls=(poll(LONE),),
                channels=replace(HERE, listeners=2),
            ),
            "note",
            "unknown",
        ),
        (facts(W1, fleet=answers("w1@a", queues=None), polls=(poll(LONE),)), "note", "unknown"),
        # RabbitMQ itself tells.
        (facts(W1, polls=(poll(queue("lone", 5, consumers=1)),)), "ok", ""),
        (facts(W1, polls=(poll(queue("lone", 5, consumers=0)),)), "warning", "lone"),
    ],
)
def test_consumers(given: Facts, verdict: str, says: str) -> None:
    got, text = found(check_consumers(given))
    assert got == verdict
    assert says in text


def test_management() -> None:
    rabbit = replace(BROKER, system="rabbitmq")
    assert check_management(facts(W1, polls=(poll(),))) is None
    assert check_management(facts(W1, broker=rabbit)) is None
    good = facts(W1, broker=rabbit, polls=(poll(method="management"),))
    assert found(check_management(good))[0] == "ok"
    fallback = facts(W1, broker=rabbit, polls=(poll(method="declare", notes=("refused",)),))
    verdict, text = found(check_management(fallback))
    assert verdict == "warning"
    assert "refused" in text
    assert "rabbitmq_management" in text
    failed = facts(W1, broker=rabbit, polls=(poll(method="management", success=False),))
    assert found(check_management(failed))[0] == "skipped"  # check_queues tells


# -- the rest ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "verdict", "says"),
    [
        (BackendFacts("", extended=False), "note", "none"),
        (BackendFacts("redis", extended=False), "note", "result_extended = True"),
        (BackendFacts("redis", extended=True, ignored=True), "note", "task_ignore_result"),
        (BackendFacts("redis", extended=True), "ok", "redis"),
    ],
)
def test_backend(backend: BackendFacts, verdict: str, says: str) -> None:
    got, text = found(check_backend(facts(backend=backend)))
    assert got == verdict
    assert says in text
    assert check_backend(facts()) is None


def test_exposure() -> None:
    few = Exposure("native", families=8, series=1234, task_names=3, max_series=100)
    verdict, text = found(check_exposure(facts(exposure=few)))
    assert verdict == "ok"
    assert "1 234 samples in 8 families from 3 task names" in text
    full = replace(few, largest="celery_task_sent_total", largest_series=100, overflowed=7)
    verdict, text = found(check_exposure(facts(exposure=full)))
    assert verdict == "warning"
    assert "--max-series" in text
    assert found(check_exposure(facts(exposure=replace(few, series=0))))[0] == "skipped"
    assert check_exposure(facts()) is None


def test_hostile_names_are_escaped_in_every_finding() -> None:
    hostile = "\x1b]0;owned\x07\u202e\n" * 50
    worker = replace(W1, name=hostile, version=hostile, clock_skew=99.0, task_events=0)
    given = facts(
        worker,
        refused={hostile: 1},
        asked=True,
        fleet=answers(hostile),
        polls=(poll(queue(hostile, 5)), poll(queue(hostile, 9))),
        channels=ChannelFacts(hostile, (Elsewhere(hostile, ""),)),
        enabled={hostile: "task events enabled"},
    )
    for finding in diagnose(given):
        text = finding.evidence + finding.advice
        assert text.isprintable(), finding
        assert len(text) < 2000
