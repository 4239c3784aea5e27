"""Prometheus takes the rules that the chart renders, changed ones too."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.chart import only, render
from tests.support.chart_matrix import MATRIX
from tests.support.process import require


@pytest.mark.parametrize("name", ["alerts", "alerts, changed"])
def test_prometheus_takes_the_rules(name: str, tmp_path: Path) -> None:
    spec = only(render(MATRIX[name]), "PrometheusRule")["spec"]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(spec))
    command = [require("promtool"), "check", "rules", str(file)]
    checked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    count = sum(len(group["rules"]) for group in spec["groups"])
    assert f"{count} rules found" in checked.stdout
