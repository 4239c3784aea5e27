"""When RabbitMQ's queues are read by the management API, and when by passive declares."""

import logging
import time
from collections.abc import Collection

import pytest

from z4j_exporter.config import Settings
from z4j_exporter.errors import BrokerUrlError, ConfigError
from z4j_exporter.queues import rabbitmq
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.queues.rabbitmq import RETRY_SECONDS, RabbitQueues


class Way:
    """One of the two readers: works, or fails with ``failure``."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.notes: tuple[str, ...] = (f"note of {method}",)
        self.failure = ""
        self.asked = 0
        self.seconds = 0.0
        self.closed = 0

    def read(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        self.asked += 1
        self.seconds = deadline - time.monotonic()
        if self.failure:
            raise QueuePollError(self.failure)
        return [QueueReading(f"{self.method}-{name}") for name in names]

    def close(self) -> None:
        self.closed += 1


class Ways:
    """A RabbitQueues whose two readers are ours, and its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
        self.management, self.declare = Way("management"), Way("declare")
        self.now = 1000.0
        settings = Settings(broker_url="amqp://h", rabbitmq_management_url=url)
        self.reader = RabbitQueues(settings, clock=lambda: self.now)
        monkeypatch.setattr(self.reader, "_management", self.management)
        monkeypatch.setattr(self.reader, "_declare", self.declare)

    def read(self) -> str:
        """Read and return which way it was."""
        (reading,) = self.reader.read(["q"], time.monotonic() + 10)
        assert reading.name == f"{self.reader.method}-q"
        return self.reader.method


@pytest.fixture
def guessed(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch, None)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch, "http://h:15672")


def test_the_management_api_comes_first(guessed: Ways) -> None:
    assert guessed.read() == "management"
    assert guessed.reader.notes == ("note of management",)
    assert guessed.declare.asked == 0


def test_an_attempt_that_may_be_in_vain_leaves_half_the_time(guessed: Ways, given: Ways) -> None:
    guessed.read()
    assert 4 < guessed.management.seconds <= 5
    guessed.read()
    assert 9 < guessed.management.seconds <= 10
    given.read()
    assert 9 < given.management.seconds <= 10


def test_without_the_plugin(guessed: Ways, caplog: pytest.LogCaptureFixture) -> None:
    guessed.management.failure = "no plugin here"
    assert guessed.read() == "declare"
    assert guessed.reader.notes == ("note of declare", "no plugin here")
    assert [guessed.read() for _ in range(3)] == ["declare"] * 3
    assert guessed.management.asked == 1, "not asked again at every look"
    guessed.now += RETRY_SECONDS
    assert guessed.read() == "declare"
    assert guessed.read() == "declare"
    assert guessed.management.asked == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING], "said once"
    assert "no plugin here" in caplog.text


def test_the_plugin_is_enabled_later(guessed: Ways, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    guessed.management.failure = "no plugin here"
    guessed.read()
    guessed.management.failure = ""
    assert guessed.read() == "declare"
    guessed.now += RETRY_SECONDS
    assert [guessed.read() for _ in range(3)] == ["management"] * 3
    assert guessed.declare.closed == 1
    assert "management API answers" in caplog.text


def test_one_that_has_worked_fails_the_look_until_it_counts_as_gone(guessed: Ways) -> None:
    guessed.read()
    guessed.management.failure = "status 500"
    guessed.now += RETRY_SECONDS
    with pytest.raises(QueuePollError, match="status 500"):
        guessed.read()
    assert guessed.declare.asked == 0
    guessed.now += 1
    assert guessed.read() == "declare"


def test_one_that_is_named_is_the_only_way(given: Ways) -> None:
    given.management.failure = "refused"
    for _ in range(2):
        with pytest.raises(QueuePollError, match="refused"):
            given.read()
    assert given.management.asked == 2
    assert given.declare.asked == 0


def test_a_broker_that_is_away_at_the_start_is_not_one_without_plugin(guessed: Ways) -> None:
    guessed.management.failure = "connection refused"
    guessed.declare.failure = "broker away"
    with pytest.raises(QueuePollError, match=r"broker away; .*connection refused"):
        guessed.read()
    guessed.management.failure = guessed.declare.failure = ""
    assert guessed.read() == "management"


def test_a_broker_that_was_away_may_have_the_plugin_then(guessed: Ways) -> None:
    guessed.management.failure = "no plugin here"
    assert guessed.read() == "declare"
    guessed.declare.failure = "broker away"
    with pytest.raises(QueuePollError):
        guessed.read()
    guessed.management.failure = ""
    assert guessed.read() == "management"


def test_a_management_api_that_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = RabbitQueues(Settings(broker_url="amqp://h:5673"))
    monkeypatch.setattr(reader, "_declare", Way("declare"))
    (reading,) = reader.read(["q"], time.monotonic() + 10)
    assert reading.name == "declare-q"
    assert "set rabbitmq_management_url" in reader.notes[-1]


def test_close(guessed: Ways) -> None:
    guessed.reader.close()
    assert (guessed.management.closed, guessed.declare.closed) == (1, 1)


def test_settings_that_cannot_be_used() -> None:
    with pytest.raises(BrokerUrlError):
        RabbitQueues(Settings(broker_url=";"))
    with pytest.raises(BrokerUrlError):
        RabbitQueues(Settings(broker_url="redis://h"))
    with pytest.raises(ConfigError):
        RabbitQueues(Settings(broker_url="amqp://h", rabbitmq_management_url="h:15672"))


def test_tls_as_for_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(
        rabbitmq, "derived_addresses", lambda endpoints, *_: seen.extend(endpoints) or ()
    )
    for options in ({}, {"enabled": True}, {"enabled": False}, {"cert_reqs": "none"}):
        RabbitQueues(Settings(broker_url="amqp://h", broker_ssl_options=options))
    assert [getattr(endpoint, "tls") is not None for endpoint in seen] == [  # noqa: B009 - an object to mypy
        False,
        True,
        False,
        True,
    ]
