"""The options of ``z4j-exporter demo``."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from z4j_exporter.app import Exporter
from z4j_exporter.cli import demo as command
from z4j_exporter.demo.access import make_access
from z4j_exporter.demo.run import DemoOptions
from z4j_exporter.demo.settings import exporter_settings
from z4j_exporter.demo.stage import BuildExporter
from z4j_exporter.web.address import Address


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[DemoOptions]:
    """The options that the command hands on."""
    seen: list[DemoOptions] = []

    def run_demo(options: DemoOptions, _build: BuildExporter, _console: Console) -> None:
        seen.append(options)

    monkeypatch.setattr(command, "run_demo", run_demo)
    return seen


def test_without_options_it_runs_until_somebody_ends_it(given: list[DemoOptions]) -> None:
    assert CliRunner().invoke(command.demo, []).exit_code == 0
    assert given == [DemoOptions(listen_address="127.0.0.1:9808", rate=15.0, workers=2)]


def test_every_option_is_handed_on(given: list[DemoOptions], tmp_path: Path) -> None:
    log = tmp_path / "log"
    line = ["--duration", "5", "--once", "--listen-address", ":0", "--rate", "3.5"]
    line += ["--workers", "4", "--log-file", str(log)]
    assert CliRunner().invoke(command.demo, line).exit_code == 0
    assert given == [
        DemoOptions(
            listen_address=":0",
            rate=3.5,
            workers=4,
            duration_seconds=5.0,
            once=True,
            log_file=log,
        )
    ]


@pytest.mark.parametrize(
    "line", [["--duration", "0"], ["--rate", "0"], ["--workers", "1"], ["--log-file", "/"]]
)
def test_what_makes_no_sense_is_a_usage_error(given: list[DemoOptions], line: list[str]) -> None:
    result = CliRunner().invoke(command.demo, line)
    assert result.exit_code == 2
    assert line[0] in result.output
    assert given == []


def test_without_an_endpoint_what_leads_to_a_real_collector_is_forgotten(
    given: list[DemoOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://real-collector:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=real")
    assert CliRunner().invoke(command.demo, []).exit_code == 0
    assert given[0].otlp_endpoint is None
    assert not [name for name in os.environ if name.startswith("OTEL_EXPORTER_OTLP_")]


def test_with_an_endpoint_its_variables_hold(
    given: list[DemoOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=real")
    assert CliRunner().invoke(command.demo, ["--otlp", "http://collector:4318"]).exit_code == 0
    assert given[0].otlp_endpoint == "http://collector:4318"
    assert os.environ["OTEL_EXPORTER_OTLP_HEADERS"] == "api-key=real"


def test_the_exporter_is_the_one_that_run_starts(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    settings = exporter_settings(
        broker_url="redis+socket:///nowhere.sock",
        listen_address="127.0.0.1:0",
        directory=tmp_path,
        access=make_access(
            tmp_path, Address("127.0.0.1", 0), operator_file=tmp_path / "operator.token"
        ),
        otlp_endpoint="http://127.0.0.1:4318",
        otlp_metrics=True,
    )
    exporter = command._build_exporter(settings)
    assert isinstance(exporter, Exporter)
    for name, value in settings.items():
        assert getattr(exporter.settings, name) == value
