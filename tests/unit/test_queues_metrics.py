"""The families of queues: what was read, what was not, and what is too much."""

from typing import Any

import pytest

from tests.support.tracking import T0, Stage, event
from z4j_exporter.config import Settings
from z4j_exporter.metrics.queues import make_queue_metrics
from z4j_exporter.metrics.store import Store
from z4j_exporter.queues.model import QueuePoll, QueueReading

EMPTY = Stage().cluster


def poll(*readings: QueueReading, **fields: Any) -> QueuePoll:
    defaults: dict[str, Any] = {
        "success": True, "method": "redis", "duration_seconds": 0.25, "finished_at": T0 + 100,
        "last_success_at": T0 + 100,
    }  # fmt: skip
    return QueuePoll(**{**defaults, **fields}, readings=readings)


class Scrape:
    """The queue families of a profile; ``samples`` as {family: {labels: value}}."""

    def __init__(self, max_series: int = 100, **settings: Any) -> None:
        self.store = Store(max_series)
        self.metrics = make_queue_metrics(Settings.model_validate(settings), self.store)

    def samples(self, look: QueuePoll | None, stage: Stage | None = None) -> dict[str, Any]:
        cluster = stage.cluster if stage is not None else EMPTY
        snapshots = self.metrics.collect(look, cluster, T0 + 105)
        assert [s.family for s in snapshots] == self.metrics.families()
        return {s.family.name.removeprefix("celery_queue_"): dict(s.samples) for s in snapshots}


def test_everything_that_was_read_is_shown() -> None:
    found = Scrape().samples(
        poll(
            QueueReading("a", ready={"0": 3, "9": 1}, unacked=2),
            QueueReading(
                "b", ready={"": 7}, unacked=0, consumers=2, memory_bytes=4096,
                oldest_age_seconds=1.5, published=10, delivered=9, acked=8,
            ),
        )
    )  # fmt: skip
    assert found == {
        "messages": {
            'queue="a",state="ready",priority="0"': 3,
            'queue="a",state="ready",priority="9"': 1,
            'queue="a",state="unacked"': 2,
            'queue="b",state="ready"': 7,
            'queue="b",state="unacked"': 0,
        },
        "consumers": {'queue="b"': 2},
        "oldest_message_age_seconds": {'queue="b"': 1.5},
        "memory_bytes": {'queue="b"': 4096},
        "messages_published_total": {'queue="b"': 10},
        "messages_delivered_total": {'queue="b"': 9},
        "messages_acked_total": {'queue="b"': 8},
        "poll_success": {"": 1},
        "poll_duration_seconds": {"": 0.25},
        "poll_last_success_timestamp_seconds": {"": T0 + 100},
    }


def test_a_failed_look_shows_no_queue() -> None:
    scrape = Scrape()
    scrape.samples(poll(QueueReading("a", ready={"0": 3})))
    found = scrape.samples(poll(success=False, last_success_at=T0))
    assert {name: s for name, s in found.items() if s} == {
        "poll_success": {"": 0},
        "poll_duration_seconds": {"": 0.25},
        "poll_last_success_timestamp_seconds": {"": T0},
    }
    assert not any(scrape.samples(None).values())
    assert "poll_last_success_timestamp_seconds" in scrape.samples(poll(last_success_at=None))


def test_labels_are_clean_and_queues_of_one_label_are_joined() -> None:
    found = Scrape().samples(
        poll(
            QueueReading("a\n", ready={"0": 3}, oldest_age_seconds=5.0, published=1),
            QueueReading("a\r", ready={"0": 4}, oldest_age_seconds=9.0, published=2),
            QueueReading('"\udcff', unacked=1),
        )
    )
    assert found["messages"] == {
        'queue="a\ufffd",state="ready",priority="0"': 7,
        'queue="\\"\ufffd",state="unacked"': 1,
    }
    assert found["oldest_message_age_seconds"] == {'queue="a\ufffd"': 9.0}
    assert found["messages_published_total"] == {'queue="a\ufffd"': 3}


