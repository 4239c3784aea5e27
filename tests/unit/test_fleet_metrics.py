"""What workers answered, as metrics: exact, kept for busy workers, absent where it is not known."""

from typing import Any

import pytest

from tests.support.exposed import Labels, parsed
from tests.support.tracking import Stage, event
from z4j_exporter.config import Settings, build_settings
from z4j_exporter.fleet.model import FleetReading, WorkerFacts
from z4j_exporter.metrics.exposition import render
from z4j_exporter.metrics.fleet import make_fleet_metrics
from z4j_exporter.metrics.store import Store
from z4j_exporter.track.cluster import Cluster

NOW = 1_790_000_000.0


def facts(name: str = "w1@host", **told: Any) -> WorkerFacts:
    defaults: dict[str, Any] = {
        "pool": "prefork",
        "pool_size": 4,
        "prefetch_count": 16,
        "queues": ("celery",),
        "registered": frozenset({"math.add", "web.visit"}),
    }
    return WorkerFacts(name, **{**defaults, **told})


def reading(*workers: WorkerFacts, at: float = NOW, success: bool = True) -> FleetReading:
    return FleetReading(
        finished_at=at,
        duration_seconds=1.5,
        success=success,
        workers=workers,
        error="" if success else "the broker is gone",
        answered=frozenset(w.name for w in workers),
    )


class Fleet:
    """Fleet families, scraped."""

    def __init__(self, profile: str = "native", **settings: Any) -> None:
        given = Settings.model_validate({"metrics_profile": profile, **settings})
        self.store = Store(given.max_series)
        self.metrics = make_fleet_metrics(given, self.store)
        self.stage = Stage()

    @property
    def cluster(self) -> Cluster:
        return self.stage.cluster

    def alive(self, *names: str) -> "Fleet":
        self.stage.play(event("worker-heartbeat", hostname=name) for name in names)
        return self

    def scrape(
        self, taken: FleetReading | None, wall: float = NOW
    ) -> dict[tuple[str, Labels], float]:
        snapshots = self.metrics.collect(taken, self.cluster, wall)
        return parsed(render(snapshots, openmetrics=False).decode())


def key(name: str, **labels: str) -> tuple[str, Labels]:
    return name, tuple(sorted(labels.items()))


def test_everything_of_two_workers() -> None:
    assert Fleet().alive("a@h", "b@h").scrape(
        reading(
            facts("a@h", queues=("celery", "web")),
            facts("b@h", pool_size=1, prefetch_count=0, registered=frozenset({"math.add"})),
        )
    ) == {
        key("celery_worker_pool_size", worker="a@h"): 4,
        key("celery_worker_pool_size", worker="b@h"): 1,
        key("celery_worker_prefetch_limit", worker="a@h"): 16,
        key("celery_worker_prefetch_limit", worker="b@h"): 0,
        key("celery_worker_registered_tasks", worker="a@h"): 2,
        key("celery_worker_registered_tasks", worker="b@h"): 1,
        key("celery_queue_workers", queue="celery"): 2,
        key("celery_queue_workers", queue="web"): 1,
        key("celery_queue_pool_size", queue="celery"): 5,
        key("celery_queue_pool_size", queue="web"): 4,
        key("celery_fleet_registered_tasks_drift", queue="celery"): 1,
        key("celery_fleet_registered_tasks_drift", queue="web"): 0,
        key("celery_fleet_inspect_success"): 1,
        key("celery_fleet_inspect_duration_seconds"): 1.5,
        key("celery_fleet_inspect_last_success_timestamp_seconds"): NOW,
    }


def test_before_the_first_round_there_is_nothing() -> None:
    assert Fleet().alive("w1@host").scrape(None) == {}


def test_what_a_worker_did_not_tell_is_absent() -> None:
    samples = Fleet().scrape(reading(WorkerFacts("w1@host"), WorkerFacts("w2@host", queues=("q",))))
    assert set(samples) == {
        key("celery_queue_workers", queue="q"),
        key("celery_fleet_inspect_success"),
        key("celery_fleet_inspect_duration_seconds"),
        key("celery_fleet_inspect_last_success_timestamp_seconds"),
    }


