"""The three that are compared, each a process of its own, and how many events each says it saw."""

import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from benchmarks.brokers import EventBroker
from tests.support import servers
from tests.support.process import Process, start, wait_ready

#: Longest wait for a consumer to start and to answer.
ANSWER_SECONDS = 60.0
#: A sample line of the text format: name, labels, value.
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Consumer:
    """A running consumer that is subscribed to the event stream."""

    name: str
    process: Process
    #: Events it has seen so far, by its own account. Costs it CPU: ask after the measurement.
    seen: Callable[[], int]
    #: Whether it counts worker events too.
    counts_worker_events: bool = True
    #: Its /metrics, when it has one.
    metrics_url: str | None = None


Start = Callable[[EventBroker], Consumer]


def sample_sum(text: str, name: str) -> float:
    """Add up the samples of one name in an exposition; 0.0 when there are none."""
    return sum(float(value) for found, _, value in _SAMPLE.findall(text) if found == name)


def sample_count(text: str) -> int:
    """How many samples an exposition holds."""
    return len(_SAMPLE.findall(text))


def scrape(url: str) -> str:
    """Fetch an exposition; raises httpx.HTTPError."""
    answer = httpx.get(url, timeout=ANSWER_SECONDS)
    answer.raise_for_status()
    return answer.text


def z4j_exporter(broker: EventBroker, *options: str) -> Consumer:
    """Start the installed `z4j-exporter run` with its defaults and `options`."""
    running = servers.exporter("--broker-url", broker.open(), *options)
    url = f"{running.url}/metrics"

    def seen() -> int:
        return int(sample_sum(scrape(url), "celery_exporter_events_total"))

    return _subscribed(Consumer("z4j-exporter", running, seen, metrics_url=url), broker)


def receiver_and_state(broker: EventBroker) -> Consumer:
    """Start Celery's Receiver feeding State (peer_receiver.py)."""
    command = [sys.executable, "-m", "benchmarks.peer_receiver", broker.open()]
    process = start("receiver", command, cwd=servers.PROJECT)

    def seen() -> int:
        answers = process.output().count("handled=")
        process.signal(signal.SIGUSR1)
        servers.wait_until(
            lambda: process.output().count("handled=") > answers, ANSWER_SECONDS, "an answer"
        )
        return int(process.output().split("handled=")[-1].split()[0])

    return _subscribed(Consumer("Receiver+State", process, seen), broker)


def flower(broker: EventBroker) -> Consumer:
    """Start Flower with its defaults, but without its control commands.

    There are no workers to answer them, so they are switched off: `--enable_events=False` and an
    inspect timeout of 10 ms.
    """
    port = servers.free_port()
    command = [sys.executable, "-m", "celery", "-b", broker.open(), "flower"]
    command += [f"--port={port}", "--address=127.0.0.1", "--logging=error"]
    command += ["--enable_events=False", "--inspect_timeout=10"]
    process = start("flower", command)
    url = f"http://127.0.0.1:{port}/metrics"
    wait_ready(process, lambda: httpx.get(url).status_code == 200, ANSWER_SECONDS)

    def seen() -> int:
        return int(sample_sum(scrape(url), "flower_events_total"))

    consumer = Consumer("Flower", process, seen, counts_worker_events=False, metrics_url=url)
    return _subscribed(consumer, broker)


def _subscribed(consumer: Consumer, broker: EventBroker) -> Consumer:
    """Wait until the broker knows of the consumer."""
    wait_ready(consumer.process, broker.subscriptions, ANSWER_SECONDS)
    return consumer
