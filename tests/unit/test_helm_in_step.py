"""The chart has what `python -m tools.chart` writes, and each of its values is described."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import CHART
from tools import chart
from tools.chart_values import leaves, table, values
from z4j_exporter import __version__
from z4j_exporter.config import Settings, is_secret

VALUES = (CHART / "values.yaml").read_text()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_in_step() -> None:
    assert [str(path.relative_to(chart.ROOT)) for path in chart.stale()] == []
    assert chart.main(["--check"]) == 0


def test_what_is_not_in_step_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    for folder in ("helm", "alerts", "dashboards"):
        shutil.copytree(chart.ROOT / folder, tmp_path / folder)
    monkeypatch.setattr(chart, "ROOT", tmp_path)
    monkeypatch.setattr(chart, "CHART", tmp_path / "helm" / "z4j-exporter")
    assert chart.main([]) == 0
    assert chart.stale() == []
    (tmp_path / "alerts" / "alerts.yaml").write_text("groups: []\n")
    (tmp_path / "dashboards" / "new.json").write_text("{}\n")
    (chart.CHART / "files" / "dashboards" / "gone.json").write_text("{}\n")
    (chart.CHART / "Chart.yaml").write_text("appVersion: 0\n")
    assert {path.name for path in chart.stale()} == {
        "alerts.yaml", "new.json", "gone.json", "Chart.yaml",
    }  # fmt: skip
    assert chart.main(["--check"]) == 1
    assert "helm/z4j-exporter/Chart.yaml is not in step" in capsys.readouterr().err
    assert chart.main([]) == 0
    assert chart.stale() == []
    assert not (chart.CHART / "files" / "dashboards" / "gone.json").exists()


def test_the_version_is_the_exporters() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def described(schema: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    found = {}
    for name, below in schema.get("properties", {}).items():
        found[f"{prefix}{name}"] = below
        found |= described(below, f"{prefix}{name}.")
    return found


def test_every_value_is_in_schema_and_readme() -> None:
    readme = (CHART / "README.md").read_text()
    schema = described(SCHEMA)
    named = [value.name for value in values(VALUES)]
    assert len(named) == len(set(named)) > 100
    for name in named:
        assert f"| `{name}` |" in readme
        below_map = name.split(".")[0].endswith(("Context", "Probe", "esources"))
        assert below_map or name in schema
    # What the reader of comments sees is what YAML has, but for flow mappings.
    assert set(named) <= leaves(VALUES)
    assert {name.split(".")[0] for name in leaves(VALUES)} == {n.split(".")[0] for n in named}


def test_the_schema_has_no_value_that_is_not_there() -> None:
    known = leaves(VALUES) | {"global"}
    for name in described(SCHEMA):
        if not name.startswith(("config.", "prometheusRule.overrides.", "actions.rules.")):
            assert name in known


def test_the_schema_is_closed() -> None:
    closed = {name: s for name, s in described(SCHEMA).items() if "properties" in s}
    assert len(closed) > 20
    for name, schema in {"": SCHEMA, **closed}.items():
        assert schema["additionalProperties"] is False, name


def test_config_has_every_setting_but_those_of_other_values() -> None:
    settings = SCHEMA["properties"]["config"]["properties"]
    assert settings.keys() | chart.OWNED.keys() == Settings.model_fields.keys()
    assert not settings.keys() & chart.OWNED.keys()
    assert not any(is_secret(name) for name in settings)
    for name, schema in settings.items():
        assert schema.get("type") or schema.get("enum"), name
        assert schema["description"]


def test_a_secret_setting_needs_a_value_of_the_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(chart.OWNED, "capture_store_key")
    with pytest.raises(ValueError, match="capture_store_key"):
        chart.config_schema()


def test_a_value_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.b has no comment"):
        table("# One.\na:\n  b: 1\n")


def test_comments_become_a_table() -> None:
    text = "# Of all.\n\n# One,\n# or | more.\n#\n#     a: {b: 2}\na:\n  # Two.\n  b: [1, 2]\n"
    rows = table(text).strip().splitlines()[2:]
    assert rows == ["| `a` |  | One, or \\| more. |", "| `a.b` | `[1, 2]` | Two. |"]
