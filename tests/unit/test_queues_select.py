"""Which queues are watched: by origin, by pattern, and for how long."""

from typing import Any

import pytest

from tests.support.tracking import Stage, event
from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError
from z4j_exporter.queues.select import (
    FORGET_SECONDS,
    MAX_NAME_LENGTH,
    KnownNames,
    QueueFilter,
    QueueSelection,
    queues_sent_to,
)


def queue_filter(**settings: Any) -> QueueFilter:
    return QueueFilter(Settings.model_validate(settings))


def selection(max_queues: int = 100, **settings: Any) -> QueueSelection:
    return QueueSelection(queue_filter(**settings), max_queues=max_queues)


@pytest.mark.parametrize(
    "name",
    [
        "celeryev",
        "celeryev.5f0e2c7e-1111-2222-3333-444444444444",
        "celery@host.celery.pidbox",
        "celery.pidbox",
        "reply.celery.pidbox",
        "5f0e2c7e-1111-2222-3333-444444444444.reply.celery.pidbox",
        "5F0E2C7E-1111-2222-3333-444444444444",
        "amq.gen-JzTY20BRgKO-HjmUJj0wLg",
        "",
        "x" * (MAX_NAME_LENGTH + 1),
        "half\ud800",
    ],
)
def test_what_is_no_queue_of_tasks_is_left_out(name: str) -> None:
    assert not queue_filter().admits(name)
    if name:
        assert queue_filter(queues=[name]).admits(name)


@pytest.mark.parametrize(
    "name", ["celery", "celeryevents", "mypidbox", "a\nb", "\udcff", "celery.x"]
)
def test_what_looks_odd_is_watched_all_the_same(name: str) -> None:
    assert queue_filter().admits(name)


def test_the_event_queue_prefix_counts() -> None:
    chosen = queue_filter(event_queue_prefix="shop.ev")
    assert not chosen.admits("shop.ev.1")
    assert chosen.admits("shop.every")


def test_patterns_match_the_whole_name() -> None:
    chosen = queue_filter(queue_allow=["shop-.*", "mail"], queue_deny=[".*-old"])
    names = ["shop-1", "shop-1-old", "mail", "mails", "x-shop-1"]
    assert [name for name in names if chosen.admits(name)] == ["shop-1", "mail"]
    assert queue_filter(queues=["x-old"], queue_deny=[".*-old"]).admits("x-old")


@pytest.mark.parametrize(
    ("field", "option"), [("queue_allow", "--queue-allow"), ("queue_deny", "--queue-deny")]
)
def test_a_pattern_that_is_none_names_its_option(field: str, option: str) -> None:
    with pytest.raises(ConfigError, match=option) as caught:
        queue_filter(**{field: ["(" * 500]})
    assert len(caught.value.message) < 300


def test_names_come_from_everywhere() -> None:
    chosen = selection(queues=["mine"], queue_deny=["no"])
    chosen.learn(KnownNames(sent={"sent", "no"}, consumed=["eaten", "celeryev"]), 0.0)
    chosen.find(["bound", "mine"], 0.0)
    assert chosen.names() == ["bound", "eaten", "mine", "sent"]
    assert "mine" in chosen
    assert "sent" in chosen
    assert "no" not in chosen


def test_a_queue_is_forgotten_long_after_it_was_seen() -> None:
    chosen = selection(queues=["mine"])
    chosen.learn(KnownNames(sent=["a", "b"]), 0.0)
    chosen.find(["b"], 10.0)
    chosen.learn(KnownNames(), FORGET_SECONDS)
    assert chosen.names() == ["a", "b", "mine"]
    chosen.learn(KnownNames(), FORGET_SECONDS + 1.0)
    assert chosen.names() == ["b", "mine"]
    chosen.learn(KnownNames(), FORGET_SECONDS + 11.0)
    assert chosen.names() == ["mine"]
    chosen.learn(KnownNames(sent=["a"]), FORGET_SECONDS + 12.0)
    assert chosen.names() == ["a", "mine"]


def test_what_is_consumed_displaces_what_events_name() -> None:
    chosen = selection(max_queues=3, queues=["mine"])
    chosen.learn(KnownNames(sent=[f"spam{n}" for n in range(50)]), 0.0)
    assert len(chosen.names()) == 4
    assert chosen.left_out == 47
    chosen.learn(KnownNames(consumed=["a", "b"]), 1.0)
    chosen.find(["c", "d"], 1.0)
    assert chosen.names() == ["a", "b", "c", "mine"]
    assert chosen.left_out == 1  # d
    chosen.learn(KnownNames(sent=["spam1"], consumed=["a", "b", "e"]), 2.0)
    assert chosen.names() == ["a", "b", "e", "mine"]
    assert chosen.left_out == 1


def test_a_found_queue_that_is_consumed_is_displaced_no_more() -> None:
    chosen = selection(max_queues=1)
    chosen.find(["a"], 0.0)
    chosen.learn(KnownNames(consumed=["a"]), 1.0)
    chosen.learn(KnownNames(consumed=["b"]), 2.0)
    assert chosen.names() == ["a"]
    assert chosen.left_out == 1


def test_the_tracker_knows_queues_from_task_sent() -> None:
    stage = Stage().play(
        [
            event("task-sent", uuid="1", name="t", queue="a"),
            event("task-sent", uuid="2", name="t", queue="b"),
            event("task-sent", uuid="3", name="t", queue=None),
            event("task-received", uuid="4", name="t"),
        ]
    )
    assert queues_sent_to(stage.cluster) == {"a", "b"}
