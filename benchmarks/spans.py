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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.report import facts
from benchmarks.span_cases import RUN, Case, Result
from tests.support.servers import PROJECT
from z4j_exporter.otlp.environment import Protocol

#: Microseconds of CPU that a span may cost, everything included.
PROMISED_MICROSECONDS = 45.0
#: What each case does.
CASES: dict[Case, str] = {
    "sdk": "OpenTelemetry SDK: spans, sent",
    "spans": "ours: spans, sent",
    "metrics": "ours: events, metrics",
    "traced": "ours: events, metrics, spans, sent",
}


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
        result = RUN[case](options.events, options.protocol, options.endpoint)
        print(json.dumps(asdict(result)))
        return 0
    protocols: list[Protocol] = ["http/protobuf", "grpc"]
    if options.protocol != "both":
        protocols = [options.protocol]
    about = facts(os.getloadavg())
    results = [measure(case, options.events, each) for each in protocols for case in CASES]
    show(results, about, Console(width=max(Console().width, 140)))
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
        table.add_column(name, no_wrap=True)
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


if __name__ == "__main__":
    sys.exit(main())