def test_a_busy_worker_keeps_its_last_answer_for_some_rounds() -> None:
    fleet = Fleet(inspect_interval=60, inspect_timeout=5).alive("w1@host")
    fleet.scrape(reading(facts()))
    for seconds in (60, 120, 180):
        samples = fleet.scrape(reading(at=NOW + seconds), NOW + seconds)
        assert samples[key("celery_worker_pool_size", worker="w1@host")] == 4
        assert samples[key("celery_queue_workers", queue="celery")] == 1
    samples = fleet.scrape(reading(at=NOW + 190), NOW + 190)
    assert key("celery_worker_pool_size", worker="w1@host") not in samples
    assert samples[key("celery_queue_workers", queue="celery")] == 0


def test_an_answer_without_a_part_keeps_that_part() -> None:
    fleet = Fleet().alive("w1@host")
    fleet.scrape(reading(facts()))
    samples = fleet.scrape(reading(WorkerFacts("w1@host", pool_size=8), at=NOW + 60), NOW + 60)
    assert samples[key("celery_worker_pool_size", worker="w1@host")] == 8
    assert samples[key("celery_queue_pool_size", queue="celery")] == 8


def test_a_worker_that_went_offline_counts_no_more() -> None:
    fleet = Fleet().alive("w1@host")
    fleet.stage.play([event("worker-offline", 1)])
    samples = fleet.scrape(reading(facts()))
    assert key("celery_worker_pool_size", worker="w1@host") not in samples


def test_a_worker_without_heartbeats_counts_while_it_answers() -> None:
    fleet = Fleet()
    assert fleet.scrape(reading(facts()))[key("celery_worker_pool_size", worker="w1@host")] == 4
    samples = fleet.scrape(reading(at=NOW + 60), NOW + 60)
    assert key("celery_worker_pool_size", worker="w1@host") not in samples


def test_a_queue_that_nobody_consumes_shows_0_and_goes_with_the_dead() -> None:
    fleet = Fleet(purge_offline_worker_metrics=600, queues=["kept"])
    fleet.scrape(reading(facts(queues=("web",))))
    for seconds, expected in ((60, {"web", "kept"}), (599, {"web", "kept"}), (660, {"kept"})):
        fleet.scrape(reading(at=NOW + seconds), NOW + seconds)
        samples = fleet.scrape(reading(at=NOW + seconds), NOW + seconds)
        zero = {
            labels[0][1]: n
            for (name, labels), n in samples.items()
            if name.endswith("queue_workers")
        }
        assert zero == dict.fromkeys(expected, 0)
        assert samples[key("celery_queue_pool_size", queue="kept")] == 0


def test_a_failed_round_shows_and_says_nothing_of_queues_once_it_is_old() -> None:
    fleet = Fleet(inspect_interval=10, inspect_timeout=5, queues=["kept"]).alive("w1@host")
    fleet.scrape(reading(facts()))
    failed = reading(at=NOW + 10, success=False)
    samples = fleet.scrape(failed, NOW + 10)
    assert samples[key("celery_fleet_inspect_success")] == 0
    assert samples[key("celery_fleet_inspect_last_success_timestamp_seconds")] == NOW
    assert samples[key("celery_queue_workers", queue="celery")] == 1
    samples = fleet.scrape(reading(at=NOW + 40, success=False), NOW + 40)
    assert not [name for name, _ in samples if "queue" in name]


def test_a_first_round_that_fails_shows_no_zeros() -> None:
    samples = Fleet(queues=["kept"]).scrape(reading(success=False))
    assert set(samples) == {
        key("celery_fleet_inspect_success"),
        key("celery_fleet_inspect_duration_seconds"),
    }


def test_a_thread_that_hangs_shows() -> None:
    fleet = Fleet(inspect_interval=10, inspect_timeout=5)
    taken = reading(facts())
    assert fleet.scrape(taken)[key("celery_fleet_inspect_success")] == 1
    assert fleet.scrape(taken, NOW + 36)[key("celery_fleet_inspect_success")] == 0


def test_workers_with_one_label_are_added_up() -> None:
    fleet = Fleet(worker_label_rewrite=[r"(.*)@web-.*=\1@web"])
    samples = fleet.scrape(reading(facts("a@web-1"), facts("a@web-2", pool_size=2)))
    assert samples[key("celery_worker_pool_size", worker="a@web")] == 6
    assert samples[key("celery_worker_registered_tasks", worker="a@web")] == 2


