"""Spans end to end: the installed command, a broker, a real worker, and a receiver of OTLP."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support import servers
from tests.support.counted import event_counts, samples
from tests.support.otlp_decoded import ReceivedSpan
from tests.support.otlp_receiver import OtlpReceiver, receiving
from tests.support.process import wait_until
from tests.support.rotel import rotel
from tests.support.servers import Exporter, Redis
from tests.support.stage import Scenario, Stage, staged
from tests.support.traced import IMPORTED
from tests.support.tracing import play
from z4j_exporter.events.decode import event_from_object
from z4j_exporter.tracing.model import CLIENT, CONSUMER, INTERNAL, PRODUCER, Span

KINDS = {INTERNAL: "INTERNAL", CLIENT: "CLIENT", PRODUCER: "PRODUCER", CONSUMER: "CONSUMER"}
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}

Identity = tuple[str, str, str, str, str, int, int]


def exporter(broker: Redis, receiver: OtlpReceiver, *args: str) -> Exporter:
    """Start an exporter that sends to the receiver."""
    protocol = "grpc" if receiver.protocol == "grpc" else "http/protobuf"
    options = ["--otlp-endpoint", receiver.endpoint, "--otlp-protocol", protocol]
    return servers.exporter("--broker-url", broker.url, *options, *args)


def received(span: ReceivedSpan) -> Identity:
    """What makes a received span the one that it is."""
    ids = (span.trace_id, span.span_id, span.parent_id)
    return (*ids, span.name, span.kind, span.start_ns, span.end_ns)


def made(span: Span) -> Identity:
    """The same of a span that was made here."""
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_id.hex())
    return (*ids, span.name, KINDS[span.kind], span.start_ns, span.end_ns)


def expected(stage: Stage, **settings: Any) -> list[Span]:
    """The spans that the events so far must give."""
    arrivals = [(r.at, event_from_object(r.event)) for r in list(stage.listener.received)]
    return play(arrivals, **settings).spans


def wait_for(receiver: OtlpReceiver, spans: list[Span], timeout: float = 20.0) -> None:
    """Wait until the receiver has these spans and no others."""
    want = sorted(map(made, spans))
    wait_until(
        lambda: sorted(set(map(received, receiver.spans()))) == want,
        timeout,
        lambda: f"{[s.name for s in receiver.spans()]} != {[s.name for s in spans]}",
    )


def dropped(running: Exporter) -> float:
    """How many spans the exporter dropped, whatever the reason."""
    return sum(
        number
        for (name, _), number in samples(running.scrape()).items()
        if name == "celery_exporter_spans_dropped_total"
    )


def exported(running: Exporter) -> float:
    """How many spans the exporter says that it sent."""
    return sum(
        number
        for (name, _), number in samples(running.scrape()).items()
        if name == "celery_exporter_spans_exported_total"
    )


def story(stage: Stage) -> None:
    """Nested tasks, a retry that succeeds, and two members of a group."""
    stage.worker()
    stage.task("web.visit", "http://shop/").apply_async()
    stage.task("trace.flaky").apply_async()
    stage.task("work.fan_out", 2).apply_async()


#: 3 of the visit, 4 attempts, a task and its group of 2.
STORY = {"task-sent": 10, "task-received": 10, "task-started": 10, "task-succeeded": 7}
ALL = Scenario("story", {**STORY, "task-retried": 3}, story, IMPORTED, backend=False)


def one_more(stage: Stage, number: int) -> None:
    """Run one task to its end."""
    stage.task("math.add", number, 1).apply_async()
    stage.until("task-succeeded", number)


@pytest.fixture(params=["http/protobuf", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[OtlpReceiver]:
    with receiving(request.param) as running:
        yield running


@pytest.fixture
def http_receiver() -> Iterator[OtlpReceiver]:
    with receiving("http/protobuf") as running:
        yield running


def test_spans_arrive_as_the_events_tell_them(valkey: Redis, receiver: OtlpReceiver) -> None:
    with exporter(valkey, receiver) as running, staged(valkey.url, ALL) as stage:
        spans = expected(stage)
        assert len(spans) == 20
        wait_for(receiver, spans)
        wait_until(lambda: exported(running) == 20)
        assert dropped(running) == 0
    assert len(receiver.spans()) == 20
    services = {(span.kind, span.service) for span in receiver.spans()}
    assert services == {("PRODUCER", "celery-producer"), ("PRODUCER", "w"), ("CONSUMER", "w")}
    by_id = {span.span_id: span for span in receiver.spans()}
    for span in receiver.spans():
        if span.kind == "CONSUMER":
            assert by_id[span.parent_id].name == span.name.replace("process", "send")
            assert [link.span_id for link in span.links] == [span.parent_id]


def test_two_exporters_send_the_same(valkey: Redis) -> None:
    with contextlib.ExitStack() as stack:
        receivers = [stack.enter_context(receiving()) for _ in range(2)]
        for each in receivers:
            stack.enter_context(exporter(valkey, each))
        stage = stack.enter_context(staged(valkey.url, ALL))
        for each in receivers:
            wait_for(each, expected(stage))
        one, two = (
            sorted(each.spans(), key=lambda span: (span.trace_id, span.span_id))
            for each in receivers
        )
        assert one == two


def test_a_restart_in_the_middle_changes_no_id(valkey: Redis, http_receiver: OtlpReceiver) -> None:
    def act(stage: Stage) -> None:
        stage.worker()
        with exporter(valkey, http_receiver) as first:
            one_more(stage, 1)
            stage.task("web.visit", "http://shop/missing", delays=(0.1, 4, 0.1)).apply_async()
            stage.until("task-retried", 2)
            wait_until(lambda: event_counts(first.scrape()).get("task-retried") == 2)
        stack.enter_context(exporter(valkey, http_receiver))

    events = {"task-sent": 5, "task-received": 5, "task-started": 5, "task-retried": 3}
    scenario = Scenario("restarted", {**events, "task-failed": 1}, act, {}, backend=False)
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(staged(valkey.url, scenario))
        one_more(stage, 2)
        last = stage.listener.received[-1].event["uuid"].replace("-", "")
        wait_until(lambda: last in {span.trace_id for span in http_receiver.spans()}, 20)
        whole = {(s.trace_id.hex(), s.span_id.hex()): (s.name, s.end_ns) for s in expected(stage)}
    got = {(s.trace_id, s.span_id): (s.name, s.end_ns) for s in http_receiver.spans()}
    assert len(got) == len(http_receiver.spans())
    assert got.items() <= whole.items()
    # The third attempt was sent before the restart and started after it: who came later may not be
    # able to tell it apart. What one of the two saw as a whole arrived.
    assert [name for name, _ in got.values()].count("process math.add") == 2
    assert [name for name, _ in got.values()].count("process web.visit") >= 2


def test_a_collector_that_is_away_costs_spans_only(
    valkey: Redis, http_receiver: OtlpReceiver
) -> None:
    with (
        exporter(valkey, http_receiver, "--trace-queue-spans", "100") as running,
        staged(valkey.url, Scenario("away", {}, lambda stage: stage.worker(), {}, False)) as stage,
    ):
        one_more(stage, 1)
        wait_until(lambda: len(http_receiver.spans()) == 2)
        http_receiver.stop()
        for number in range(120):
            stage.task("math.add", number, 1).apply_async()
        stage.until("task-succeeded", 121)
        key = ("celery_task_succeeded_total", (("queue", "celery"), ("task", "math.add")))
        wait_until(lambda: samples(running.scrape()).get(key) == 121)
        # 240 spans, of which 100 may wait, and as many may be on their way.
        wait_until(lambda: dropped(running) >= 1, 60)
        http_receiver.start()
        one_more(stage, 122)
        last = stage.listener.received[-1].event["uuid"].replace("-", "")
        wait_until(lambda: last in {span.trace_id for span in http_receiver.spans()}, 60)
        wait_until(lambda: exported(running) + dropped(running) == 244, 60)
        assert len(http_receiver.spans()) == exported(running)
        assert running.get("/-/healthy").status_code == 200


def test_exemplars_lead_to_traces_that_arrived(valkey: Redis, http_receiver: OtlpReceiver) -> None:
    with exporter(valkey, http_receiver) as running, staged(valkey.url, ALL) as stage:
        wait_for(http_receiver, expected(stage))
        page = running.get("/metrics", headers=OPENMETRICS)
        assert page.headers["content-type"].startswith("application/openmetrics-text")
        pointed = {
            (sample.exemplar.labels["trace_id"], sample.exemplar.labels["span_id"])
            for family in text_string_to_metric_families(page.text)
            for sample in family.samples
            if sample.exemplar
        }
    assert pointed
    assert pointed <= {(span.trace_id, span.span_id) for span in http_receiver.spans()}


def test_no_exemplar_points_to_a_trace_that_was_not_kept(
    valkey: Redis, http_receiver: OtlpReceiver
) -> None:
    options = ("--trace-ratio", "0", "--trace-keep", "none")
    with exporter(valkey, http_receiver, *options) as running, staged(valkey.url, ALL) as stage:
        key = ("celery_task_succeeded_total", (("queue", "celery"), ("task", "math.add")))
        wait_until(lambda: samples(running.scrape()).get(key) == 2)
        assert expected(stage, trace_ratio=0, trace_keep=["none"]) == []
        assert "trace_id" not in running.get("/metrics", headers=OPENMETRICS).text
    assert http_receiver.spans() == []


def test_metrics_pushed_are_those_of_the_page(valkey: Redis, http_receiver: OtlpReceiver) -> None:
    options = ("--otlp-metrics", "--otlp-metrics-interval", "1")
    with exporter(valkey, http_receiver, *options) as running, staged(valkey.url, ALL) as stage:
        wait_for(http_receiver, expected(stage))

        def same() -> bool:
            page = task_values(running.scrape())
            pushed = http_receiver.metrics()
            return bool(page) and bool(pushed) and pushed_values(pushed[-1]) == page

        wait_until(same, 15, lambda: f"{pushed_values(http_receiver.metrics()[-1])} != the page's")


def task_values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The task counters of a page, and how often its task histograms were fed."""
    return {
        (re.sub(r"_(total|count)$", "", name), labels): number
        for (name, labels), number in samples(text).items()
        if name.startswith("celery_task_") and name.endswith(("_total", "_count"))
    }


