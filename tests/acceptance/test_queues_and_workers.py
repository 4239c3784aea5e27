"""Queues and workers on the page of the running exporter, also while the broker hangs."""

import statistics
import time
from pathlib import Path

import httpx

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.counted import samples
from tests.support.process import wait_until
from tests.support.servers import Exporter, Redis

APP = "tests.support.celeryapp"


def value(exporter: Exporter, name: str, **labels: str) -> float | None:
    """Read one sample; None when it is absent."""
    return samples(exporter.scrape()).get((name, tuple(sorted(labels.items()))))


def test_scrapes_are_quick_while_the_broker_hangs_and_its_queues_are_absent() -> None:
    with servers.redis_server() as broker:
        options = ("--queue-poll-interval", "0.5", "--queue-poll-timeout", "1", "--queue", "shop")
        with servers.exporter("--broker-url", broker.url, *options) as exporter:
            wait_until(lambda: value(exporter, "celery_queue_poll_success") == 1, 10)
            ready = {"queue": "shop", "state": "ready", "priority": "0"}
            assert value(exporter, "celery_queue_messages", **ready) == 0
            broker.pause()
            try:
                took = []
                for _ in range(40):
                    began = time.perf_counter()
                    assert httpx.get(f"{exporter.url}/metrics", timeout=5).status_code == 200
                    took.append(time.perf_counter() - began)
                    time.sleep(0.1)
                # Far from the second that a look at the queues waits for the broker.
                assert statistics.median(took) < 0.5
                wait_until(lambda: value(exporter, "celery_queue_poll_success") == 0, 10)
                assert value(exporter, "celery_queue_messages", **ready) is None
                # The time of the last look that worked says how old the knowledge is.
                assert value(exporter, "celery_queue_poll_last_success_timestamp_seconds")
            finally:
                broker.resume()
            wait_until(lambda: value(exporter, "celery_queue_messages", **ready) == 0, 15)


def test_pools_and_consumers_come_from_the_workers(valkey: Redis) -> None:
    options = ("--queue-poll-interval", "0.5", "--inspect-interval", "1", "--inspect-timeout", "1")
    with (
        servers.exporter("--broker-url", valkey.url, *options) as exporter,
        servers.worker(APP, valkey.url, "-Q", "celery,web", nodename="w1@shop", concurrency=3),
    ):
        size = {"worker": "w1@shop"}
        wait_until(lambda: value(exporter, "celery_worker_pool_size", **size) == 3, 20)
        assert value(exporter, "celery_queue_workers", queue="web") == 1
        assert value(exporter, "celery_queue_pool_size", queue="celery") == 3
        wait_until(
            lambda: (
                value(exporter, "celery_queue_messages", queue="web", state="ready", priority="0")
                == 0
            ),
            10,
        )


def test_of_two_workers_on_one_host_the_killed_one_raises_an_alert(
    valkey: Redis, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups:\n- name: workers\n  rules:\n  - alert: WorkerDown\n"
        "    expr: celery_worker_up == 0\n    for: 2s\n"
    )
    with (
        servers.exporter("--broker-url", valkey.url, "--worker-timeout", "4") as exporter,
        servers.worker(APP, valkey.url, nodename="w1@shop") as doomed,
        servers.worker(APP, valkey.url, nodename="w2@shop"),
        servers.prometheus(f"127.0.0.1:{exporter.port}", rule_files=[rules]) as prometheus,
    ):
        for name in ("w1@shop", "w2@shop"):
            wait_until(lambda n=name: value(exporter, "celery_worker_up", worker=n) == 1, 15)  # type: ignore[misc]  # a default binds the loop's name
        doomed.kill()
        firing = 'ALERTS{alertname="WorkerDown", alertstate="firing"}'
        fired = wait_until(lambda: prometheus.query(firing), 30)
        assert [series["metric"]["worker"] for series in fired] == ["w1@shop"]
        assert value(exporter, "celery_worker_up", worker="w1@shop") == 0
        assert value(exporter, "celery_worker_up", worker="w2@shop") == 1


def test_ready_and_the_page_say_what_the_doctor_would(valkey: Redis) -> None:
    with (
        servers.exporter("--broker-url", valkey.url, "--inspect-timeout", "1") as exporter,
        servers.worker(APP, valkey.url, nodename="w1@shop", events=False),
    ):
        app = client(valkey.url)
        for _ in range(5):
            app.send_task("math.add", args=(1, 2))

        def advice() -> str:
            return httpx.get(f"{exporter.url}/-/ready", timeout=5).text

        wait_until(lambda: "w1@shop" in advice(), 60, advice)
        assert advice().startswith("Ready.\n")
        assert "-E" in advice()
        assert "w1@shop" in httpx.get(f"{exporter.url}/", timeout=5).text
