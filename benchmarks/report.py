"""The result of a run as tables: for the terminal, and as Markdown for docs/performance.md."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.growth import MemoryPoint, RatePoint, ScrapePoint, bytes_per_task
from benchmarks.throughput import Measurement

OURS = "z4j-exporter"
YARDSTICK = "Receiver+State"
#: Between these marks a document holds the tables of the latest run.
BEGIN = "<!-- results of make bench -->"
END = "<!-- end of results -->"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one sentence of explanation."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Goal:
    """Something promised, and whether this run kept it."""

    promise: str
    measured: str
    kept: bool


@dataclass
class Results:
    """All that one run measured."""

    throughput: list[Measurement] = field(default_factory=list)
    rates: list[RatePoint] = field(default_factory=list)
    memory: list[MemoryPoint] = field(default_factory=list)
    scrapes: list[ScrapePoint] = field(default_factory=list)


def ratio(results: Results, ours: Measurement) -> float | None:
    """How many times our CPU per event the yardstick needed in the same case; None without it."""
    for other in results.throughput:
        same = (other.broker, other.rate) == (ours.broker, ours.rate)
        if same and other.consumer == YARDSTICK and ours.cpu_seconds:
            return other.cpu_per_event / ours.cpu_per_event
    return None


def goals(results: Results) -> list[Goal]:
    """Hold the results against what was promised."""
    found = []
    wanted = {"redis": 8.0, "rabbitmq": 4.0}
    for m in results.throughput:
        if m.consumer != OURS:
            continue
        if m.rate is not None and (times := ratio(results, m)) is not None:
            promise = f"{m.broker}: at most 1/{wanted[m.broker]:.0f} of {YARDSTICK}'s CPU"
            found.append(Goal(promise, f"1/{times:.1f}", times >= wanted[m.broker]))
        if m.rate is None:
            promise = f"{m.broker}: {m.published:,} events flat out, none lost"
            found.append(Goal(promise, f"{m.lost:,} lost", m.lost == 0))
    if len(results.memory) > 1:
        size = bytes_per_task(results.memory)
        found.append(Goal("at most 0.7 KB per tracked task", f"{size / 1000:.2f} KB", size <= 700))
    for s in results.scrapes:
        if s.samples >= 50_000:
            promise = "50,000 samples scraped in under a second while events flow, none lost"
            measured = f"{s.samples:,} in {s.longest_seconds:.2f} s at most, {s.lost} lost"
            found.append(Goal(promise, measured, s.longest_seconds < 1 and s.lost == 0))
            break
    return found


def tables(results: Results) -> list[Table]:
    """Return the tables that have something in them."""
    made = [
        Table(
            "What was promised",
            "Ratios are of CPU per event at the fixed rate.",
            ("promise", "measured", "kept"),
            [(g.promise, g.measured, "yes" if g.kept else "NO") for g in goals(results)],
        ),
        Table(
            "Beside the others",
            "The same bytes for each, one after the other. CPU is user and system time per event "
            "seen; the ratio is to our CPU in the same case.",
            (
                "broker",
                "rate",
                "consumer",
                "CPU/event",
                "ratio",
                "peak memory",
                "published",
                "lost",
                "cut off",
            ),
            [_throughput_row(results, m) for m in results.throughput],
        ),
        Table(
            "Events per second",
            "The exporter alone, on Redis.",
            ("events/s", "CPU of one core", "CPU/event", "lost"),
            [
                (f"{p.rate:,.0f}", f"{p.cpu_share:.1%}", _micro(p.cpu_per_event), f"{p.lost:,}")
                for p in results.rates
            ],
        ),
        Table(
            "Tasks tracked",
            _memory_note(results.memory),
            ("tasks", "memory (RSS)"),
            [(f"{p.tracked:,}", _mega(p.rss_bytes)) for p in results.memory],
        ),
        Table(
            "Series",
            "OpenMetrics with gzip, as Prometheus asks, while 5,000 events a second flow.",
            ("task names", "samples", "scrape, median", "longest", "text", "memory", "lost"),
            [
                (
                    f"{p.task_names:,}",
                    f"{p.samples:,}",
                    f"{p.median_seconds:.3f} s",
                    f"{p.longest_seconds:.3f} s",
                    _mega(p.body_bytes),
                    _mega(p.rss_bytes),
                    f"{p.lost:,}",
                )
                for p in results.scrapes
            ],
        ),
    ]
    return [table for table in made if table.rows]


def facts(load: tuple[float, float, float]) -> list[str]:
    """Say on what the run was made; `load` is the machine's load average before it began."""
    packages = ("celery", "kombu", "redis", "hiredis", "amqp", "flower", "msgspec")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({_cpu_model()}), "
        f"{platform.system()} {platform.machine()}, load average before {load[0]:.1f}",
        f"{platform.python_implementation()} {platform.python_version()}, {versions}",
    ]


def as_text(results: Results, about: Sequence[str], console: Console) -> None:
    """Print the tables."""
    for line in about:
        console.print(line, highlight=False)
    for table in tables(results):
        rich = RichTable(title=table.title, caption=table.note, title_justify="left")
        for i, name in enumerate(table.header):
            rich.add_column(name, justify="left" if _is_text(table, i) else "right")
        for row in table.rows:
            rich.add_row(*row)
        console.print(rich)


def as_markdown(results: Results, about: Sequence[str]) -> str:
    """Return the tables as Markdown."""
    parts = ["\n".join(f"- {line}" for line in about)]
    for table in tables(results):
        line = " | ".join("---" if _is_text(table, i) else "---:" for i in range(len(table.header)))
        rows = "\n".join(f"| {' | '.join(row)} |" for row in table.rows)
        parts.append(f"### {table.title}\n\n{table.note}")
        parts.append(f"| {' | '.join(table.header)} |\n| {line} |\n{rows}")
    return "\n\n".join(parts) + "\n"


def insert(document: str, text: str) -> str:
    """Return `document` with `text` between its marks; `text` alone when it has no marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n\n{text}\n{end}{after}" if begin and end else text


def _throughput_row(results: Results, m: Measurement) -> tuple[str, ...]:
    ours = [
        o
        for o in results.throughput
        if o.consumer == OURS and (o.broker, o.rate) == (m.broker, m.rate)
    ]
    times = m.cpu_per_event / ours[0].cpu_per_event if ours and ours[0].cpu_seconds else None
    return (
        m.broker,
        f"{m.rate:,.0f}/s" if m.rate else f"flat out: {m.published / m.publish_seconds:,.0f}/s",
        m.consumer,
        _micro(m.cpu_per_event),
        f"{times:.1f}" if times else "",
        _mega(m.peak_bytes),
        f"{m.published:,}",
        f"{m.lost:,}",
        "yes" if m.cut_off else "no",
    )


def _memory_note(points: list[MemoryPoint]) -> str:
    if len(points) < 2:
        return ""
    return f"{bytes_per_task(points):,.0f} bytes for each task between the first and the last."


def _is_text(table: Table, column: int) -> bool:
    return not all(row[column][:1].isdigit() for row in table.rows if row[column])


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"


def _mega(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
