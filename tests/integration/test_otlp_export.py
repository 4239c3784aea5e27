"""The span exporter and real receivers: one that is away, dies, comes back; and a third party's."""

import gc
import logging
import re
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

from tests.support.otlp_receiver import receiving
from tests.support.process import free_port, wait_until
from tests.support.rotel import rotel
from z4j_exporter.config.otlp import OtlpSettings
from z4j_exporter.errors import ConfigError
from z4j_exporter.tracing.export import DELAY_SECONDS, SpanExporter
from z4j_exporter.tracing.export_open import open_span_exporter
from z4j_exporter.tracing.model import CLIENT, CONSUMER, PRODUCER, Link, Source, Span, SpanEvent

Protocol = Literal["http/protobuf", "grpc"]
both = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
#: Spans leave at once.
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "10"}
WORKER = Source(service="shop", nodename="shop-1@host", pid=7)


def span(number: int, **fields: Any) -> Span:
    given: dict[str, Any] = {
        "trace_id": (number + 1).to_bytes(16, "big"),
        "span_id": (number + 1).to_bytes(8, "big"),
        "kind": CONSUMER,
        "name": "process shop.pay",
        "start_ns": 1_790_000_000_000_000_001,
        "end_ns": 1_790_000_000_500_000_000,
        "source": WORKER,
        "attributes": (("messaging.message.id", f"id-{number}"), ("celery.task.retries", 0)),
        **fields,
    }
    return Span(**given)


@contextmanager
def exporting(endpoint: str, protocol: str, **how: Any) -> Iterator[SpanExporter]:
    environment = {**QUICK, **how.pop("environment", {})}
    settings = OtlpSettings.model_validate(
        {"otlp_endpoint": endpoint, "otlp_protocol": protocol, **how}
    )
    exporter = open_span_exporter(settings, environment)
    assert exporter is not None
    exporter.start()
    try:
        yield exporter
    finally:
        exporter.stop(5.0)


@both
def test_spans_arrive_as_they_are(protocol: Protocol) -> None:
    sent = span(
        1,
        parent_id=b"\7" * 8,
        links=(Link(b"\1" * 16, b"\2" * 8, (("why", "retry"),)),),
        events=(SpanEvent("exception", 5, (("exception.type", "ValueError"),)),),
        error=True,
        status_message="no",
        trace_state="ot=th:8",
    )
    with receiving(protocol) as receiver:
        environment = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
        with exporting(receiver.endpoint, protocol, environment=environment) as exporter:
            exporter.offer([sent])
            (got,) = wait_until(receiver.spans)
            wait_until(lambda: exporter.exported == 1)
    assert (got.trace_id, got.span_id, got.parent_id) == ("0" * 31 + "2", "0" * 15 + "2", "07" * 8)
    assert (got.kind, got.name) == ("CONSUMER", "process shop.pay")
    assert (got.start_ns, got.end_ns) == (sent.start_ns, sent.end_ns)
    assert got.attributes == {"messaging.message.id": "id-1", "celery.task.retries": 0}
    assert (got.status, got.status_message, got.trace_state) == ("ERROR", "no", "ot=th:8")
    assert got.links[0].span_id == "02" * 8
    assert got.events[0].attributes == {"exception.type": "ValueError"}
    assert got.service == "shop"
    assert got.resource["deployment.environment.name"] == "test"


@both
def test_an_endpoint_that_comes_late_gets_what_waited(
    protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "z4j_exporter")
    with (
        receiving(protocol, port=free_port(), started=False) as receiver,
        exporting(receiver.endpoint, protocol) as exporter,
    ):
        exporter.offer([span(n) for n in range(1000)])
        wait_until(lambda: caplog.records)
        receiver.start()
        wait_until(lambda: exporter.exported == 1000, 15)
        assert len(receiver.spans()) == 1000
        assert exporter.dropped.total() == exporter.queued == 0
    first, second = (record.getMessage() for record in caplog.records)
    assert "do not reach" in first
    assert "again; 0 were dropped" in second


@both
def test_an_endpoint_that_dies_and_comes_back(protocol: Protocol) -> None:
    with receiving(protocol) as receiver, exporting(receiver.endpoint, protocol) as exporter:
        exporter.offer([span(1)])
        wait_until(lambda: exporter.exported == 1)
        receiver.stop()
        exporter.offer([span(2), span(3)])
        wait_until(lambda: exporter.queued == 2)
        receiver.start()
        wait_until(lambda: exporter.exported == 3, 15)
    assert [each.attributes["messaging.message.id"] for each in receiver.spans()] == [
        "id-1", "id-2", "id-3",
    ]  # fmt: skip


