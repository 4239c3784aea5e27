"""The values and their caps, rows, and what each scraper is shown of a new series."""

import math

import pytest

from tests.support.exposed import Exposed, task_event
from z4j_exporter.metrics.rows import Rows
from z4j_exporter.metrics.scrapers import MAX_SCRAPERS, Scrapers
from z4j_exporter.metrics.store import (
    Cells,
    CounterCell,
    Family,
    HistogramValue,
    Store,
    label_text,
)

RETRIED = Family("retried_total", "counter", "Retried.", ("task", "queue", "exception"))
REVOKED = Family("revoked_total", "counter", "Revoked.", ("task", "queue", "reason"))
RUN = Family("run_seconds", "histogram", "Time.", ("task",), "seconds", (1.0, 2.0))


def shown(cells: "Cells[CounterCell]", floor: int) -> dict[str, object]:
    return dict(cells.snapshot(floor).samples)


def test_empty_labels_are_left_out() -> None:
    assert label_text(("a", "b", "c"), ("x", "", '"')) == 'a="x",c="\\""'
    assert label_text((), ()) == ""


def test_a_histogram_counts_a_bound_itself_as_below_it() -> None:
    store = Store()
    cell = store.histogram(RUN).child("t")
    for value in (0.0, 1.0, 1.5, 2.0, 2.1, 1e9):
        cell.observe(value)
    assert cell.counts == [2, 2, 2]
    assert cell.sum == 6.6 + 1e9


def test_no_observation_makes_a_sum_infinite() -> None:
    cell = Store().histogram(RUN).child("t")
    for value in (math.inf, 1.7e308, 1.7e308, 5.0):
        cell.observe(value)
    assert cell.counts == [0, 0, 4]
    assert cell.sum == 3e9 + 5.0


def test_a_snapshot_is_a_copy() -> None:
    store = Store()
    counter, run = store.counter(REVOKED), store.histogram(RUN)
    counter.child("t", "q", "expired").value += 1
    run.child("t").observe(1.5)
    before = [counter.snapshot(store.serial), run.snapshot(store.serial)]
    counter.child("t", "q", "expired").value += 1
    run.child("t").observe(1.5)
    assert before[0].samples == [('task="t",queue="q",reason="expired"', 1)]
    assert before[1].samples == [('task="t"', HistogramValue([0, 1, 0], 1.5))]


# -- caps ----------------------------------------------------------------------------------------


def test_beyond_the_cap_all_is_added_up_in_one_series() -> None:
    store = Store(max_series=2)
    cells = store.counter(RETRIED)
    for number in range(5):
        cells.child(f"t{number}", "q", "E").value += 1
    assert shown(cells, store.serial) == {
        'task="t0",queue="q",exception="E"': 1,
        'task="t1",queue="q",exception="E"': 1,
        'task="__overflow__"': 3,
    }
    assert store.dropped == {"retried_total": 3}
    assert len(cells) == 3


def test_what_this_program_chose_stays_apart_in_the_overflow() -> None:
    store = Store(max_series=1)
    cells = store.counter(REVOKED)
    for task in "abc":
        for reason in ("expired", "terminated"):
            cells.child(task, "q", reason).value += 1
    assert shown(cells, store.serial) == {
        'task="a",queue="q",reason="expired"': 1,
        'task="__overflow__",reason="expired"': 2,
        'task="__overflow__",reason="terminated"': 3,
    }


@pytest.mark.parametrize(
    ("labels", "fixed", "overflow"),
    [
        (("hostname", "name", "queue_name"), (), 'name="__overflow__"'),
        (("env", "hostname", "name"), ("env",), 'env="1",name="__overflow__"'),
        (("worker", "state"), (), 'worker="__overflow__",state="1"'),
        (("type",), (), 'type="1"'),
    ],
)
def test_labels_of_the_overflow(
    labels: tuple[str, ...], fixed: tuple[str, ...], overflow: str
) -> None:
    store = Store(max_series=1)
    cells = store.counter(Family("x_total", "counter", "X.", labels, fixed=frozenset(fixed)))
    cells.child(*("0" for _ in labels))
    cell = cells.child(*("1" for _ in labels))
    assert (cell.labels, cell.overflow) == (overflow, True)


def test_removal_looks_at_one_label() -> None:
    cells = Store().counter(RETRIED)
    for values in (("a", "b", "c"), ("b", "a", "c"), ("c", "b", "a")):
        cells.child(*values)
    cells.remove("task", {"a"})
    assert set(shown(cells, 99)) == {
        'task="b",queue="a",exception="c"',
        'task="c",queue="b",exception="a"',
    }
    cells.remove("queue", {"nothing", "c"})
    assert len(cells) == 2


def test_removal_makes_room() -> None:
    store = Store(max_series=1)
    cells = store.counter(RETRIED)
    cells.child("a", "q", "E").value += 1
    cells.remove("task", {"a"})
    assert cells.child("b", "q", "E").overflow is False


