"""The four golden scenarios, played by real workers: the exact counts, and nothing else."""

import pytest

from tests.support import servers
from tests.support.counted import observations, scrape_counted, task_counts
from tests.support.scenarios import GOLDEN, SCENARIOS
from tests.support.stage import counts, play

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


@pytest.fixture(params=["valkey", "vhost"], ids=["valkey", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """A real broker's URL."""
    return str(request.getfixturevalue(request.param).url)


@pytest.mark.parametrize("name", GOLDEN)
def test_exact_counts(broker_url: str, name: str) -> None:
    with servers.exporter("--broker-url", broker_url) as exporter:
        received = play(broker_url, SCENARIOS[name])
        text = scrape_counted(exporter, received, EXPECTED[name])
    assert counts(received) == SCENARIOS[name].events
    assert task_counts(text) == EXPECTED[name]
    assert observations(text) == OBSERVED[name]
