"""What the reference pages say of options, variables, keys and exit codes is what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tools import reference
from tools.reference_commands import all_commands, is_setting
from tools.reference_exits import error_classes
from tools.reference_settings import subject_of
from tools.reference_words import EXAMPLE
from z4j_exporter.app import Exporter
from z4j_exporter.cli.options import settings_from
from z4j_exporter.cli.run import run
from z4j_exporter.config import ENVIRONMENT_PREFIX, Settings, is_secret

PAGE = (reference.DOCS / "configuration.md").read_text(encoding="utf-8")
#: Variables that are no setting's, and who reads them.
OTHER_VARIABLES = {
    "CONFIG": "options.py",
    "URL": "trace.py",
    "ACTIONS_URL": "action_target.py",
    "ACTIONS_TOKEN": "action_target.py",
    "ACTIONS_BEARER_TOKEN_FILE": "action_target.py",
    "ACTIONS_AUDIT_KEY": "audit_key.py",
}
#: A value of each kind that a variable can have, and what becomes of it.
VALUES: dict[str, tuple[str, Any]] = {
    "boolean": ("true", True),
    "integer": ("5000000", 5_000_000),
    "number": ("0.5", 0.5),
    "string": ("text", "text"),
    "array": ("one;two", ["one", "two"]),
    "object": ("name=v1;other=v2", {"name": "v1", "other": "v2"}),
}
#: Fields whose values are not of their kind's sort.
SPECIAL: dict[str, tuple[str, Any]] = {
    "metric_prefix": ("x_", "x_"),
    "trace_url": ("https://t.example.org/{trace_id}", "https://t.example.org/{trace_id}"),
    "buckets": ("f=0.1,1;g=2", {"f": (0.1, 1.0), "g": (2.0,)}),
    "actions_max_retries_chain": ("7", 7),
    "actions_bulk_cap": ("7", 7),
}


def test_the_pages_are_in_step() -> None:
    old = [
        path.name
        for path, text in reference.documents().items()
        if path.read_text(encoding="utf-8") != text
    ]
    assert not old, "run: python -m tools.reference"


def test_check_tells_of_a_page_that_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("configuration.md", "metrics.md"):
        text = (reference.DOCS / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(reference, "DOCS", tmp_path)
    assert reference.main(["--check"]) == 0
    page = tmp_path / "metrics.md"
    page.write_text(page.read_text(encoding="utf-8").replace("| counter |", "| gauge |", 1))
    assert reference.main(["--check"]) == 1
    assert capsys.readouterr().out == "metrics.md is not in step\n"
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("metrics.md lacks")):
        reference.with_families("# Metrics\n")


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_told_with_its_three_names(field: str) -> None:
    option = next(parameter for parameter in run.params if parameter.name == field)
    row = next(line for line in PAGE.splitlines() if f"<br>`{field}` |" in line)
    variable = ENVIRONMENT_PREFIX + field.upper()
    assert all(f"`{name}`" in row for name in (*option.opts, *option.secondary_opts, variable))
    assert (f"`{variable}_FILE`" in row) == is_secret(field)
    assert subject_of(field)


# "app" imports the application: tests/unit/test_options.py.
@pytest.mark.parametrize("field", [f for f in Settings.model_fields if f != "app"])
def test_every_variable_works(field: str) -> None:
    schema = Settings.model_json_schema()["properties"][field]
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    if "enum" in schema:
        text, value = schema["enum"][-1], schema["enum"][-1]
    else:
        text, value = SPECIAL.get(field) or VALUES[schema["type"]]
    if schema.get("format") == "path":
        value = Path(value)
    environment = {ENVIRONMENT_PREFIX + field.upper(): text}
    if field == "actions":  # it is nothing without these
        for needed in ("token_file", "journal_path", "audit_path"):
            environment[f"{ENVIRONMENT_PREFIX}ACTIONS_{needed.upper()}"] = "f"
    assert getattr(settings_from({}, environment=environment), field) == value


@pytest.mark.parametrize("field", [f for f in Settings.model_fields if is_secret(f)])
def test_every_secret_comes_from_a_file(field: str, tmp_path: Path) -> None:
    text = "name=v1" if field == "otlp_headers" else "a-secret"
    (tmp_path / "secret").write_text(f"{text}\n")
    environment = {f"{ENVIRONMENT_PREFIX}{field.upper()}_FILE": str(tmp_path / "secret")}
    found = getattr(settings_from({}, environment=environment), field)
    assert found == ({"name": "v1"} if field == "otlp_headers" else "a-secret")


def test_every_variable_on_the_page_is_one_that_is_read() -> None:
    named = set(re.findall(rf"{ENVIRONMENT_PREFIX}([A-Z_]+)", PAGE))
    fields = {field.upper() for field in Settings.model_fields}
    files = {f"{field.upper()}_FILE" for field in Settings.model_fields if is_secret(field)}
    assert named == fields | files | set(OTHER_VARIABLES)
    package = Path(reference.__file__).parents[1] / "z4j_exporter"
    sources = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    for variable, file in OTHER_VARIABLES.items():
        assert re.search(rf"(PREFIX\}}|{ENVIRONMENT_PREFIX}){variable}\b", sources[file])


def test_run_takes_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command reads it and builds the whole exporter; only nothing is started."""
    for name in ("Z4J_EXPORTER_CONFIG", "Z4J_EXPORTER_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    built: list[Settings] = []

    def start(exporter: Exporter) -> None:
        built.append(exporter.settings)
        raise SystemExit(0)

    monkeypatch.setattr(Exporter, "start", start)
    monkeypatch.setattr("z4j_exporter.cli.run.set_up", lambda *_: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert f"```yaml\n{EXAMPLE}```" in PAGE
    (tmp_path / "exporter.yml").write_text(EXAMPLE)
    result = CliRunner().invoke(run, ["--config", str(tmp_path / "exporter.yml")])
    assert built, result.output
    settings = built[0].model_dump(mode="json")
    for key, value in yaml.safe_load(EXAMPLE).items():
        assert settings[key] == value


def test_every_option_of_every_command_is_told() -> None:
    for name, command in all_commands():
        if name == "run":
            continue
        section = PAGE.partition(f"### z4j-exporter {name}\n")[2].partition("\n### ")[0]
        common = PAGE.partition(f"### z4j-exporter {name.split()[0]}\n")[2].partition("\n### ")[0]
        assert section, name
        for parameter in command.params:
            if is_setting(parameter):
                assert f"`{max(parameter.opts, key=len)}`" in section
            elif parameter.param_type_name == "option":
                told = section + common
                assert all(re.search(rf"`{o}[ `]", told) for o in parameter.opts), (name, parameter)


def test_every_exit_code_is_told() -> None:
    codes = {int(c) for c in re.findall(r"^\| (\d+) \|", PAGE.split("## Exit codes")[1], re.M)}
    assert codes >= {found.exit_code for found in error_classes()} | {0, 1, 2, 10, 11, 13, 14}
    assert {3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 18, 19, 20} <= codes
