"""docs/profiles.md names options, variables and families that exist."""

import re
from pathlib import Path

import pytest

from z4j_exporter.config import ENVIRONMENT_PREFIX, Settings, option_name
from z4j_exporter.metrics.profiles import make_profile

TEXT = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")
#: What stands in the column "here" of all tables.
HERE = " ".join(
    line.split("|")[2] for line in TEXT.splitlines() if line.startswith("|") and "---" not in line
)


def test_the_options_exist() -> None:
    named = set(re.findall(r"`--([a-z-]+)", HERE))
    assert len(named) > 12
    assert named <= {option_name(field) for field in Settings.model_fields}


def test_the_variables_exist() -> None:
    named = set(re.findall(rf"{ENVIRONMENT_PREFIX}([A-Z_]+)", HERE))
    assert len(named) > 12
    assert named <= {field.upper() for field in Settings.model_fields}


@pytest.mark.parametrize("profile", ["celery-exporter", "flower"])
def test_the_histograms_to_choose_buckets_for_exist(profile: str) -> None:
    named = re.findall(r"--buckets (\w+)=([\d.,]+)", TEXT)
    mine = {
        name: tuple(map(float, bounds.split(",")))
        for name, bounds in named
        if name.startswith("flower") == (profile == "flower")
    }
    assert mine
    make_profile(Settings.model_validate({"metrics_profile": profile, "buckets": mine}))


def test_the_defaults_are_true() -> None:
    defaults = Settings()
    assert "default 60; 0 means never" in TEXT
    assert defaults.worker_timeout == 60
    assert "default 1800, counted from" in TEXT
    assert defaults.purge_offline_worker_metrics == 1800
