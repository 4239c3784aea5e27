"""What spans cost, beside the OpenTelemetry SDK: `python -m benchmarks.spans`.

The same spans for both: `tracer.start_span` with attributes, `end`, BatchSpanProcessor and
OTLPSpanExporter there; offered, encoded and sent here. Every case runs in a process of its own
and sends to a receiver in another that only counts. CPU is user and system time of all threads,
from the first event or span until the last is sent.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from benchmarks.report import facts
from benchmarks.stream import Shape, messages
from benchmarks.wire import redis_envelope
from tests.support.servers import PROJECT
from z4j_exporter.config import Settings
from z4j_exporter.events.decode import Decoder
from z4j_exporter.metrics.profiles import make_profile
from z4j_exporter.otlp.environment import Protocol
from z4j_exporter.tracing.export import SpanExporter
from z4j_exporter.tracing.export_open import open_span_exporter
from z4j_exporter.tracing.model import CLIENT, CONSUMER, INTERNAL, PRODUCER, Span
from z4j_exporter.tracing.tracer import EmitSpans, Tracer, make_tracer
from z4j_exporter.track.cluster import make_cluster

#: Microseconds of CPU that a span may cost, everything included.
PROMISED_MICROSECONDS = 45.0
#: Spans that may wait: nobody is to drop any here.
_QUEUE_SPANS = 10_000_000

Case = Literal["spans", "sdk", "metrics", "traced"]
#: What each case does.
CASES: dict[Case, str] = {
    "sdk": "OpenTelemetry SDK: spans, sent",
    "spans": "ours: spans, sent",
    "metrics": "ours: events, metrics",
    "traced": "ours: events, metrics, spans, sent",
}


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


def spans_own(traced: Result, metrics: Result) -> float:
    """Return the CPU microseconds a span by which events with spans cost more than without."""
    return (traced.cpu_seconds - metrics.cpu_seconds) / max(traced.spans, 1) * 1e6


def main() -> int:
    """Run the cases and print the table; 1 when the promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spans", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="events in the stream")
    parser.add_argument("--protocol", choices=["http/protobuf", "grpc", "both"], default="both")
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        case: Case = options.case
        result = _RUN[case](options.events, options.protocol, options.endpoint)
        print(json.dumps(asdict(result)))
        return 0
    protocols: list[Protocol] = ["http/protobuf", "grpc"]
    if options.protocol != "both":
        protocols = [options.protocol]
    about = facts(os.getloadavg())
    results = [measure(case, options.events, each) for each in protocols for case in CASES]
    show(results, about, Console(width=max(Console().width, 120)))
    return 0 if all(kept for _, _, kept in verdicts(results)) else 1


def measure(case: Case, events: int, protocol: Protocol) -> Result:
    """Run one case in a process of its own, with a receiver of its own."""
    with receiver(protocol) as (endpoint, count):
        command = [sys.executable, "-m", "benchmarks.spans", "--case", case]
        command += ["--events", str(events), "--protocol", protocol, "--endpoint", endpoint]
        done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True)
        return Result(**{**json.loads(done.stdout), "received_bytes": count()})


@contextmanager
def receiver(protocol: Protocol) -> Iterator[tuple[str, Callable[[], int]]]:
    """Run a receiver in another process: its endpoint, and what ends it and tells its bytes."""
    command = [sys.executable, "-m", "tests.support.otlp_receiver", "--protocol", protocol]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None

    def count() -> int:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
        return int(out.split()[1])

    try:
        yield f"http://localhost:{process.stdout.readline().strip()}", count
    finally:
        process.kill()
        process.wait()


def verdicts(results: list[Result]) -> list[tuple[str, str, bool]]:
    """Hold the results against what was promised: promise, measured, kept."""
    found = []
    for metrics, traced in _pairs(results, "metrics", "traced"):
        cost = spans_own(traced, metrics)
        promise = f"{traced.protocol}: at most {PROMISED_MICROSECONDS:.0f} µs of CPU a span"
        found.append((promise, f"{cost:.1f} µs", cost <= PROMISED_MICROSECONDS))
    return found


def show(results: list[Result], about: list[str], console: Console) -> None:
    """Print the table, and how the promise was kept."""
    for line in about:
        console.print(line, highlight=False)
    table = Table(title="What spans cost", title_justify="left")
    for name in ("protocol", "what is done"):
        table.add_column(name)
    for name in ("events", "spans", "CPU/event", "CPU/span", "spans/s", "bytes/span", "ratio"):
        table.add_column(name, justify="right")
    for result in results:
        table.add_row(*row(results, result))
    console.print(table)
    for metrics, traced in _pairs(results, "metrics", "traced"):
        more = traced.cpu_per_event - metrics.cpu_per_event
        console.print(
            f"{traced.protocol}: an event costs {metrics.cpu_per_event:.1f} µs without spans, "
            f"{more:.1f} µs more with: {spans_own(traced, metrics):.1f} µs a span, everything "
            "included.",
            highlight=False,
        )
    for promise, measured, kept in verdicts(results):
        console.print(f"{promise}: {measured}, {'kept' if kept else 'NOT KEPT'}", highlight=False)


def row(results: list[Result], result: Result) -> tuple[str, ...]:
    """Return a result as a row; the ratio is of the SDK's CPU per span to ours."""
    other = next((r for r in results if (r.case, r.protocol) == ("sdk", result.protocol)), None)
    ratio = ""
    if result.case == "spans" and other is not None and result.cpu_seconds:
        ratio = f"{other.cpu_per_span / result.cpu_per_span:.1f}"
    has_spans = result.spans > 0
    return (
        result.protocol,
        CASES[result.case],
        f"{result.events:,}" if result.events else "",
        f"{result.spans:,}" if has_spans else "",
        f"{result.cpu_per_event:.1f} µs" if result.events else "",
        f"{result.cpu_per_span:.1f} µs" if has_spans and not result.events else "",
        f"{result.spans / result.wall_seconds:,.0f}" if has_spans else "",
        f"{result.received_bytes / result.spans:,.0f}" if has_spans else "",
        ratio,
    )


def _pairs(results: list[Result], one: Case, two: Case) -> list[tuple[Result, Result]]:
    return [
        (a, b)
        for a in results
        for b in results
        if (a.case, b.case) == (one, two) and a.protocol == b.protocol
    ]


# ----------------------------------------------------------------------- the cases themselves


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


_RUN: dict[Case, Callable[[int, Protocol, str], Result]] = {
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


if __name__ == "__main__":
    sys.exit(main())
