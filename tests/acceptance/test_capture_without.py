"""Groups without the hook, from the result backend; and publishing that the hook must not slow."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from celery import Celery, group
from kombu.exceptions import OperationalError

from tests.support import servers
from tests.support.counted import samples
from tests.support.process import wait_until
from tests.support.proxy import Proxy
from tests.support.servers import Exporter, Redis
from z4j_exporter import capture

# -- the result backend ----------------------------------------------------------------------------

_APP = """
from celery import Celery
app = Celery("shop", broker={broker!r}, backend={backend!r}, set_as_current=False)
app.conf.worker_hijack_root_logger = False
@app.task(name="add", shared=False)
def add(x, y):
    return x + y
@app.task(name="broken", shared=False)
def broken():
    raise ValueError("no")
"""


#: What the groups below must be counted as.
GROUPS = {
    "celery_group_started_total group add": 1,
    "celery_group_started_total group __mixed__": 1,
    "celery_group_finished_total group succeeded add": 1,
    "celery_group_finished_total group failed __mixed__": 1,
    "celery_group_member_failures_total group __mixed__": 1,
}


def counted(exporter: Exporter) -> dict[str, float]:
    """Return the counters of groups by their labels' values, without zeros."""
    return {
        " ".join([name, *(value for _, value in sorted(labels))]): number
        for (name, labels), number in samples(exporter.scrape()).items()
        if name.startswith("celery_group_") and name.endswith("_total") and number
    }


def wait_until_counted(exporter: Exporter) -> None:
    """Wait for the two groups."""
    wait_until(lambda: counted(exporter) == GROUPS, 20, lambda: f"{counted(exporter)}")


def test_groups_come_from_the_result_backend(valkey: Redis, tmp_path: Path) -> None:
    backend = valkey.url_at(valkey.port, db=3)
    (tmp_path / "orders.py").write_text(_APP.format(broker=valkey.url, backend=backend))
    env = {"PYTHONPATH": str(tmp_path)}
    client = Celery("client", broker=valkey.url, backend=backend, set_as_current=False)
    options = ("--broker-url", valkey.url, "--result-backend-url", backend)
    with (
        servers.exporter("-A", "orders:app", env=env, cwd=tmp_path) as by_application,
        servers.exporter(*options) as by_option,
        servers.worker("orders", valkey.url, pool="threads", concurrency=2, env=env, cwd=tmp_path),
    ):
        assert counted(by_application) == counted(by_option) == {}
        adds = [client.signature("add", args=(i, i)) for i in range(3)]
        sent = [group(adds, app=client).apply_async()]
        sent.append(group([*adds, client.signature("broken")], app=client).apply_async())
        for running in (by_application, by_option):
            wait_until_counted(running)
            page = running.scrape()
            assert not [result.id for result in sent if result.id in page]
            assert "celery_task_published_total{" not in page, "only the hook knows of messages"
        for result in sent:
            result.forget()
    client.close()


# -- brokers that hang -----------------------------------------------------------------------------

#: Publishes in a turn, and turns of each kind.
PUBLISHES, TURNS = 40, 4


@contextmanager
def hooked(app: Celery, **options: object) -> Iterator[None]:
    """Capture for a while."""
    hook = capture.install(app, **{"name": "client:app", **options})  # type: ignore[arg-type]
    try:
        yield
    finally:
        hook.uninstall()


def publish(app: Celery) -> float:
    """Publish once, or fail; return the seconds."""
    began = time.perf_counter()
    with suppress(OperationalError, TimeoutError):
        app.send_task("echo", (1,), retry=False)
    return time.perf_counter() - began


def compared(app: Celery, act: Callable[[], list[float]], **options: object) -> tuple[float, float]:
    """Return the median seconds of a publish without and with the hook, in turns."""
    without: list[float] = []
    with_hook: list[float] = []
    for _ in range(TURNS):
        without += act()
        with hooked(app, **options):
            with_hook += act()
    return statistics.median(without), statistics.median(with_hook)


@pytest.fixture
def app(valkey: Redis) -> Iterator[Celery]:
    """A client with a broker that is well."""
    made = Celery("client", broker=valkey.url, set_as_current=False)
    yield made
    made.close()


@pytest.mark.parametrize("own", ["same broker", "another broker"])
def test_publishing_to_a_stopped_broker_fails_as_soon_as_without(own: str, valkey: Redis) -> None:
    timeout = 0.4
    limits = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    with servers.valkey() as broker:
        app = Celery("client", broker=broker.url, set_as_current=False)
        app.conf.broker_transport_options = {**limits, "retry_on_timeout": False}
        app.conf.broker_connection_timeout = timeout
        publish(app)
        broker.pause()
        options = {} if own == "same broker" else {"broker_url": valkey.url}
        without, with_hook = compared(app, lambda: [publish(app)], **options)
        broker.resume()
        app.close()
    assert without >= timeout / 2, "the broker hung"
    assert with_hook < without * 1.5 + 0.1


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_publishing_to_a_slow_broker_is_no_slower(
    kind: str, valkey: Redis, request: pytest.FixtureRequest
) -> None:
    if kind == "redis":
        port, url_at = valkey.port, valkey.url_at
    else:
        vhost: servers.Vhost = request.getfixturevalue("vhost")
        port, url_at = vhost.port, vhost.url_at
    with Proxy(port) as proxy:
        app = Celery("client", broker=url_at(proxy.port), set_as_current=False)
        publish(app)
        proxy.delay(0.01)
        without, with_hook = compared(app, lambda: [publish(app) for _ in range(PUBLISHES // 4)])
        app.close()
    if kind == "redis":  # AMQP's publish waits for no answer
        assert without >= 0.01, "the network was slow"
    assert with_hook < without * 1.5 + 0.005


def test_publishing_is_no_slower_when_the_hooks_own_broker_hangs(app: Celery) -> None:
    with servers.valkey() as hanging:
        hanging.pause()
        without, with_hook = compared(
            app,
            lambda: [publish(app) for _ in range(PUBLISHES)],
            broker_url=hanging.url,
            flush_seconds=0.2,
        )
        hanging.resume()
    # The handler's own cost, and what the thread beside it takes of the interpreter.
    assert with_hook < without * 2 + 0.000_5