# -- rows ----------------------------------------------------------------------------------------


def test_keys_with_equal_labels_share_a_row() -> None:
    made: list[tuple[str, ...]] = []
    rows: Rows[str, list[str]] = Rows(2, lambda key: (key[0],), lambda k: [*(made.append(k) or k)])
    assert rows.get("a1") is rows.get("a2") is rows.known("a3")
    assert made == [("a",)]
    assert rows.known("b1") is None
    assert rows.get("b1") == ["b"]
    assert rows.get("c1") is None
    assert len(rows) == 2
    rows.remove(lambda labels: labels == ("a",))
    assert rows.known("a1") is None
    assert rows.get("c1") == ["c"]
    assert rows.values() == [["b"], ["c"]]


def test_keys_are_forgotten_before_they_grow_too_many() -> None:
    asked: list[int] = []
    rows: Rows[int, list[str]] = Rows(10, lambda key: (asked.append(key) or "x",), list)
    row = rows.get(0)
    for key in range(1000):
        assert rows.get(key) is row
    assert len(rows._by_key) <= 40
    assert len(rows) == 1


# -- scrapers ------------------------------------------------------------------------------------


def test_a_new_series_is_0_once_to_who_scraped_before() -> None:
    store, scrapers = Store(), Scrapers()
    cells = store.counter(RETRIED)
    run = store.histogram(RUN)

    def scrape(scraper: str) -> tuple[dict[str, object], list[object]]:
        floor = scrapers.floor(scraper, store.serial)
        return shown(cells, floor), [value for _, value in run.snapshot(floor).samples]

    old, new = ('task="old"', 'task="new"')
    cells.child("old", "", "").value += 5
    # The first scrape of each sees the truth: what was is no increase.
    assert scrape("a") == ({old: 5}, [])
    cells.child("new", "", "").value += 1
    run.child("t").observe(1.5)
    assert scrape("a") == ({old: 5, new: 0}, [HistogramValue([0, 0, 0], 0.0)])
    assert scrape("b") == ({old: 5, new: 1}, [HistogramValue([0, 1, 0], 1.5)])
    assert scrape("a") == ({old: 5, new: 1}, [HistogramValue([0, 1, 0], 1.5)])
    cells.child("new", "", "").value += 1
    assert scrape("a")[0] == scrape("b")[0] == {old: 5, new: 2}
    # Whoever is nobody in particular sees the truth, and takes it from no one.
    cells.child("newest", "", "").value += 1
    assert scrape("")[0]['task="newest"'] == 1
    assert scrape("a")[0]['task="newest"'] == 0
    assert scrape("b")[0]['task="newest"'] == 0
    assert scrape("b")[0]['task="newest"'] == 1


def test_a_series_that_was_removed_and_came_back_is_new() -> None:
    store, scrapers = Store(), Scrapers()
    cells = store.counter(RETRIED)
    cells.child("t", "", "").value += 5
    assert shown(cells, scrapers.floor("a", store.serial)) == {'task="t"': 5}
    cells.remove("task", {"t"})
    assert shown(cells, scrapers.floor("a", store.serial)) == {}
    cells.child("t", "", "").value += 1
    assert shown(cells, scrapers.floor("a", store.serial)) == {'task="t"': 0}
    assert shown(cells, scrapers.floor("a", store.serial)) == {'task="t"': 1}


def test_the_scraper_that_was_silent_for_longest_is_forgotten() -> None:
    scrapers = Scrapers()
    for number in range(MAX_SCRAPERS):
        assert scrapers.floor(f"s{number}", 1) == 1
    assert scrapers.floor("s0", 2) == 1  # it is not silent
    assert scrapers.floor("one more", 2) == 2
    assert scrapers.floor("s0", 3) == 2
    assert scrapers.floor("s1", 3) == 3  # forgotten: as if for the first time


@pytest.mark.parametrize(
    ("profile", "name", "labels"),
    [
        ("native", "celery_task_failed_total", {"task": "work.add"}),
        ("celery-exporter", "celery_task_failed_total", {"name": "work.add"}),
        ("flower", "flower_events_total", {"task": "work.add", "type": "task-failed"}),
    ],
)
def test_every_profile_shows_the_first_failure_as_an_increase(
    profile: str, name: str, labels: dict[str, str]
) -> None:
    exposed = Exposed(profile).play(task_event("sent", queue="q", uuid="u0"))

    def seen() -> list[float]:
        return sorted(
            value
            for (sample, found), value in exposed.samples("prometheus").items()
            if sample == name and labels.items() <= dict(found).items()
        )

    seen()
    exposed.play(task_event("received", 1), task_event("failed", 2, exception="ValueError()")).wait(
        70
    )
    assert set(seen()) == {0}
    assert max(seen()) == 1
