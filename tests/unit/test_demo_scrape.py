"""The demo's reading of /metrics."""

import pytest

from z4j_exporter.demo.scrape import Scrape, scrape
from z4j_exporter.errors import DemoError

TEXT = """\
# TYPE celery_task_failed counter
celery_task_failed_total{task="a",queue="q",exception="ValueError"} 2
celery_task_failed_total{task="a",queue="r",exception="KeyError"} 3
celery_task_failed_total{task="b",queue="q",exception="KeyError"} 0
# TYPE celery_task_runtime_seconds histogram
celery_task_runtime_seconds_bucket{task="a",outcome="succeeded",le="1"} 5
celery_task_runtime_seconds_bucket{task="a",outcome="succeeded",le="2"} 10
celery_task_runtime_seconds_bucket{task="a",outcome="succeeded",le="+Inf"} 10
celery_task_runtime_seconds_count{task="a",outcome="succeeded"} 10
celery_task_runtime_seconds_bucket{task="a",outcome="failed",le="1"} 5
celery_task_runtime_seconds_bucket{task="a",outcome="failed",le="2"} 10
celery_task_runtime_seconds_bucket{task="a",outcome="failed",le="+Inf"} 10
celery_task_runtime_seconds_bucket{task="slow",outcome="failed",le="1"} 0
celery_task_runtime_seconds_bucket{task="slow",outcome="failed",le="2"} 0
celery_task_runtime_seconds_bucket{task="slow",outcome="failed",le="+Inf"} 4
celery_task_runtime_seconds_bucket{task="idle",outcome="failed",le="1"} 0
celery_task_runtime_seconds_bucket{task="idle",outcome="failed",le="+Inf"} 0
"""


def test_total_sums_the_samples_that_carry_the_labels() -> None:
    seen = Scrape(TEXT)
    assert seen.total("celery_task_failed_total") == 5
    assert seen.total("celery_task_failed_total", exception="KeyError") == 3
    assert seen.total("celery_task_failed_total", task="b") == 0
    assert seen.total("celery_task_sent_total") == 0


def test_by_sums_for_each_value_of_a_label() -> None:
    seen = Scrape(TEXT)
    assert seen.by("queue", "celery_task_failed_total") == {"q": 2, "r": 3}
    assert seen.by("queue", "celery_task_failed_total", task="b") == {"q": 0}


def test_quantile_is_linear_within_a_bucket() -> None:
    # Outcomes are added up: 20 observations, 10 of them up to 1 s. The 15th is in the middle.
    assert Scrape(TEXT).quantile(0.75, "task", "celery_task_runtime_seconds")["a"] == 1.5


def test_quantile_above_the_last_bound_is_that_bound_and_nothing_is_no_quantile() -> None:
    quantiles = Scrape(TEXT).quantile(0.5, "task", "celery_task_runtime_seconds")
    assert quantiles == {"a": 1.0, "slow": 2.0}


def test_an_exporter_that_is_not_there_is_a_demo_error() -> None:
    # Port 1 of the loopback is never listened on.
    with pytest.raises(DemoError, match="does not answer"):
        scrape("http://127.0.0.1:1")
