"""What the doctor counts while it listens, and what it takes from a running exporter."""

from collections.abc import Iterable
from typing import Any

from z4j_exporter.doctor.facts import BrokerFacts, HeardWorker, running_facts
from z4j_exporter.doctor.observation import Observation
from z4j_exporter.events.model import Event
from z4j_exporter.track.cluster import Cluster

WALL = 1_700_000_000.0


def event(kind: str, hostname: str = "w1@a", at: float = 0.0, **fields: Any) -> Event:
    return Event(type=kind, timestamp=WALL + at, hostname=hostname, **fields)


def beat(processed: int | None, at: float, **fields: Any) -> Event:
    return event("worker-heartbeat", at=at, pid=1, processed=processed, **fields)


def heard(events: Iterable[Event], until: float = 100.0) -> tuple[Observation, list[HeardWorker]]:
    observation, cluster = Observation(), Cluster(lambda _transition: None)
    for each in events:
        at = each.timestamp - WALL
        cluster.apply(each, at, WALL + at)
        observation.apply(each, at, WALL + at)
    return observation, list(observation.workers(cluster, until))


def test_tasks_that_ran_by_the_count_of_heartbeats() -> None:
    _, (worker,) = heard([beat(10, 0), beat(10, 2), beat(13, 4), beat(15, 6)])
    assert (worker.heartbeats, worker.ran, worker.task_events) == (4, 5, 0)


def test_the_last_heartbeat_may_count_tasks_whose_events_are_on_their_way() -> None:
    _, (worker,) = heard([beat(10, 0), beat(12, 2), beat(13, 4)], until=4.5)
    assert worker.ran == 2


def test_a_restart_is_no_task() -> None:
    again = event("worker-online", at=3, pid=2, processed=0)
    _, (worker,) = heard([beat(10, 0), again, event("worker-heartbeat", at=5, pid=2, processed=1)])
    assert worker.ran == 1


def test_the_answer_to_a_wake_up_is_no_heartbeat_of_its_own() -> None:
    _, (worker,) = heard([beat(None, 0, sw_ver="5.7.0")])
    assert (worker.heartbeats, worker.woken, worker.version) == (0, 1, "5.7.0")


def test_task_events_belong_to_their_worker_and_sent_ones_to_nobody() -> None:
    _, workers = heard(
        [
            event("task-sent", "gen1@client", uuid="a"),
            event("task-received", "w1@a", uuid="a"),
            event("task-started", "w1@a", uuid="a"),
            event("order-shipped", "w9@a"),
        ]
    )
    assert [(w.name, w.task_events, w.heartbeats) for w in workers] == [("w1@a", 2, 0)]


def test_a_worker_that_says_goodbye() -> None:
    _, (worker,) = heard([beat(1, 0), event("worker-offline", at=1, pid=1)])
    assert not worker.up


def test_sent_events_are_matched_with_first_attempts_received() -> None:
    observation, _ = heard(
        [
            event("task-received", at=0, uuid="early"),
            event("task-sent", "c", at=5, uuid="told"),
            event("task-received", at=5, uuid="told", retries=0),
            event("task-received", at=6, uuid="untold"),
            event("task-received", at=7, uuid="told", retries=1),
        ]
    )
    sent = observation.sent(since=WALL + 1)
    assert (sent.received, sent.matched, sent.sent) == (2, 1, 1)


def cluster_of(events: Iterable[Event]) -> Cluster:
    cluster = Cluster(lambda _transition: None)
    for each in events:
        at = each.timestamp - WALL
        cluster.apply(each, at, WALL + at)
    return cluster


def test_a_running_exporter_tells_of_missing_events() -> None:
    beats = [beat(n, at) for n, at in enumerate(range(0, 60, 2))]
    facts = running_facts(cluster_of(beats), BrokerFacts(connected=True), listened_seconds=60)
    (worker,) = facts.workers
    assert worker.task_events == 0  # none came from anybody
    assert worker.ran == worker.missing
    assert worker.ran > 10
    started = event("task-started", "w2@b", at=1, uuid="x")
    facts = running_facts(
        cluster_of([started, *beats]), BrokerFacts(connected=True), listened_seconds=60
    )
    assert facts.workers[0].task_events is None  # not counted by worker


def test_who_is_present() -> None:
    facts = running_facts(
        cluster_of([beat(1, 0), event("worker-offline", at=1, pid=1)]),
        BrokerFacts(connected=True),
        listened_seconds=60,
    )
    assert facts.present == frozenset()