def pushed_values(metrics: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The same of what was pushed."""
    return {
        (metric.name, tuple(sorted((k, v) for k, v in point.attributes.items() if v))): (
            point.value if point.count is None else point.count
        )
        for metric in metrics
        if metric.name.startswith("celery_task_") and metric.type in ("sum", "histogram")
        for point in metric.points
    }


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_third_partys_collector_takes_the_spans(valkey: Redis, protocol: str) -> None:
    with rotel() as other:
        endpoint = other.grpc_endpoint if protocol == "grpc" else other.http_endpoint
        options = ["--otlp-protocol", protocol, "--otlp-compression", "gzip"]
        # As OpenTelemetry's users know it: by a variable.
        with (
            servers.exporter(
                *("--broker-url", valkey.url),
                *options,
                env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
            ) as running,
            staged(valkey.url, ALL) as stage,
        ):
            spans = expected(stage)
            wait_until(lambda: exported(running) == len(spans), 20, other.log)
            assert dropped(running) == 0

        def told() -> Counter[tuple[str, ...]]:
            fields = ("Trace ID", "Parent ID", "ID", "Name", "Kind")
            pattern = r"\s+".join(rf"{field}\s*: ?(\S*(?: \S+)*)" for field in fields)
            return Counter(re.findall(pattern, other.log()))

        want = Counter(
            (
                span.trace_id.hex(),
                span.parent_id.hex(),
                span.span_id.hex(),
                span.name,
                f"SPAN_KIND_{KINDS[span.kind]}",
            )
            for span in spans
        )
        wait_until(lambda: told() == want, 10, lambda: f"{told()} != {want}")


#: What trace.leak puts into its exception's message.
SECRETS = ("hunter2", "s3cr3t-word", "eyJzdWIiOiJhbGljZSJ9", "c2lnbmF0dXJlLXBhcnQ")


def test_secrets_in_an_exception_are_in_no_span_and_no_log(
    valkey: Redis, http_receiver: OtlpReceiver
) -> None:
    def act(stage: Stage) -> None:
        stage.worker()
        stage.task("trace.leak").apply_async()

    events = {"task-sent": 1, "task-received": 1, "task-started": 1, "task-failed": 1}
    leak = Scenario("leak", events, act, IMPORTED, backend=False)
    with (
        exporter(valkey, http_receiver, "--log-level", "debug") as running,
        staged(valkey.url, leak) as stage,
    ):
        wait_for(http_receiver, expected(stage))
        told = json.dumps([one.event for one in stage.listener.received])
        page = running.scrape() + running.get("/metrics", headers=OPENMETRICS).text
    assert all(secret in told for secret in SECRETS), "the events have them"
    payload = b"".join(request.payload for request in http_receiver.requests)
    assert b"ConnectionError" in payload
    for secret in SECRETS:
        assert secret.encode() not in payload
        assert secret not in running.output() + page
    (failed,) = [span for span in http_receiver.spans() if span.status == "ERROR"]
    assert failed.attributes["error.type"] == "ConnectionError"
    (event,) = failed.events
    assert "cannot reach postgres://" in event.attributes["exception.message"]
    assert "db.example:5432/orders" in event.attributes["exception.message"]
