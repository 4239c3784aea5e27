"""The installed exporter against brokers that are absent, killed, frozen or half-open."""

import contextlib
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.counted import samples, task_counts
from tests.support.process import free_port, listening, start, wait_until
from tests.support.proxy import Proxy
from tests.support.rabbitmq import Rabbit, Vhost
from tests.support.servers import Exporter, Redis

Proxied = Callable[[int], Proxy]

#: Seconds of silence after which the exporter gives a connection up, and a few more.
NOTICED_SECONDS = 30.0


def run(*args: str) -> Exporter:
    """Start an exporter that need not find its broker."""
    return servers.exporter(*args, ready=lambda exporter: listening(exporter.port))


def send(broker_url: str, number: int = 1) -> None:
    """Publish task-sent events with Celery's own dispatcher."""
    app = client(broker_url)
    with app.connection_for_write() as connection, app.events.Dispatcher(connection) as dispatcher:
        for _ in range(number):
            fields = {"name": "math.add", "queue": "celery", "retries": 0}
            dispatcher.send("task-sent", uuid=str(uuid.uuid4()), **fields)
    app.close()


def own(exporter: Exporter, name: str) -> float | None:
    """Read one of the source's own metrics; the exporter has one source."""
    found = [
        number
        for (family, labels), number in samples(exporter.scrape()).items()
        if family == f"celery_exporter_{name}" and dict(labels).keys() == {"source"}
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def wait_counted(exporter: Exporter, number: int) -> None:
    """Wait until exactly this many events were counted."""
    expected = {"sent math.add@celery": number}
    wait_until(
        lambda: task_counts(exporter.scrape()) == expected,
        message=lambda: f"{task_counts(exporter.scrape())} != {expected}",
    )


def wait_connected(exporter: Exporter, timeout: float = NOTICED_SECONDS) -> None:
    """Wait until the source is connected, by all signs."""
    wait_until(lambda: exporter.get("/-/ready").status_code == 200, timeout, exporter.output)
    assert own(exporter, "source_connected") == 1


def wait_disconnected(exporter: Exporter, timeout: float = NOTICED_SECONDS) -> str:
    """Wait until the exporter says it lost its source; return the reason it gives."""
    wait_until(lambda: exporter.get("/-/ready").status_code == 503, timeout, exporter.output)
    assert own(exporter, "source_connected") == 0
    assert exporter.get("/-/healthy").status_code == 200
    return exporter.get("/-/ready").text


def ends(exporter: Exporter, number: int, within: float) -> int:
    """Send a signal; return the exit code, which must come in time."""
    exporter.signal(number)
    return exporter.wait(within)


def test_a_broker_that_comes_later() -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with run("--broker-url", url) as exporter:
        assert f"127.0.0.1:{port}" in wait_disconnected(exporter)
        assert task_counts(exporter.scrape()) == {}
        with servers.valkey(port=port):
            wait_connected(exporter)
            send(url, 3)
            wait_counted(exporter, 3)


def test_valkey_killed_and_started_again() -> None:
    with servers.valkey() as first, run("--broker-url", first.url) as exporter:
        wait_connected(exporter)
        send(first.url, 2)
        wait_counted(exporter, 2)
        first.kill()
        wait_disconnected(exporter)
        with servers.valkey(port=first.port) as second:
            wait_connected(exporter)
            send(second.url, 3)
            wait_counted(exporter, 5)
            assert own(exporter, "source_reconnects_total") == 1
            assert own(exporter, "source_gaps_total") == 1


@pytest.fixture
def own_rabbit() -> Iterator[Rabbit]:
    """A RabbitMQ that only this test uses, since it is killed."""
    running = servers.rabbitmq()
    yield running
    running.stop()


def test_rabbitmq_killed_and_started_again(own_rabbit: Rabbit) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{own_rabbit.port}//"
    with run("--broker-url", url) as exporter:
        wait_connected(exporter)
        send(url, 2)
        wait_counted(exporter, 2)
        start_again(own_rabbit, meanwhile=lambda: wait_disconnected(exporter))
        wait_connected(exporter)
        send(url, 3)
        wait_counted(exporter, 5)
        assert own(exporter, "source_reconnects_total") == 1
        assert own(exporter, "source_gaps_total") == 1


def start_again(rabbit: Rabbit, meanwhile: Callable[[], object]) -> None:
    """Kill RabbitMQ and start it on the same port and data, as its supervisor would."""
    process = rabbit.process
    pairs = Path(f"/proc/{process.pid}/environ").read_text().split("\0")
    env = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    command = process.popen.args
    assert isinstance(command, list)
    process.kill()
    meanwhile()
    rabbit.process = start("rabbitmq", command, directory=rabbit.directory, env=env)
    wait_until(lambda: rabbit.api("GET", "/overview"), 60, rabbit.process.output)


def test_silence_is_noticed_and_survived(rabbit: Rabbit, vhost: Vhost, proxied: Proxied) -> None:
    """Brokers that are frozen, and connections that are half-open: no byte comes, no error."""
    with servers.valkey() as frozen, servers.valkey() as reachable, contextlib.ExitStack() as stack:
        half_open, half_open_rabbit = proxied(reachable.port), proxied(vhost.port)
        urls = {
            frozen.url: frozen.url,
            reachable.url_at(half_open.port): reachable.url,
            # By default it would take as long as on Redis: 20 s.
            f"{vhost.url}?heartbeat=1": vhost.url,
            f"{vhost.url_at(half_open_rabbit.port)}?heartbeat=1": vhost.url,
        }
        exporters = [stack.enter_context(run("--broker-url", url)) for url in urls]
        for exporter in exporters:
            wait_connected(exporter)
        try:
            half_open.stall()
            half_open_rabbit.stall()
            frozen.pause()
            rabbit.pause()
            reasons = [wait_disconnected(exporter) for exporter in exporters]
            for exporter in exporters:
                assert exporter.get("/metrics", timeout=2).status_code == 200
        finally:
            frozen.resume()
            rabbit.resume()
        assert all(reason.startswith("Not connected: ") for reason in reasons), reasons
        for proxy in (half_open, half_open_rabbit):
            proxy.cut()
            proxy.flow()
        for exporter in exporters:
            wait_connected(exporter)
        for url in (frozen.url, reachable.url, vhost.url):
            send(url, 3)
        for exporter in exporters:
            wait_counted(exporter, 3)
            assert own(exporter, "source_gaps_total") == 1


def test_a_short_freeze_loses_nothing(valkey: Redis) -> None:
    with run("--broker-url", valkey.url) as exporter:
        wait_connected(exporter)
        valkey.pause()
        time.sleep(1)
        valkey.resume()
        send(valkey.url, 3)
        wait_counted(exporter, 3)
        assert own(exporter, "source_gaps_total") == 0
        assert own(exporter, "source_reconnects_total") == 0


def test_a_cut_connection_comes_back_at_once(valkey: Redis, vhost: Vhost, proxied: Proxied) -> None:
    for broker in (valkey, vhost):
        proxy = proxied(broker.port)
        with run("--broker-url", broker.url_at(proxy.port)) as exporter:
            wait_connected(exporter)
            for n in (1, 2, 3):
                proxy.cut()
                wait_until(lambda n=n: own(exporter, "source_reconnects_total") == n, 10)
                wait_connected(exporter)
                send(broker.url)
                wait_counted(exporter, n)
            assert own(exporter, "source_gaps_total") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(valkey: Redis, number: int) -> None:
    with run("--broker-url", valkey.url) as exporter:
        wait_connected(exporter)
        assert ends(exporter, number, within=10) == 0
        assert "Traceback" not in exporter.output()


def test_a_signal_ends_it_while_the_broker_hangs(
    valkey: Redis, vhost: Vhost, proxied: Proxied
) -> None:
    for broker in (valkey, vhost):
        proxy = proxied(broker.port)
        with run("--broker-url", broker.url_at(proxy.port)) as exporter:
            wait_connected(exporter)
            proxy.stall()
            assert ends(exporter, signal.SIGTERM, within=10) == 0
            assert "Traceback" not in exporter.output()


def test_a_signal_ends_it_while_it_connects(valkey: Redis, proxied: Proxied) -> None:
    proxy = proxied(valkey.port)
    proxy.stall()  # accepts, and never answers
    with run("--broker-url", valkey.url_at(proxy.port)) as exporter:
        wait_until(lambda: proxy.accepted, 10)
        assert ends(exporter, signal.SIGTERM, within=10) == 0


def test_a_second_signal_ends_it_at_once(valkey: Redis, proxied: Proxied) -> None:
    proxy = proxied(valkey.port)
    proxy.stall()
    with run("--broker-url", valkey.url_at(proxy.port)) as exporter:
        wait_until(lambda: proxy.accepted, 10)
        exporter.signal(signal.SIGTERM)
        time.sleep(0.2)  # two signals of one number at the same moment are one
        # It waits for the connection attempt, which hangs.
        assert exporter.popen.poll() is None
        assert ends(exporter, signal.SIGTERM, within=1) == 1
