"""Writes the parts of the Helm chart that come from elsewhere: python -m tools.chart [--check].

Helm reads no file outside the chart's own folder, so dashboards and alerts are copied into it. The
exporter's settings become the schema of `config` and files/settings.json, by which the templates
refuse secrets in the open; the comments of values.yaml become the table in the chart's README.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from tools.chart_values import table
from z4j_exporter import __version__
from z4j_exporter.config import Settings, is_secret, option_name

ROOT = Path(__file__).parent.parent
CHART = ROOT / "helm" / "z4j-exporter"
#: What the alerts' folder has that Prometheus loads.
ALERT_FILES = ("alerts.yaml", "recording.yaml")

#: Settings that values other than `config` stand for: name, value of the chart.
OWNED = {
    "broker_url": "broker.existingSecret",
    "result_backend_url": "resultBackend.existingSecret",
    "rabbitmq_management_url": "rabbitmqManagement.existingSecret",
    "capture_store_url": "captureStore.existingSecret",
    "capture_store_key": "captureStore.encryption.existingSecret",
    "otlp_endpoint": "otlp.endpoint",
    "otlp_headers": "otlp.headers.existingSecret",
    "listen_address": "service.port, and leave the container's port alone",
    "web_config_file": "web.configSecret or web.tlsSecret",
    "journal_path": "journal.enabled",
    "actions": "actions.enabled",
    "actions_listen_address": "actions.service.enabled",
    "actions_insecure_listen": "actions.insecure",
    "actions_token_file": "actions.tokens.existingSecret",
    "actions_web_config_file": "actions.configSecret or actions.tlsSecret",
    "actions_journal_path": "actions.enabled",
    "actions_audit_path": "actions.enabled",
    "actions_audit_key_file": "actions.auditKey.existingSecret",
    "actions_rules_file": "actions.rules",
}
#: Settings that the chart compares with limits: they stand in `config` only.
COMPARED = ("buffer_bytes", "max_tasks", "journal_max_bytes", "recording", "app")

_TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- end of values -->)", re.DOTALL)
_APP_VERSION = re.compile(r"^appVersion: .*$", re.MULTILINE)


def files() -> dict[Path, str]:
    """Return what each written file of the chart has to contain."""
    wanted = {
        CHART / "files" / "dashboards" / path.name: path.read_text()
        for path in sorted((ROOT / "dashboards").glob("*.json"))
    }
    for name in ALERT_FILES:
        wanted[CHART / "files" / "alerts" / name] = (ROOT / "alerts" / name).read_text()
    wanted[CHART / "files" / "settings.json"] = as_json(owned_settings())
    chart, readme, schema = (
        CHART / name for name in ("Chart.yaml", "README.md", "values.schema.json")
    )
    wanted[chart] = _APP_VERSION.sub(f'appVersion: "{__version__}"', chart.read_text())
    rows = table((CHART / "values.yaml").read_text())
    wanted[readme] = _TABLE.sub(lambda _: rows, readme.read_text())
    document = json.loads(schema.read_text())
    document["properties"]["config"] = config_schema()
    wanted[schema] = as_json(document)
    return wanted


def owned_settings() -> dict[str, dict[str, Any]]:
    """Return the settings that must not come by arguments, with what to set in their place."""
    places = {**OWNED, **{name: f"config.{name}" for name in COMPARED}}
    return {
        name: {"option": option_name(name), "secret": is_secret(name), "value": places[name]}
        for name in Settings.model_fields
        if name in places
    }


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of `config`: the exporter's settings, but for those of other values.

    Raises ValueError for a secret setting that the chart has no value for.
    """
    secrets = {name for name in Settings.model_fields if is_secret(name)}
    if missing := secrets - OWNED.keys():
        raise ValueError(f"the chart needs a value that takes {', '.join(sorted(missing))}")
    properties = Settings.model_json_schema()["properties"]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: _plain(schema) for name, schema in properties.items() if name not in OWNED
        },
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is for Python or for forms; what is absent must not be null."""
    left_out = ("title", "default", "option", "secret", "format")
    kept = {key: value for key, value in schema.items() if key not in left_out}
    kinds = [kind for kind in kept.pop("anyOf", []) if kind != {"type": "null"}]
    for kind in kinds:
        kept |= _plain(kind)
    return kept


def as_json(document: object) -> str:
    """Return the text of a JSON file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def stale() -> list[Path]:
    """Return the files that are not in step, and those that should not be there."""
    wanted = files()
    different = [
        path for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]
    return different + [path for path in sorted(_copies()) if path not in wanted]


def write() -> None:
    """Write all of them, and remove copies of files that are gone."""
    wanted = files()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in _copies() - wanted.keys():
        path.unlink()


def _copies() -> set[Path]:
    folders = (CHART / "files" / "dashboards", CHART / "files" / "alerts")
    return {path for folder in folders for path in folder.glob("*")}


def main(arguments: list[str]) -> int:
    """Do it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.chart", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say what is not in step")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    paths = stale()
    for path in paths:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not in step: run `make generate`\n")
    return 1 if paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
