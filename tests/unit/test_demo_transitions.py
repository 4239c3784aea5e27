"""The demo's list of what must show on /metrics."""

import pytest

from z4j_exporter.demo.sample_app import app
from z4j_exporter.demo.scrape import Scrape
from z4j_exporter.demo.transitions import TRANSITIONS, Series, Transition, missing

RETRIED = Transition(
    "retried",
    (
        Series("celery_task_retried_total", (("task", "a"),)),
        Series("celery_task_succeeded_total", (("task", "a"),)),
    ),
)


def _scrape(retried: int, succeeded: int) -> Scrape:
    return Scrape(
        "# TYPE celery_task_retried counter\n"
        f'celery_task_retried_total{{task="a"}} {retried}\n'
        "# TYPE celery_task_succeeded counter\n"
        f'celery_task_succeeded_total{{task="a"}} {succeeded}\n'
    )


@pytest.mark.parametrize(
    ("retried", "succeeded", "shown"), [(0, 0, False), (1, 0, False), (0, 1, False), (2, 1, True)]
)
def test_all_series_must_be_above_zero(retried: int, succeeded: int, shown: bool) -> None:
    seen = _scrape(retried, succeeded)
    assert RETRIED.shown(seen) is shown
    assert missing(seen, [RETRIED]) == ([] if shown else [RETRIED])


def test_nothing_is_shown_by_an_exporter_without_events() -> None:
    assert missing(Scrape(""), TRANSITIONS) == list(TRANSITIONS)


def test_a_series_reads_like_promql() -> None:
    assert str(RETRIED.proof[0]) == 'celery_task_retried_total{task="a"}'
    assert str(Series("celery_task_sent_total")) == "celery_task_sent_total"


def test_titles_are_unique() -> None:
    assert len({transition.title for transition in TRANSITIONS}) == len(TRANSITIONS)


def test_every_task_that_proves_something_is_in_the_sample_application() -> None:
    tasks = {
        value
        for transition in TRANSITIONS
        for series in transition.proof
        for name, value in series.labels
        if name == "task"
    }
    assert tasks
    assert tasks <= set(app.tasks)
