"""The benchmark's stream: what it holds, and that it is what Celery would have sent."""

from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from benchmarks.stream import Event, Message, Shape, messages
from benchmarks.vocabulary import task_names

START = 1_700_000_000.0
_HEAD = {"hostname", "utcoffset", "pid", "clock", "timestamp", "type"}
_WORKER = {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"}
_CALL = {"uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires"}
#: As captured from a Celery 5.7 worker and client.
FIELDS = {
    "task-sent": _HEAD | _CALL | {"queue", "exchange", "routing_key"},
    "task-received": _HEAD | _CALL,
    "task-started": _HEAD | {"uuid"},
    "task-succeeded": _HEAD | {"uuid", "result", "runtime"},
    "task-failed": _HEAD | {"uuid", "exception", "traceback"},
    "task-retried": _HEAD | {"uuid", "exception", "traceback"},
    "worker-online": _HEAD | _WORKER,
    "worker-heartbeat": _HEAD | _WORKER,
}


@pytest.fixture(scope="module")
def stream() -> list[Message]:
    return list(messages(Shape(events=20_000, start=START)))


@pytest.fixture(scope="module")
def events(stream: list[Message]) -> list[Event]:
    return [e for m in stream for e in (m.body if isinstance(m.body, list) else [m.body])]


def test_two_equal_shapes_give_equal_streams(stream: list[Message]) -> None:
    assert list(messages(Shape(events=20_000, start=START))) == stream
    assert list(messages(Shape(events=20_000, start=START, seed=6))) != stream


def test_it_has_exactly_the_wanted_number_of_events(
    stream: list[Message], events: list[Event]
) -> None:
    assert len(events) == 20_000
    assert sum(m.events for m in stream) == 20_000


def test_each_type_has_the_fields_that_celery_sends(events: list[Event]) -> None:
    seen = {str(e["type"]) for e in events}
    assert seen == set(FIELDS)
    assert all(set(e) == FIELDS[str(e["type"])] for e in events)


def test_task_sent_and_worker_events_come_singly_the_rest_in_lists_of_about_four(
    stream: list[Message],
) -> None:
    lists = [m.body for m in stream if isinstance(m.body, list)]
    assert all(m.routing_key == "task.multi" for m in stream if isinstance(m.body, list))
    assert {e["type"] for body in lists for e in body}.isdisjoint(
        {"task-sent", "worker-online", "worker-heartbeat"}
    )
    assert 3.8 < sum(map(len, lists)) / len(lists) < 4.2


def test_fifty_names_and_twenty_workers(events: list[Event]) -> None:
    assert {e["name"] for e in events if "name" in e} == set(task_names(50))
    assert len({e["hostname"] for e in events if e["type"] == "worker-heartbeat"}) == 20


def test_about_two_in_a_hundred_fail_and_are_retried(events: list[Event]) -> None:
    kinds = Counter(e["type"] for e in events)
    assert 0.01 < kinds["task-failed"] / kinds["task-started"] < 0.03
    assert 0.01 < kinds["task-retried"] / kinds["task-started"] < 0.03


def test_heartbeats_come_every_two_seconds_and_count_what_was_started(events: list[Event]) -> None:
    started: Counter[str] = Counter()
    beats: dict[str, list[float]] = defaultdict(list)
    for event in sorted(events, key=lambda e: e["timestamp"]):
        if event["type"] == "task-started":
            started[event["hostname"]] += 1
        elif event["type"] == "worker-heartbeat":
            assert event["processed"] == started[event["hostname"]]
            beats[event["hostname"]].append(event["timestamp"])
    gaps = {round(b - a, 6) for times in beats.values() for a, b in pairwise(times)}
    assert gaps == {2.0}


def test_the_clock_of_each_sender_only_rises(events: list[Event]) -> None:
    last: dict[str, int] = {}
    order = sorted(events, key=lambda e: (e["hostname"], e["clock"]))
    assert all(e["clock"] > 0 for e in order)
    for event in order:
        assert event["clock"] > last.get(event["hostname"], 0)
        last[event["hostname"]] = event["clock"]


def test_a_retry_keeps_its_uuid_and_becomes_its_own_parent(events: list[Event]) -> None:
    again = [e for e in events if e["type"] == "task-sent" and e["retries"] == 1]
    assert again
    assert all(e["parent_id"] == e["uuid"] for e in again)


def test_task_names_differ() -> None:
    assert len(set(task_names(1_000))) == 1_000
