"""The four golden scenarios, played by real workers: the exact counts, and nothing else."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.counted import Counted, observations, play_counted, task_counts
from tests.support.scenarios import GOLDEN, SCENARIOS
from tests.support.stage import counts

VISIT = "web.visit@web"
NOT_FOUND = f"{VISIT} exception=HTTPError"

#: Facts of "Handling Celery events", and of Celery's source where 5.7 differs.
EXPECTED = {
    "visit_nested": {
        f"{step} {task}@web": 1
        for step in ("sent", "received", "started", "succeeded")
        for task in ("web.visit", "web.extract", "web.store")
    },
    "retry_and_fail": {
        f"sent {VISIT}": 4,
        f"received {VISIT}": 4,
        f"started {VISIT}": 4,
        f"retried {NOT_FOUND}": 3,
        f"failed {NOT_FOUND}": 1,
    },
    # Since 5.7 a rejection without requeue is a failure too (celery/worker/request.py).
    "rejected": {
        f"sent {VISIT}": 1,
        f"received {VISIT}": 1,
        f"started {VISIT}": 1,
        f"failed {VISIT} exception=Reject": 1,
        f"rejected {VISIT} requeued=false": 1,
    },
    # The third attempt never starts.
    "revoked_by_expiry": {
        f"sent {VISIT}": 3,
        f"received {VISIT}": 3,
        f"started {VISIT}": 2,
        f"retried {NOT_FOUND}": 2,
        f"revoked {VISIT} reason=expired": 1,
    },
}

#: What the histograms were fed: each duration once, whatever the order of the events.
OBSERVED = {
    "visit_nested": {
        f"{duration} {task}@web{outcome}": 1
        for duration, outcome in (
            ("queue_wait", ""),
            ("prefetch_wait", ""),
            ("runtime", " outcome=succeeded"),
            ("end_to_end", " outcome=succeeded"),
        )
        for task in ("web.visit", "web.extract", "web.store")
    },
    "retry_and_fail": {
        f"queue_wait {VISIT}": 4,
        f"prefetch_wait {VISIT}": 4,
        f"runtime {VISIT} outcome=retried": 3,
        f"runtime {VISIT} outcome=failed": 1,
        f"end_to_end {VISIT} outcome=failed": 1,
    },
    "rejected": {
        f"queue_wait {VISIT}": 1,
        f"prefetch_wait {VISIT}": 1,
        f"runtime {VISIT} outcome=failed": 1,
        f"end_to_end {VISIT} outcome=failed": 1,
    },
    "revoked_by_expiry": {
        f"queue_wait {VISIT}": 2,
        f"prefetch_wait {VISIT}": 2,
        f"runtime {VISIT} outcome=retried": 2,
        f"end_to_end {VISIT} outcome=revoked": 1,
    },
}


Played = dict[str, "Future[Counted]"]


@pytest.fixture(scope="module", params=["valkey", "rabbitmq"])
def played(request: pytest.FixtureRequest) -> Iterator[Played]:
    """The four, played at the same time: each in a database or vhost of its own."""
    urls: Mapping[str, str]
    if request.param == "valkey":
        server = request.getfixturevalue("shared_valkey")
        server.client().flushall()
        urls = {name: server.url_at(server.port, db) for db, name in enumerate(GOLDEN)}
    else:
        rabbit = request.getfixturevalue("rabbit")
        urls = {name: rabbit.vhost().url for name in GOLDEN}
    with ThreadPoolExecutor(len(GOLDEN), "golden") as pool:
        yield {
            name: pool.submit(play_counted, urls[name], [SCENARIOS[name]], EXPECTED[name])
            for name in GOLDEN
        }


@pytest.mark.parametrize("name", GOLDEN)
def test_exact_counts(played: Played, name: str) -> None:
    counted = played[name].result()
    assert counts(counted.received) == SCENARIOS[name].events
    assert task_counts(counted.text) == EXPECTED[name]
    assert observations(counted.text) == OBSERVED[name]