def test_what_is_beyond_the_cap_overflows() -> None:
    scrape = Scrape(max_series=2)
    queues = [QueueReading(n, ready={"": 1}, oldest_age_seconds=2.0, acked=5) for n in "bcde"]
    scrape.samples(poll(*queues[:2]))
    # A queue that sorts before them takes nobody's place.
    found = scrape.samples(poll(QueueReading("a", ready={"": 1}, acked=5), *queues))
    assert found["messages"] == {
        'queue="b",state="ready"': 1,
        'queue="c",state="ready"': 1,
        'queue="__overflow__",state="ready"': 3,
    }
    assert found["oldest_message_age_seconds"]['queue="__overflow__"'] == 2.0
    # A sum over queues that come and go would be no counter.
    assert found["messages_acked_total"] == {'queue="b"': 5, 'queue="c"': 5}
    assert scrape.store.dropped["celery_queue_messages"] == 3
    assert scrape.store.dropped["celery_queue_messages_acked_total"] == 3
    scrape.samples(poll(QueueReading("a", ready={"": 1}, acked=5), *queues))
    assert scrape.store.dropped["celery_queue_messages"] == 3  # a scrape is no update
    scrape.samples(poll(success=False))
    assert scrape.samples(poll(*queues))["messages_acked_total"] == found["messages_acked_total"]


def test_the_tracker_dates_the_oldest_message() -> None:
    stage = Stage().play(
        [
            event("task-sent", 10, uuid="old", name="t", queue="a"),
            event("task-sent", 60, uuid="new", name="t", queue="a"),
            event("task-sent", 20, uuid="retried", name="t", queue="a"),
            event("task-received", 21, uuid="retried", name="t"),
            event("task-started", 22, uuid="retried"),
            event("task-retried", 23, uuid="retried", exception="E()"),
            event("task-sent", 24, uuid="retried", name="t", queue="a", retries=1),
            event("task-received", 70, uuid="unsent", name="t"),
            event("task-sent", 500, uuid="ahead", name="t", queue="a"),
        ]
    )

    def age(*ids: str, seconds: float | None = None) -> Any:
        reading = QueueReading("a", oldest_task_ids=ids, oldest_age_seconds=seconds)
        return Scrape().samples(poll(reading), stage)["oldest_message_age_seconds"]

    assert age("old", "new") == {'queue="a"': 90.0}
    assert age("new", seconds=50.0) == {'queue="a"': 50.0}
    assert age("retried") == {'queue="a"': 76.0}
    assert age("ahead") == {'queue="a"': 0.0}
    assert age("old", "never heard of") == {}
    assert age("unsent") == {}
    assert age() == {}


@pytest.mark.parametrize("settings", [{}, {"metric_prefix": "shop_", "static_labels": {"a": "1"}}])
def test_the_drop_in_profile_has_its_own_names(settings: dict[str, Any]) -> None:
    scrape = Scrape(metrics_profile="celery-exporter", **settings)
    prefix = settings.get("metric_prefix", "celery_")
    found = scrape.metrics.collect(
        poll(
            QueueReading("b", ready={"0": 3, "9": 1}, unacked=5),
            QueueReading("c", ready={"": 2}, consumers=4),
            QueueReading("d"),
        ),
        EMPTY,
        T0,
    )
    assert [f.family.name for f in found] == [
        f"{prefix}queue_length", f"{prefix}active_consumer_count",
    ]  # fmt: skip
    assert [f.family.help for f in found] == [
        "The number of message in broker queue.",
        "The number of active consumer in broker queue.",
    ]
    static = 'a="1",' if "static_labels" in settings else ""
    assert dict(found[0].samples) == {
        f'{static}queue_name="b"': 4,
        f'{static}queue_name="c"': 2,
    }
    assert dict(found[1].samples) == {f'{static}queue_name="c"': 4}


def test_the_drop_in_profile_overflows_by_its_own_label() -> None:
    scrape = Scrape(max_series=1, metrics_profile="celery-exporter", static_labels={"env": "prod"})
    length, _ = scrape.metrics.collect(
        poll(*(QueueReading(name, ready={"": 1}) for name in "abc")), EMPTY, T0
    )
    assert dict(length.samples) == {
        'env="prod",queue_name="a"': 1,
        'env="prod",queue_name="__overflow__"': 2,
    }


def test_flower_has_no_queues() -> None:
    scrape = Scrape(metrics_profile="flower")
    assert scrape.metrics.collect(poll(QueueReading("a")), EMPTY, T0) == []
    assert scrape.metrics.families() == []
