"""Reads the web configuration file and says in one sentence what is wrong with it."""

from pathlib import Path

from pydantic import ValidationError

from z4j_exporter import strict_yaml
from z4j_exporter.errors import ConfigError, FileError
from z4j_exporter.web.schema import WebConfigFile

_SCHEMA_HINT = "See docs/web-config.md for the keys that a web configuration file may have."


def parse_web_config(text: str, *, name: str) -> WebConfigFile:
    """Read a web configuration; `name` is for the messages. Raises `ConfigError`."""
    document = strict_yaml.load(text, name=name)
    try:
        return WebConfigFile.model_validate({} if document is None else document)
    except ValidationError as exc:
        raise ConfigError(f"{name}: {_first_problem(exc)}.", hint=_SCHEMA_HINT) from None


def read_file(path: Path) -> bytes:
    """Read a file that the configuration needs. Raises `FileError`."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise FileError(
            f"Cannot read {path}: {exc.strerror or type(exc).__name__}.",
            hint="The web configuration needs this file.",
        ) from exc


def _first_problem(exc: ValidationError) -> str:
    error = exc.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return f"unknown key {place!r}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
