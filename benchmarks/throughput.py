"""One stream, one consumer, one measurement: CPU per event, peak memory, events lost."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.brokers import EventBroker
from benchmarks.consumers import Consumer, Start
from benchmarks.process import usage, wait_until_idle
from benchmarks.wire import Broker, Tape
from tests.support.servers import PROJECT

#: After a consumer has come to rest with events missing, how long it is given once more.
SECOND_CHANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one consumer made of one tape; seconds are wall time, CPU is user and system."""

    broker: Broker
    consumer: str
    rate: float | None  #: events per second; None: flat out
    published: int
    expected: int  #: published, less what this consumer does not count
    seen: int
    cpu_seconds: float
    peak_bytes: int
    publish_seconds: float
    late_seconds: float  #: the furthest that the publisher fell behind its rate
    drained_seconds: float  #: from the first publish until the consumer was at rest
    cut_off: bool  #: whether the broker disconnected it

    @property
    def lost(self) -> int:
        """Events that never arrived."""
        return self.expected - self.seen

    @property
    def cpu_per_event(self) -> float:
        """CPU seconds per event that was seen."""
        return self.cpu_seconds / max(self.seen, 1)


def publish(tape: Tape, url: str, rate: float | None) -> dict[str, float]:
    """Run the publisher in a process of its own, to its end, and return its report."""
    return finish_publishing(start_publishing(tape, url, rate))


def start_publishing(tape: Tape, url: str, rate: float | None) -> subprocess.Popen[bytes]:
    """Start the publisher."""
    command = [sys.executable, "-m", "benchmarks.publish", str(tape.path), url]
    command += ["--events", str(tape.events)]
    if rate is not None:
        command += ["--rate", str(rate)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)


def finish_publishing(publisher: subprocess.Popen[bytes]) -> dict[str, float]:
    """Wait for the publisher's end; raises CalledProcessError when it failed."""
    out, _ = publisher.communicate()
    if publisher.returncode:
        raise subprocess.CalledProcessError(publisher.returncode, publisher.args)
    report: dict[str, float] = json.loads(out)
    return report


def settle(consumer: Consumer, expected: int) -> int:
    """Return what a consumer that is at rest saw; with events missing, give it another chance."""
    seen = consumer.seen()
    if seen < expected:
        time.sleep(SECOND_CHANCE_SECONDS)
        wait_until_idle(consumer.process.pid)
        seen = consumer.seen()
    return seen


def measure(broker: EventBroker, start: Start, tape: Tape, rate: float | None) -> Measurement:
    """Start a consumer, publish the tape to it, and stop it when it has come to rest."""
    consumer = start(broker)
    with consumer.process as process:
        wait_until_idle(process.pid)
        subscribed = broker.subscriptions()
        before = usage(process.pid)
        began = time.perf_counter()
        report = publish(tape, broker.url, rate)
        wait_until_idle(process.pid)
        drained = time.perf_counter() - began
        after = usage(process.pid)
        expected = tape.events - (0 if consumer.counts_worker_events else tape.worker_events)
        return Measurement(
            broker=broker.kind,
            consumer=consumer.name,
            rate=rate,
            published=tape.events,
            expected=expected,
            seen=settle(consumer, expected),
            cpu_seconds=after.cpu_seconds - before.cpu_seconds,
            peak_bytes=after.peak_bytes,
            publish_seconds=report["seconds"],
            late_seconds=report["late_seconds"],
            drained_seconds=drained,
            cut_off=not subscribed <= broker.subscriptions(),
        )
