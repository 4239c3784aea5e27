"""How the exporter's costs grow: with events per second, tasks tracked, and series."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from benchmarks.brokers import EventBroker
from benchmarks.consumers import ANSWER_SECONDS, Consumer, sample_count, sample_sum, z4j_exporter
from benchmarks.process import usage, wait_until_idle
from benchmarks.stream import Shape, messages
from benchmarks.throughput import finish_publishing, publish, settle, start_publishing
from benchmarks.wire import Tape, encoder, write_tape

#: Events of a task that is sent, received, started and ended, with its share of the rest.
EVENTS_PER_TASK = 4.02
#: The rate at which the exporter is filled where the rate is not what is measured.
FILL_RATE = 15_000.0
#: Events per second while the scrapes are timed, and the pause between two scrapes.
SCRAPE_RATE = 5_000.0
SCRAPE_PAUSE_SECONDS = 0.5
#: What Prometheus asks for.
_SCRAPE_HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}


@dataclass(frozen=True, slots=True)
class RatePoint:
    """The exporter at one rate of events."""

    rate: float
    cpu_share: float  #: of one core
    cpu_per_event: float
    lost: int


@dataclass(frozen=True, slots=True)
class MemoryPoint:
    """The exporter with so many tasks in its tracker."""

    tracked: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class ScrapePoint:
    """Scrapes of an exposition of one size while events flow."""

    task_names: int
    samples: int
    body_bytes: int
    median_seconds: float
    longest_seconds: float
    scrapes: int
    rss_bytes: int
    lost: int


class Tapes:
    """Writes tapes that share no task, so that no event is taken for a repetition."""

    def __init__(self, broker: EventBroker, directory: Path, start: float) -> None:
        self._encode = encoder(broker.kind)
        self._directory = directory
        self._shape = Shape(events=0, start=start, seed=100)

    def write(self, events: int, *, task_names: int = 50, rate: float = FILL_RATE) -> Tape:
        """Encode the next `events` events."""
        self._shape = replace(
            self._shape, events=events, task_names=task_names, rate=rate, seed=self._shape.seed + 1
        )
        path = self._directory / f"growth-{self._shape.seed}.tape"
        return write_tape(path, messages(self._shape), self._encode)


def by_rate(
    broker: EventBroker, tapes: Tapes, rates: Sequence[float], seconds: float
) -> Iterator[RatePoint]:
    """Measure one exporter at each of `rates`, each for `seconds` (or a thousand events)."""
    written = [tapes.write(max(1_000, int(rate * seconds)), rate=rate) for rate in rates]
    consumer = z4j_exporter(broker)
    with consumer.process as process:
        wait_until_idle(process.pid)
        seen = 0
        for rate, tape in zip(rates, written, strict=True):
            before = usage(process.pid).cpu_seconds
            report = publish(tape, broker.url, rate)
            wait_until_idle(process.pid)
            cpu = usage(process.pid).cpu_seconds - before
            total = settle(consumer, seen + tape.events)
            arrived, seen = total - seen, total
            per_event = cpu / max(arrived, 1)
            yield RatePoint(rate, cpu / report["seconds"], per_event, tape.events - arrived)


def by_tasks(broker: EventBroker, tapes: Tapes, levels: Sequence[int]) -> Iterator[MemoryPoint]:
    """Fill one exporter's tracker to each of `levels` (rising), and read its memory at each."""
    consumer = z4j_exporter(broker)
    expected = filled = 0
    with consumer.process as process:
        wait_until_idle(process.pid)
        for level in levels:
            tape = tapes.write(int((level - filled) * EVENTS_PER_TASK))
            filled = level
            expected += tape.events
            publish(tape, broker.url, FILL_RATE)
            wait_until_idle(process.pid)
            settle(consumer, expected)
            text = _scrape(consumer).text
            tracked = int(sample_sum(text, "celery_exporter_tracked_tasks"))
            yield MemoryPoint(tracked, usage(process.pid).rss_bytes)


def bytes_per_task(points: Sequence[MemoryPoint]) -> float:
    """Return the growth in memory from the first point to the last, by task."""
    first, last = points[0], points[-1]
    return (last.rss_bytes - first.rss_bytes) / max(last.tracked - first.tracked, 1)


def by_series(
    broker: EventBroker, tapes: Tapes, task_names: Sequence[int], seconds: float
) -> Iterator[ScrapePoint]:
    """For each number of task names: fill an exporter, then scrape it while events flow."""
    for names in task_names:
        fill = tapes.write(names * 200, task_names=names)
        flow = tapes.write(int(SCRAPE_RATE * seconds), task_names=names, rate=SCRAPE_RATE)
        consumer = z4j_exporter(broker)
        with consumer.process:
            wait_until_idle(consumer.process.pid)
            publish(fill, broker.url, FILL_RATE)
            wait_until_idle(consumer.process.pid)
            settle(consumer, fill.events)
            yield _scrape_while(broker, consumer, flow, fill.events + flow.events, names)


def _scrape_while(
    broker: EventBroker, consumer: Consumer, flow: Tape, expected: int, names: int
) -> ScrapePoint:
    publisher = start_publishing(flow, broker.url, SCRAPE_RATE)
    times = []
    while publisher.poll() is None:
        began = time.perf_counter()
        answer = _scrape(consumer)
        times.append(time.perf_counter() - began)
        time.sleep(SCRAPE_PAUSE_SECONDS)
    finish_publishing(publisher)
    wait_until_idle(consumer.process.pid)
    lost = expected - settle(consumer, expected)
    return ScrapePoint(
        task_names=names,
        samples=sample_count(answer.text),
        body_bytes=len(answer.content),
        median_seconds=statistics.median(times),
        longest_seconds=max(times),
        scrapes=len(times),
        rss_bytes=usage(consumer.process.pid).rss_bytes,
        lost=lost,
    )


def _scrape(consumer: Consumer) -> httpx.Response:
    assert consumer.metrics_url, f"{consumer.name} has no /metrics"
    answer = httpx.get(consumer.metrics_url, headers=_SCRAPE_HEADERS, timeout=ANSWER_SECONDS)
    answer.raise_for_status()
    return answer
