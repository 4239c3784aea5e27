"""The cap holds for families that are made of what is there, and what it leaves out is counted."""

import pytest

from tests.support.exposed import Exposed, worker_event
from z4j_exporter.metrics.cap import LeftOut
from z4j_exporter.metrics.store import Family, Store

FAMILY = Family("f", "gauge", "A gauge.", ("worker",))


def beat(*numbers: int, at: float = 0.0) -> list[dict[str, object]]:
    return [
        worker_event("heartbeat", at, f"w@host{n}", loadavg=[1.0, 2.0, 3.0], active=n)
        for n in numbers
    ]


def workers(exposed: Exposed, name: str, label: str = "worker") -> list[str]:
    return [dict(labels)[label] for found, labels in exposed.samples() if found == name]


def test_no_family_of_workers_is_larger_than_the_cap() -> None:
    exposed = Exposed(max_series=10).play(*beat(*range(25)))
    sizes = {s.family.name: len(s.samples) for s in exposed.snapshots()}
    assert sizes["celery_worker_up"] == 10
    assert sizes["celery_worker_load"] == 10
    of_workers = {name: size for name, size in sizes.items() if name.startswith("celery_worker_")}
    assert len(of_workers) == 9
    assert max(of_workers.values()) == 10


def test_who_has_a_series_keeps_it_until_it_is_forgotten() -> None:
    exposed = Exposed(max_series=2, worker_timeout=60.0, purge_offline_worker_metrics=300)
    exposed.play(*beat(5, 3)).play(*beat(1, 2, at=1))
    for second in range(30, 150, 30):  # the first is down by then, and two wait for its place
        exposed.play(*beat(3, 1, 2, at=second))
    assert exposed.value("celery_worker_up", worker="w@host5") == 0
    assert workers(exposed, "celery_worker_up") == ["w@host5", "w@host3"]
    for second in range(150, 420, 30):
        exposed.play(*beat(3, 1, 2, at=second))
    assert workers(exposed, "celery_worker_up") == ["w@host3", "w@host1"]


def test_a_series_is_counted_once_however_often_it_is_scraped() -> None:
    exposed = Exposed(max_series=2).play(*beat(1, 2, 3, 4))
    dropped = exposed.profile.store.dropped
    for scraper in ("a", "b", "a"):
        exposed.samples(scraper)
    assert dropped["celery_worker_up"] == 2
    assert dropped["celery_worker_load"] == 4 * 3 - 2
    exposed.play(*beat(5, at=1)).samples()
    assert dropped["celery_worker_up"] == 3


def test_below_the_cap_nothing_is_counted() -> None:
    exposed = Exposed(max_series=12).play(*beat(1, 2, 3, 4))
    assert len(workers(exposed, "celery_worker_load")) == 12
    assert exposed.profile.store.dropped.total() == 0


@pytest.mark.parametrize(
    ("profile", "family", "label"),
    [
        ("celery-exporter", "celery_worker_up", "hostname"),
        ("celery-exporter", "celery_worker_tasks_active", "hostname"),
        ("flower", "flower_worker_online", "worker"),
        ("flower", "flower_worker_number_of_currently_executing_tasks", "worker"),
    ],
)
def test_the_other_profiles_keep_the_cap(profile: str, family: str, label: str) -> None:
    exposed = Exposed(profile, max_series=2).play(*beat(1, 2, 3, 4))
    assert [name[-5:] for name in workers(exposed, family, label)] == ["host1", "host2"]
    assert exposed.profile.store.dropped[family] == 2


def test_what_comes_back_is_counted_anew() -> None:
    store = Store(max_series=1)
    left_out = LeftOut(store)
    for names in ("ab", "ab", "a", "ab", "abc"):
        left_out.cut(FAMILY, [(f'worker="{n}"', 1) for n in names])
    assert store.dropped == {"f": 3}  # b, b again, c
