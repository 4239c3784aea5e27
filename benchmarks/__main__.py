"""The benchmark: `make bench`, or `python -m benchmarks --help`."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks import growth, report
from benchmarks.brokers import BrokerMissingError, EventBroker, running
from benchmarks.consumers import Start, flower, receiver_and_state, z4j_exporter
from benchmarks.stream import Shape, messages
from benchmarks.throughput import measure
from benchmarks.wire import Broker, Tape, encoder, write_tape

PEERS: tuple[Start, ...] = (receiver_and_state, flower)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    events: int = 200_000
    flat_out_events: int = 500_000
    rate: float = 5_000.0
    #: Events per second of a burst that no installation sends, and that a broker still can take
    #: from many publishers; the exporter alone, on Redis, which cuts slow subscribers off.
    burst_rate: float = 165_000.0
    rates: tuple[float, ...] = (100.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0, 40_000.0)
    rate_seconds: float = 4.0
    task_levels: tuple[int, ...] = (10_000, 50_000, 90_000)
    task_names: tuple[int, ...] = (50, 200, 400)
    scrape_seconds: float = 8.0
    peers_flat_out: bool = True


QUICK = Plan(
    events=20_000,
    flat_out_events=100_000,
    rates=(1_000.0, 10_000.0),
    rate_seconds=1.0,
    task_levels=(5_000, 25_000),
    task_names=(400,),
    scrape_seconds=4.0,
    peers_flat_out=False,
)


def main() -> int:
    """Run what the command line asks for and print the tables; 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, help=f"events in the stream ({Plan.events})")
    parser.add_argument("--rate", type=float, help=f"the fixed rate, events/s ({Plan.rate:.0f})")
    parser.add_argument("--broker", choices=["redis", "rabbitmq", "both"], default="both")
    parser.add_argument("--quick", action="store_true", help="a smaller run, for a first look")
    parser.add_argument("--only", choices=["throughput", "growth"], help="half of it")
    parser.add_argument("--no-peers", action="store_true", help="measure the exporter alone")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the tables there too")
    options = parser.parse_args()
    plan = _plan(options)
    kinds: list[Broker] = ["redis", "rabbitmq"] if options.broker == "both" else [options.broker]
    peers = () if options.no_peers else PEERS
    results = report.Results()
    about = report.facts(os.getloadavg())
    with tempfile.TemporaryDirectory(prefix="z4j-bench-") as scratch:
        directory = Path(scratch)
        for kind in kinds:
            try:
                with running(kind) as broker:
                    if options.only != "growth":
                        _throughput(results, broker, directory, plan, peers)
                    if options.only != "throughput" and kind == kinds[0]:
                        _growth(results, broker, directory, plan)
            except BrokerMissingError as missing:
                _say(f"{kind} is left out, its server is not installed: {missing}")
    report.as_text(results, about, Console(width=max(Console().width, 120)))
    if options.markdown:
        path: Path = options.markdown
        document = path.read_text() if path.exists() else ""
        path.write_text(report.insert(document, report.as_markdown(results, about)))
    return 0 if all(goal.kept for goal in report.goals(results)) else 1


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else Plan()
    if options.events:
        plan = replace(plan, events=options.events)
    return replace(plan, rate=options.rate) if options.rate else plan


def _throughput(
    results: report.Results,
    broker: EventBroker,
    directory: Path,
    plan: Plan,
    peers: tuple[Start, ...],
) -> None:
    with _timed(f"{broker.kind}, encode"):
        stream = _tape(broker, directory / "stream.tape", plan.events, plan)
        longer = _tape(broker, directory / "longer.tape", plan.flat_out_events, plan)
    for rate in (plan.rate, None):
        others = peers if rate or plan.peers_flat_out else ()
        for start in (z4j_exporter, *others):
            tape = longer if rate is None and start is z4j_exporter else stream
            speed = f"{rate:.0f}/s" if rate else "flat out"
            with _timed(f"{broker.kind}, {start.__name__}, {speed}"):
                results.throughput.append(measure(broker, start, tape, rate))
    if broker.kind == "redis":
        with _timed(f"redis, z4j_exporter, {plan.burst_rate:.0f}/s"):
            results.throughput.append(measure(broker, z4j_exporter, longer, plan.burst_rate))


def _tape(broker: EventBroker, path: Path, events: int, plan: Plan) -> Tape:
    shape = Shape(events=events, start=time.time(), rate=plan.rate)
    return write_tape(path, messages(shape), encoder(broker.kind))


def _growth(results: report.Results, broker: EventBroker, directory: Path, plan: Plan) -> None:
    tapes = growth.Tapes(broker, directory, time.time())
    with _timed("events per second"):
        rates = growth.by_rate(broker, tapes, plan.rates, plan.rate_seconds)
        results.rates.extend(rates)
    with _timed("tasks tracked"):
        results.memory.extend(growth.by_tasks(broker, tapes, plan.task_levels))
    with _timed("series"):
        scrapes = growth.by_series(broker, tapes, plan.task_names, plan.scrape_seconds)
        results.scrapes.extend(scrapes)


@contextmanager
def _timed(name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    _say(f"{name}: {time.monotonic() - began:.0f} s")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