def test_queues_beyond_the_cap_go_together() -> None:
    fleet = Fleet(max_series=2)
    samples = fleet.scrape(
        reading(facts(queues=("a", "b", "c", "d")), facts("w2@host", queues=("d", "e")))
    )
    sizes = {labels[0][1]: n for (name, labels), n in samples.items()
             if name == "celery_queue_workers"}  # fmt: skip
    assert sizes == {"a": 1, "b": 1, "__overflow__": 2}
    assert fleet.store.dropped == {"celery_queue_workers": 3}  # c, d and e, once each


def test_workers_beyond_the_cap_are_left_out() -> None:
    fleet = Fleet(max_series=2)
    told = reading(*(facts(f"w{n}@h") for n in range(5)))
    fleet.scrape(told)
    pools = [labels[0][1] for name, labels in fleet.scrape(told)
             if name == "celery_worker_pool_size"]  # fmt: skip
    assert pools == ["w0@h", "w1@h"]
    assert fleet.store.dropped["celery_worker_pool_size"] == 3


def test_hostile_names_are_made_harmless() -> None:
    nasty = 'q"\n\x00' + "x" * 400
    fleet = Fleet()
    samples = fleet.scrape(reading(facts("w\n\ud800@h", queues=(nasty,))))
    queues = [labels[0][1] for name, labels in samples if name == "celery_queue_workers"]
    assert len(queues) == 1
    assert len(queues[0]) == 200
    assert "\n" not in queues[0]


def test_the_pool_stands_in_worker_info() -> None:
    from z4j_exporter.metrics.profiles import make_profile  # this test alone

    profile = make_profile(build_settings())
    stage = Stage().play([event("worker-heartbeat", sw_ident="py-celery")])
    stage.cluster.learn_pools({"w1@host": "threads"})
    text = render(profile.collect(stage.cluster, NOW, 0), openmetrics=False).decode()
    assert 'sw_ident="py-celery",pool="threads"} 1' in text


# -- the drop-in profiles ------------------------------------------------------------------------


def test_celery_exporter_has_its_two_families() -> None:
    fleet = Fleet("celery-exporter", queues=["kept"], static_labels={"env": "prod"})
    fleet.alive("a@h")
    samples = fleet.scrape(
        reading(facts("a@h", queues=("celery", "web")), facts("b@h", pool="threads", pool_size=8))
    )
    assert samples == {
        key("celery_active_worker_count", queue_name="celery", env="prod"): 2,
        key("celery_active_worker_count", queue_name="web", env="prod"): 1,
        key("celery_active_worker_count", queue_name="kept", env="prod"): 0,
        key("celery_active_process_count", queue_name="celery", env="prod"): 12,
        key("celery_active_process_count", queue_name="web", env="prod"): 4,
        key("celery_active_process_count", queue_name="kept", env="prod"): 0,
    }


def test_celery_exporter_help_and_prefix_are_the_peers() -> None:
    fleet = Fleet("celery-exporter", metric_prefix="my_")
    text = render(fleet.metrics.collect(None, fleet.cluster, NOW), openmetrics=False).decode()
    assert text.splitlines() == [
        "# HELP my_active_worker_count The number of active workers in broker queue.",
        "# TYPE my_active_worker_count gauge",
        "# HELP my_active_process_count The number of active processes in broker queue.",
        "# TYPE my_active_process_count gauge",
    ]


def test_celery_exporter_keeps_its_queues_at_0() -> None:
    fleet = Fleet("celery-exporter")
    fleet.scrape(reading(facts()))
    later = NOW + 1_000_000
    samples = fleet.scrape(reading(at=later), later)
    assert samples == {
        key("celery_active_worker_count", queue_name="celery"): 0,
        key("celery_active_process_count", queue_name="celery"): 0,
    }


@pytest.mark.parametrize("taken", [None, reading(facts())])
def test_flower_has_none(taken: FleetReading | None) -> None:
    fleet = Fleet("flower")
    assert fleet.scrape(taken) == {}
    assert fleet.metrics.families() == []
