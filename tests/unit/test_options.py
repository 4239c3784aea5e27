"""Settings come from options, environment, file and Celery application, in that order."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from z4j_exporter.cli.options import settings_from, settings_options
from z4j_exporter.config import Settings, build_settings, option_name
from z4j_exporter.errors import ConfigError, ExporterError, FileError


def _settings(*arguments: str, environment: dict[str, str] | None = None) -> Settings:
    found: list[Settings] = []

    @click.command()
    @settings_options()
    def command(**given: Any) -> None:
        found.append(settings_from(given, environment=environment or {}))

    result = CliRunner().invoke(command, arguments)
    if result.exception is not None:
        raise result.exception
    return found[0]


def test_an_option_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text("max_tasks: 1000\nmax_series: 100\nworker_timeout: 5\n")
    settings = _settings(
        "--config",
        str(file),
        "--max-tasks",
        "3000",
        environment={"Z4J_EXPORTER_MAX_TASKS": "2000", "Z4J_EXPORTER_MAX_SERIES": "200"},
    )
    assert (settings.max_tasks, settings.max_series, settings.worker_timeout) == (3000, 200, 5.0)
    assert settings.listen_address == ":9808"


def test_the_celery_application_is_beaten_by_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_settings_app.py").write_text(
        "from celery import Celery\n"
        "app = Celery(broker='redis://:secret@broker:6380/3')\n"
        "app.conf.update(event_exchange='ours', broker_transport_options="
        "{'global_keyprefix': 'a:', 'fanout_prefix': False})\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = _settings(
        "-A",
        "shop_settings_app:app",
        "--broker-transport-option",
        "global_keyprefix=b:",
        environment={"Z4J_EXPORTER_EVENT_EXCHANGE": "theirs"},
    )
    assert settings.broker_url == "redis://:secret@broker:6380/3"
    assert settings.event_exchange == "theirs"
    assert settings.broker_transport_options == {"global_keyprefix": "b:", "fanout_prefix": False}


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://:hidden@broker/0\n")
    settings = _settings(environment={"Z4J_EXPORTER_BROKER_URL_FILE": str(file)})
    assert settings.broker_url == "redis://:hidden@broker/0"
    assert "hidden" not in repr(settings)


def test_a_secret_file_that_is_not_there() -> None:
    with pytest.raises(FileError, match="Z4J_EXPORTER_BROKER_URL_FILE"):
        _settings(environment={"Z4J_EXPORTER_BROKER_URL_FILE": "/nowhere/url"})


def test_values_of_transport_options_are_read_as_the_peers_read_them() -> None:
    settings = _settings(
        *(
            word
            for pair in (
                "fanout_prefix=false",
                "fanout_patterns=True",
                "master_name=mymaster",
                "db=3",
                'sentinel_kwargs={"password": "x=y"}',
                "global_keyprefix=app=1:",
            )
            for word in ("--broker-transport-option", pair)
        )
    )
    assert settings.broker_transport_options == {
        "fanout_prefix": False,
        "fanout_patterns": True,
        "master_name": "mymaster",
        "db": 3,
        "sentinel_kwargs": {"password": "x=y"},
        "global_keyprefix": "app=1:",
    }


def test_several_values_in_the_environment_are_separated_by_semicolons() -> None:
    settings = _settings(
        environment={
            "Z4J_EXPORTER_TASK_LABEL_DENY": "celery\\..*;debug",
            "Z4J_EXPORTER_BUCKETS": "celery_task_attempts=1,2;celery_task_runtime_seconds=0.5,1",
        }
    )
    assert settings.task_label_deny == ["celery\\..*", "debug"]
    assert settings.buckets == {
        "celery_task_attempts": (1.0, 2.0),
        "celery_task_runtime_seconds": (0.5, 1.0),
    }


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_has_an_option_and_says_what_it_is(field: str) -> None:
    result = CliRunner().invoke(settings_options()(click.command()(lambda **_: None)), ["--help"])
    assert f"--{option_name(field)}" in result.output
    assert Settings.model_fields[field].description


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        ({"max_tasks": "many"}, "--max-tasks"),
        ({"max_tasks": 3}, "--max-tasks"),
        ({"broker_url": ["redis://:hunter2@h/0"]}, "--broker-url"),
        ({"buckets": {"f": (2.0, 1.0)}}, "--buckets"),
        ({"buckets": {"f": ("a",)}}, "--buckets"),
        ({"static_labels": {"bad-name": "x"}}, "--static-label"),
        ({"metric_prefix": "1x"}, "--metric-prefix"),
        ({"worker_timeout": float("nan")}, "--worker-timeout"),
        ({"worker_timeout": -1}, "--worker-timeout"),
        ({"log_format": "xml"}, "--log-format"),
        ({"bogus": 1}, "bogus"),
    ],
)
def test_a_wrong_value_names_its_option_and_not_itself(layer: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_settings(layer)
    assert names in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "content",
    ["- a\n", "a: [\n", "42\n", "\x00", "max_tsks: 1\n", "1: 2\n", "\xff\xfe\xfa"],
)
def test_a_configuration_file_that_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "c.yml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ExporterError) as caught:
        _settings("--config", str(file))
    assert str(file) in caught.value.message


def test_an_empty_configuration_file_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text("# nothing\n")
    assert _settings("--config", str(file)) == _settings()


def test_help_calls_seconds_only_what_is_in_seconds() -> None:
    @click.command()
    @settings_options()
    def command(**_: Any) -> None: ...

    shown = {
        option.name: (str(option.metavar), str(option.help))
        for option in command.params
        if isinstance(option, click.Option)
    }
    wrong = {
        name: text
        for name, (metavar, text) in shown.items()
        if (metavar == "SECONDS") != text.startswith("Seconds") and name in Settings.model_fields
    }
    assert set(wrong) == set()
    assert shown["trace_ratio"][0] == "RATIO"
    assert shown["actions_rate"][0] == shown["actions_bulk_rate"][0] == "PER-SECOND"
    assert shown["result_backend_rate"][0] == "PER-SECOND"
    assert shown["buffer_bytes"][0] == shown["journal_max_bytes"][0] == "BYTES"
    assert shown["max_tasks"][0] == "N"
