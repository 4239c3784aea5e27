"""The cases that the benchmark of spans compares: what each one does, and what it took."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.stream import Shape, messages
from benchmarks.wire import redis_envelope
from z4j_exporter.config import Settings
from z4j_exporter.events.decode import Decoder
from z4j_exporter.metrics.profiles import make_profile
from z4j_exporter.otlp.environment import Protocol
from z4j_exporter.tracing.export import SpanExporter
from z4j_exporter.tracing.export_open import open_span_exporter
from z4j_exporter.tracing.model import CLIENT, CONSUMER, INTERNAL, PRODUCER, Span
from z4j_exporter.tracing.tracer import EmitSpans, Tracer, make_tracer
from z4j_exporter.track.cluster import make_cluster

#: Spans that may wait: nobody is to drop any here.
_QUEUE_SPANS = 10_000_000

Case = Literal["spans", "sdk", "metrics", "traced"]


@dataclass(frozen=True, slots=True)
class Result:
    """What one case took; seconds are of CPU and of wall time."""

    case: Case
    protocol: Protocol
    events: int
    spans: int
    cpu_seconds: float
    wall_seconds: float
    #: What the receiver counted, encoded and without compression.
    received_bytes: int = 0

    @property
    def cpu_per_span(self) -> float:
        """CPU microseconds a span."""
        return self.cpu_seconds / max(self.spans, 1) * 1e6

    @property
    def cpu_per_event(self) -> float:
        """CPU microseconds an event."""
        return self.cpu_seconds / max(self.events, 1) * 1e6


class _Timer:
    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def result(self, case: Case, protocol: Protocol, events: int, spans: int) -> Result:
        cpu, wall = time.process_time(), time.perf_counter()
        return Result(case, protocol, events, spans, cpu - self._cpu, wall - self._wall)


def _events_alone(events: int, protocol: Protocol, endpoint: str) -> Result:  # noqa: ARG001 - as the others
    stream = _stream(events)
    timer = _Timer()
    _play(stream, Settings.model_validate({}), None)
    return timer.result("metrics", protocol, events, 0)


def _events_and_spans(events: int, protocol: Protocol, endpoint: str) -> Result:
    stream = _stream(events)
    exporter = _exporter(protocol, endpoint)
    timer = _Timer()
    _play(stream, Settings.model_validate({}), exporter.offer)
    return _finish(exporter, timer, "traced", protocol, events)


def _spans_alone(events: int, protocol: Protocol, endpoint: str) -> Result:
    batches = _spans(events)
    exporter = _exporter(protocol, endpoint)
    timer = _Timer()
    for batch in batches:
        exporter.offer(batch)
    return _finish(exporter, timer, "spans", protocol, 0)


def _finish(
    exporter: SpanExporter, timer: _Timer, case: Case, protocol: Protocol, events: int
) -> Result:
    exporter.stop(300.0)
    assert not exporter.dropped.total(), exporter.dropped
    return timer.result(case, protocol, events, exporter.exported)


def _sdk(events: int, protocol: Protocol, endpoint: str) -> Result:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode

    kinds = {
        INTERNAL: SpanKind.INTERNAL,
        CLIENT: SpanKind.CLIENT,
        PRODUCER: SpanKind.PRODUCER,
        CONSUMER: SpanKind.CONSUMER,
    }
    # What an application would write, spans told apart by nothing but themselves.
    plain = [
        (
            span,
            dict(span.attributes),
            [(event.name, dict(event.attributes), event.time_ns) for event in span.events],
        )
        for batch in _spans(events)
        for span in batch
    ]
    provider = TracerProvider(shutdown_on_exit=False)
    processor = BatchSpanProcessor(_sdk_exporter(protocol, endpoint), max_queue_size=_QUEUE_SPANS)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("benchmark")
    timer = _Timer()
    for span, attributes, span_events in plain:
        made = tracer.start_span(
            span.name, kind=kinds[span.kind], attributes=attributes, start_time=span.start_ns
        )
        for name, event_attributes, at in span_events:
            made.add_event(name, event_attributes, at)
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.status_message))
        made.end(span.end_ns)
    provider.shutdown()
    return timer.result("sdk", protocol, 0, len(plain))


def _sdk_exporter(protocol: Protocol, endpoint: str) -> Any:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_exporter

        return grpc_exporter.OTLPSpanExporter(endpoint=endpoint, insecure=True)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_exporter

    return http_exporter.OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")


#: What runs each case: with so many events in the stream, to this endpoint.
RUN: dict[Case, Callable[[int, Protocol, str], Result]] = {
    "sdk": _sdk,
    "spans": _spans_alone,
    "metrics": _events_alone,
    "traced": _events_and_spans,
}


def _stream(events: int) -> list[bytes]:
    return [redis_envelope(m) for m in messages(Shape(events=events, start=time.time()))]


def _spans(events: int) -> list[list[Span]]:
    batches: list[list[Span]] = []
    _play(_stream(events), Settings.model_validate({}), batches.append)
    return batches


def _play(stream: list[bytes], settings: Settings, emit: EmitSpans | None) -> None:
    """Decode and apply, with a tick each second of the stream's own time."""
    profile = make_profile(settings)
    tracer = None if emit is None else _tracer(settings, emit)
    cluster = make_cluster(settings, profile.take, tracer)
    if tracer is not None:
        tracer.attach(cluster.task)
    decoder = Decoder(max_message_bytes=settings.max_message_bytes)
    due = 0.0
    for message in stream:
        for event in decoder.decode(message):
            now = event.timestamp
            cluster.apply(event, now, now)
            if now >= due:
                cluster.tick(now)
                due = now + 1.0
    cluster.flush()


def _tracer(settings: Settings, emit: EmitSpans) -> Tracer:
    return make_tracer(
        settings,
        system="redis",
        address="broker.example",
        port=6379,
        emit=emit,
    )


def _exporter(protocol: Protocol, endpoint: str) -> SpanExporter:
    settings = Settings.model_validate(
        {
            "otlp_endpoint": endpoint,
            "otlp_protocol": protocol,
            "trace_queue_spans": _QUEUE_SPANS,
        }
    )
    exporter = open_span_exporter(settings, {})
    assert exporter is not None
    exporter.start()
    return exporter
