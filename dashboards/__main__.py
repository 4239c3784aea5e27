"""Writes each dashboard's JSON into this directory."""

from pathlib import Path

from dashboards.all import DASHBOARDS, as_json

for name, build in DASHBOARDS.items():
    Path(__file__).with_name(f"{name}.json").write_text(as_json(build()), encoding="utf-8")
