"""All settings, as one typed model: what the command line, environment and file set.

Each field is an option of ``z4j-exporter run`` (``--broker-url``), an environment variable
(``Z4J_EXPORTER_BROKER_URL``; for a secret also ``…_FILE``) and a key of the configuration file
(``broker_url``). What was set wins in that order; then the Celery application, then the default.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, ValidationError

from z4j_exporter.config.actions import ActionSettings
from z4j_exporter.config.capture import CaptureSettings
from z4j_exporter.config.core import DEFAULT_LISTEN_ADDRESS, CoreSettings, Profile, Seconds
from z4j_exporter.config.otlp import OtlpSettings
from z4j_exporter.errors import ConfigError, FileError

__all__ = [
    "DEFAULT_LISTEN_ADDRESS",
    "ENVIRONMENT_PREFIX",
    "Profile",
    "Seconds",
    "Settings",
    "build_settings",
    "is_secret",
    "option_name",
    "read_file",
]

ENVIRONMENT_PREFIX = "Z4J_EXPORTER_"


# Fields are collected from the last base to the first: the core's come first.
class Settings(ActionSettings, CaptureSettings, OtlpSettings, CoreSettings):
    """Settings of the exporter; immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def option_name(field: str) -> str:
    """Return the command-line option of a field, without its dashes."""
    extra = Settings.model_fields[field].json_schema_extra
    named = extra.get("option") if isinstance(extra, dict) else None
    return str(named) if named else field.replace("_", "-")


def is_secret(field: str) -> bool:
    """Return whether a field may hold a password, so that it may come from a file."""
    extra = Settings.model_fields[field].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def read_file(path: Path) -> dict[str, Any]:
    """Read a configuration file (YAML; JSON is YAML too).

    Raises FileError when it cannot be read, ConfigError when it is not a mapping of settings.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise FileError(f"the configuration file {path} cannot be read: {reason}") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"the configuration file {path} is not YAML{where}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(
            f"the configuration file {path} is not a mapping of settings",
            hint="Write lines such as broker_url: redis://localhost/0",
        )
    for key in content:
        if key not in Settings.model_fields:
            raise ConfigError(
                f"the configuration file {path} has an unknown setting {key[:60]!r}",
                hint="z4j-exporter run --help lists all settings.",
            )
    return content


def build_settings(*layers: Mapping[str, Any]) -> Settings:
    """Merge layers, later ones winning, and check the result.

    Mappings inside (transport options, buckets, …) are merged key by key.
    Raises ConfigError that names the setting, never its value: it may be a secret.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            known = merged.get(key)
            if isinstance(known, Mapping) and isinstance(value, Mapping):
                merged[key] = {**known, **value}
            else:
                merged[key] = value
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        option = f"--{option_name(field)}" if field in Settings.model_fields else field
        raise ConfigError(
            f"{option}: {first['msg'].removeprefix('Value error, ')}",
            hint=f"Set by {option}, {ENVIRONMENT_PREFIX}{field.upper()} or {field} in the file.",
        ) from None
