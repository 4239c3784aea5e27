"""The real Prometheus stores the exemplars: a trace id can be found from a histogram."""

import threading
import time

import httpx

from tests.support import servers
from tests.support.exemplars import life, trace, traced
from tests.support.exposed import T0
from tests.support.process import wait_until
from tests.support.web import listening
from z4j_exporter.metrics.registry import expose


def exemplars(server: servers.Prometheus, query: str) -> set[tuple[str, str, float]]:
    """Return trace id, span id and value of all that Prometheus has stored for a query."""
    now = time.time()
    parameters = {"query": query, "start": str(now - 3600), "end": str(now + 3600)}
    answer = httpx.get(f"{server.url}/api/v1/query_exemplars", params=parameters, timeout=10)
    answer.raise_for_status()
    return {
        (exemplar["labels"]["trace_id"], exemplar["labels"]["span_id"], float(exemplar["value"]))
        for series in answer.json()["data"]
        for exemplar in series["exemplars"]
    }


def expected(uuid: str, value: float) -> tuple[str, str, float]:
    ref = trace(uuid)
    return ref.trace_id.hex(), ref.span_id.hex(), value


def test_prometheus_stores_exemplars() -> None:
    exposed = traced()
    ago = time.time() - T0 - 60
    lock = threading.Lock()

    def render(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        with lock:
            snapshots = exposed.snapshots(scraper)
        return expose(lambda: snapshots, accept, names)

    exposed.play(*life("one", ago)).wait(3)
    with (
        listening(render=render) as listener,
        servers.prometheus(f"127.0.0.1:{listener.port}") as server,
    ):
        runtime = 'celery_task_runtime_seconds_bucket{task="work.add"}'
        wait_until(lambda: exemplars(server, runtime), 20, "no exemplar is stored")
        assert exemplars(server, runtime) == {expected("one", 4.0)}
        # One that comes later, in a series that Prometheus is shown as 0 first.
        with lock:
            exposed.play(*life("two", ago + 20, end="failed", exception="E()")).wait(3)
        failed = 'celery_task_failed_total{exception="E"}'
        wait_until(lambda: exemplars(server, failed), 20, "the failure has no exemplar")
        assert exemplars(server, failed) == {expected("two", 1.0)}
        assert exemplars(server, runtime) == {expected("one", 4.0), expected("two", 4.0)}
        waits = "celery_task_queue_wait_seconds_bucket"
        assert exemplars(server, waits) == {expected("one", 3.0), expected("two", 3.0)}
        target = server.targets()[0]
        assert (target["health"], target["lastError"]) == ("up", "")
        # scrape.go warns of those that it does not take.
        assert "out-of-order exemplars" not in server.output()
