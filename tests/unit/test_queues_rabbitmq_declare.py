"""What passive declares make of a broker's refusals; the broker is played by a connection."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import AccessRefused, NotFound, ResourceLocked

from z4j_exporter.queues import declare
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.declare import DeclareReader
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.sources.amqp_url import parse_endpoint

ABSENT = QueueReading("q", ready={"": 0}, unacked=0, consumers=0)


class Broker:
    """Takes the place of amqp.Connection; ``answers`` has what each queue's declare does."""

    answers: dict[str, Any]
    refusing: dict[str, Exception]
    asked: list[str]
    made: int

    def __init__(self, host: str, **_: Any) -> None:
        self.host = host
        self.sock = SimpleNamespace(settimeout=lambda _: None)

    def connect(self) -> None:
        if failure := self.refusing.get(self.host):
            raise failure
        type(self).made += 1

    def channel(self, number: int) -> "Broker":
        assert number == 1, "one channel is enough"
        return self

    def queue_declare(self, name: str, *, passive: bool) -> Any:
        assert passive, "nothing is ever declared"
        self.asked.append(name)
        answer = self.answers.get(name, (0, 0))
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(message_count=answer[0], consumer_count=answer[1])

    def collect(self) -> None:
        pass


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> type[Broker]:
    fresh = type("Fresh", (Broker,), {"answers": {}, "refusing": {}, "asked": [], "made": 0})
    monkeypatch.setattr(declare.amqp, "Connection", fresh)
    return fresh


def read(reader: DeclareReader, *names: str) -> dict[str, QueueReading]:
    return {r.name: r for r in reader.read(names, time.monotonic() + 5)}


def reader_of(*urls: str) -> DeclareReader:
    return DeclareReader([parse_endpoint(url) for url in urls or ("amqp://me:sesame@h",)])


def test_a_queue(broker: type[Broker]) -> None:
    broker.answers["q"] = (7, 2)
    assert read(reader_of(), "q") == {"q": QueueReading("q", ready={"": 7}, consumers=2)}


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (NotFound("NOT_FOUND - no queue 'q' in vhost '/'"), {"q": ABSENT}),
        (NotFound("NOT_FOUND - home node 'r@h' of durable queue 'q' is down"), {}),
        (NotFound("NOT_FOUND - queue 'q' in vhost '/' process is stopped by supervisor"), {}),
        (ResourceLocked("RESOURCE_LOCKED - cannot obtain exclusive access"), {}),
        (AccessRefused("ACCESS_REFUSED - to queue 'q'"), {}),
    ],
)
def test_only_a_queue_that_is_not_there_is_empty(
    broker: type[Broker], failure: Exception, expected: dict[str, QueueReading]
) -> None:
    broker.answers["q"] = failure
    reader = reader_of()
    found = read(reader, "q", "other")
    assert found.pop("other").ready == {"": 0}
    assert found == expected
    assert any("1 queues could not be asked" in note for note in reader.notes) == (not expected)


def test_names_that_no_queue_can_have_are_not_asked_for(broker: type[Broker]) -> None:
    assert read(reader_of(), "", "x" * 256, "\ud800", "ö" * 128) == {}
    assert broker.asked == []


def test_a_bounded_number_is_asked_for_and_all_have_their_turn(
    broker: type[Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declare, "MAX_PROBES", 4)
    reader = reader_of()
    names = [f"q{number}" for number in range(10)]
    for _ in range(3):
        assert len(read(reader, *names)) == 4
        assert any("come first next time" in note for note in reader.notes)
    assert set(broker.asked) == set(names)
    assert broker.asked[:12] == [*names, "q0", "q1"]
    assert broker.made == 1, "the connection is kept"


def test_the_queue_whose_turn_it_was_is_gone(
    broker: type[Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declare, "MAX_PROBES", 1)
    reader = reader_of()
    read(reader, "a", "b", "c")
    assert set(read(reader, "a", "c")) == {"c"}
    assert set(read(reader, "a")) == {"a"}


def test_the_next_broker_of_the_list(broker: type[Broker]) -> None:
    broker.refusing["first:5672"] = ConnectionRefusedError(111, "Connection refused")
    reader = reader_of("amqp://first", "amqp://second")
    assert set(read(reader, "q")) == {"q"}
    broker.refusing["second:5672"] = AccessRefused("ACCESS_REFUSED - Login was refused")
    reader = reader_of("amqp://first", "amqp://second")
    with pytest.raises(QueuePollError) as e:
        read(reader, "q")
    assert "amqp://first:5672/%2F cannot be asked" in e.value.message
    assert "amqp://second:5672/%2F refused the login" in e.value.message


@pytest.mark.parametrize(
    "failure",
    [
        OSError("broken by sesame"),
        MemoryError(),
        IndexError("sesame"),
        TimeoutError("timed out"),
    ],
)
def test_a_connection_that_fails(broker: type[Broker], failure: Exception) -> None:
    broker.answers["q"] = failure
    reader = reader_of()
    with pytest.raises(QueuePollError, match="check that the broker") as e:
        read(reader, "q")
    assert "sesame" not in e.value.message
    assert broker.made == 1, "a new connection is not tried twice"
    broker.answers.clear()
    assert read(reader, "q") == {"q": QueueReading("q", ready={"": 0}, consumers=0)}
    broker.answers["q"] = failure
    with pytest.raises(QueuePollError):
        read(reader, "q")
    assert broker.made == 3, "a kept one is, once"
