"""The installed exporter asks real workers: pools, and names after a restart in mid-task."""

from tests.support import servers
from tests.support.celeryapp import client
from tests.support.exposed import Labels, parsed
from tests.support.process import wait_until
from tests.support.servers import Redis

APP = "tests.support.celeryapp"
SUCCEEDED = "celery_task_succeeded_total"


def samples(exporter: servers.Exporter) -> dict[tuple[str, Labels], float]:
    return parsed(exporter.scrape())


def test_an_exporter_that_starts_in_mid_task_knows_the_name(valkey: Redis) -> None:
    app = client(valkey.url)
    with servers.worker(APP, valkey.url, nodename="w@test", concurrency=2):
        redis = valkey.client()
        app.send_task("work.sleep", (8,))
        wait_until(lambda: redis.llen("celery") == 0, timeout=10)
        with servers.exporter("--broker-url", valkey.url, "--inspect-timeout", "2") as exporter:
            running = ("queue", "celery"), ("state", "running"), ("task", "work.sleep")
            wait_until(
                lambda: samples(exporter).get(("celery_tasks_in_progress", running)) == 1,
                timeout=7,
            )
            name = ("queue", "celery"), ("task", "work.sleep")
            wait_until(lambda: samples(exporter).get((SUCCEEDED, name)) == 1, timeout=20)
            seen = samples(exporter)
    assert not [labels for _, labels in seen if ("task", "unknown") in labels]
    assert seen["celery_worker_pool_size", (("worker", "w@test"),)] == 2
    assert seen["celery_queue_pool_size", (("queue", "celery"),)] == 2
    assert seen["celery_fleet_inspect_success", ()] == 1