@both
def test_memory_is_flat_while_the_endpoint_is_away(protocol: Protocol) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    how = {"trace_queue_spans": 2_000}
    traceback = "x" * 16_000

    def flood(exporter: SpanExporter, first: int) -> int:
        for start in range(first, first + 10_000, 100):
            event = SpanEvent("exception", 1, (("exception.stacktrace", f"{start}{traceback}"),))
            exporter.offer([span(n, events=(event,)) for n in range(start, start + 100)])
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with exporting(endpoint, protocol, **how) as exporter:
        tracemalloc.start()
        try:
            before = flood(exporter, 0)
            after = flood(exporter, 10_000)
        finally:
            tracemalloc.stop()
        assert abs(after - before) < 1_000_000
        # In bytes the bound is 4 KiB a span: a traceback counts with its length.
        assert 400 < exporter.queued < 1_000
        assert exporter.dropped["queue_full"] > 19_000
        began = time.monotonic()
        exporter.stop(5.0)
        assert time.monotonic() - began < 3  # it does not wait for a peer that is away
        assert exporter.dropped.total() == 20_000


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_stop_keeps_its_deadline(how: str) -> None:
    with receiving() as receiver:
        receiver.behave(**{how: True})
        with exporting(receiver.endpoint, "http/protobuf", otlp_timeout=30) as exporter:
            exporter.offer([span(1)])
            wait_until(lambda: receiver.requests)
            began = time.monotonic()
            exporter.stop(0.5)
            assert time.monotonic() - began < 2
            receiver.heal()


@both
def test_partial_success_and_refusals_are_counted(protocol: Protocol) -> None:
    with receiving(protocol) as receiver, exporting(receiver.endpoint, protocol) as exporter:
        receiver.behave(rejected=1, message="too old")
        exporter.offer([span(1), span(2), span(3)])
        wait_until(lambda: exporter.dropped["partial_rejected"] == 1)
        assert exporter.exported == 2
        receiver.fail("UNAUTHENTICATED" if protocol == "grpc" else 401)
        exporter.offer([span(4)])
        wait_until(lambda: exporter.dropped["refused"] == 1)


def test_the_batch_processors_variables() -> None:
    def made(environment: dict[str, str], **settings: Any) -> SpanExporter:
        chosen = OtlpSettings(otlp_endpoint="http://h:1", **settings)
        exporter = open_span_exporter(chosen, environment)
        assert exporter is not None
        return exporter

    def facts(exporter: SpanExporter) -> tuple[int, int, float]:
        return exporter._queue.max_spans, exporter._batch_spans, exporter._delay

    assert open_span_exporter(OtlpSettings(), {}) is None
    assert facts(made({})) == (20_000, 512, DELAY_SECONDS)
    environment = {
        "OTEL_BSP_SCHEDULE_DELAY": "250",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "200",
    }
    assert facts(made(environment)) == (100, 100, 0.25)
    assert facts(made(environment, trace_queue_spans=1000)) == (1000, 200, 0.25)
    for name in environment:
        for wrong in "s3cret", "-1":
            with pytest.raises(ConfigError, match=name) as raised:
                made({name: wrong})
            assert "s3cret" not in raised.value.message


def test_a_third_partys_receiver_understands_every_field() -> None:
    spans = [
        span(0, kind=PRODUCER, name="send shop.pay", source=Source("web", "gen1@host")),
        span(
            1,
            parent_id=b"\0" * 7 + b"\1",
            links=(Link(b"\1" * 16, b"\2" * 8),),
            events=(SpanEvent("exception", 1, (("exception.message", "größer: \ud800"),)),),
            error=True,
            status_message="no money",
            attributes=(("text", "ünï"), ("yes", True), ("minus", -5), ("half", 0.5)),
        ),
        span(2, kind=CLIENT, name="revoke shop.pay"),
    ]
    with rotel() as other:
        for protocol, endpoint in (
            ("grpc", other.grpc_endpoint),
            ("http/protobuf", other.http_endpoint),
        ):
            with exporting(endpoint, protocol, otlp_compression="gzip") as exporter:
                exporter.offer(spans)
                wait_until(lambda exporter=exporter: exporter.exported == 3)
        wait_until(lambda: other.log().count("Name           : revoke shop.pay") == 2)
        log = other.log()
    for line in (
        "-> service.name: Str(shop)",
        "-> service.name: Str(web)",
        "-> celery.hostname: Str(shop-1@host)",
        "-> process.pid: Int(7)",
        "Trace ID       : 00000000000000000000000000000002",
        "Parent ID      : 0000000000000001",
        "ID             : 0000000000000002",
        "Name           : process shop.pay",
        "Kind           : SPAN_KIND_CONSUMER",
        "Kind           : SPAN_KIND_PRODUCER",
        "Kind           : SPAN_KIND_CLIENT",
        "-> text: Str(ünï)",
        "-> yes: Bool(true)",
        "-> minus: Int(-5)",
        "-> half: Double(0.5)",
        "-> exception.message: Str(größer: ?)",
        "Status message : no money",
    ):
        assert len(re.findall(rf"{re.escape(line)}$", log, re.MULTILINE)) >= 2, (line, log)
