"""The fleet thread: when it asks, for what, and that it ends."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from z4j_exporter.config import Settings, build_settings
from z4j_exporter.errors import AppImportError
from z4j_exporter.fleet.inspect import (
    HELD_EVERY_ROUNDS,
    FleetInspector,
    ask_once,
    control_exchange,
    delay_seconds,
)
from z4j_exporter.fleet.model import FleetReading

SETTINGS = build_settings({"inspect_interval": 0.001})


def made(number: int, error: str = "") -> FleetReading:
    return FleetReading(float(number), 0.1, not error, error=error)


class Asked:
    """Stands for ask_once; stops the thread after so many rounds."""

    def __init__(self, rounds: int, errors: dict[int, str] | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        self.thread: FleetInspector | None = None
        self._rounds = rounds
        self._errors = errors or {}

    def __call__(self, _: Settings, **options: Any) -> FleetReading:
        number = len(self.calls)
        self.calls.append(options)
        self.threads.add(threading.current_thread().name)
        return made(number, self._errors.get(number, ""))

    def run(self, **options: Any) -> FleetInspector:
        def seen(reading: FleetReading) -> None:
            if len(self.calls) >= self._rounds and self.thread is not None:
                self.thread.stop()
            options.get("seen", list)()

        self.thread = FleetInspector(SETTINGS, ask=self, on_reading=seen, jitter=lambda: 0.5)
        self.thread.start()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.thread

    @property
    def held(self) -> list[bool]:
        return [call["held"] for call in self.calls]


def test_it_asks_again_and_again_in_its_own_thread() -> None:
    asked = Asked(3)
    thread = asked.run()
    assert len(asked.calls) == 3
    assert asked.threads == {"fleet"}
    assert thread.daemon
    assert thread.reading == made(2)


def test_tasks_are_asked_for_at_the_start_and_now_and_then() -> None:
    asked = Asked(HELD_EVERY_ROUNDS + 2)
    asked.run()
    assert asked.held == [True, *[False] * (HELD_EVERY_ROUNDS - 1), True, False]


def test_a_round_that_failed_leaves_tasks_to_be_asked_for() -> None:
    asked = Asked(4, {0: "gone", 1: "gone"})
    asked.run()
    assert asked.held == [True, True, True, False]


def test_after_a_gap_it_asks_at_once_for_tasks() -> None:
    asked = Asked(2)
    slow = build_settings({"inspect_interval": 3600})
    ready = threading.Event()
    thread = FleetInspector(slow, ask=asked, on_reading=lambda _: ready.set())
    asked.thread = thread
    thread.start()
    assert ready.wait(10)
    ready.clear()
    thread.ask_soon()
    assert ready.wait(10)
    thread.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert asked.held == [True, True]


def test_a_round_cut_short_by_the_end_is_not_shown() -> None:
    began, go_on = threading.Event(), threading.Event()

    def ask(*_: object, stopping: Any, **__: object) -> FleetReading:
        began.set()
        assert go_on.wait(10)
        assert stopping()
        return made(1)

    readings: list[FleetReading] = []
    thread = FleetInspector(SETTINGS, ask=ask, on_reading=readings.append)
    thread.start()
    assert began.wait(10)
    thread.stop()
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert readings == []
    assert thread.reading is None


def test_each_state_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Asked(5, {1: "the broker is gone", 2: "the broker is gone"}).run()
    said = [record.message for record in caplog.records]
    assert said == [
        "workers cannot be asked (inspect): the broker is gone",
        "workers can be asked again",
    ]


def test_a_callback_that_fails_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked(3)

    def fail() -> None:
        raise RuntimeError("the applier has ended")

    thread = asked.run(seen=fail)
    assert len(asked.calls) == 3
    assert thread.reading == made(2)
    assert "this is a bug" in caplog.text


def test_rounds_are_spread() -> None:
    assert [delay_seconds(60, j) for j in (0.0, 0.5, 1.0)] == pytest.approx([54, 60, 66])


# -- settings that cannot work -------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", [None, "", "sqs://key:secret-word@", "redis://:secret-word@127.0.0.1:1/0", "nonsense"]
)
def test_no_setting_makes_it_raise_or_tell_a_secret(url: str | None) -> None:
    reading = ask_once(build_settings({"broker_url": url, "inspect_timeout": 0.1}))
    assert not reading.success
    assert reading.error
    assert "secret-word" not in reading.error
    assert reading.workers == ()


def test_the_control_exchange_is_the_applications(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert control_exchange(build_settings()) == "celery"
    (tmp_path / "fleet_app_of_a_test.py").write_text(
        "from celery import Celery\n"
        "app = Celery('x', set_as_current=False)\n"
        "app.conf.control_exchange = 'shop-control'\n"
    )
    monkeypatch.chdir(tmp_path)
    assert control_exchange(build_settings({"app": "fleet_app_of_a_test"})) == "shop-control"
    with pytest.raises(AppImportError):
        control_exchange(build_settings({"app": "not_there_at_all"}))
