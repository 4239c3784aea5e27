"""Reads the web configuration file and says in one sentence what is wrong with it."""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from z4j_exporter.errors import ConfigError, FileError
from z4j_exporter.web.schema import WebConfigFile

_SCHEMA_HINT = "See docs/web-config.md for the keys that a web configuration file may have."


class _Loader(yaml.BaseLoader):
    """YAML whose scalars stay text, so that a user named 007 or "no" keeps the name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_web_config(text: str, *, name: str) -> WebConfigFile:
    """Read a web configuration; `name` is for the messages. Raises `ConfigError`."""
    try:
        # _Loader is yaml.BaseLoader, which makes strings, lists and dicts only.
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - see the line above
    except yaml.YAMLError as exc:
        raise ConfigError(f"{name} is not valid YAML: {_yaml_problem(exc)}.") from None
    except RecursionError:
        raise ConfigError(f"{name} is not valid YAML: it is nested too deeply.") from None
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


def _yaml_problem(exc: yaml.YAMLError) -> str:
    # Not str(exc): it quotes the lines around the place, and they may hold a key.
    problem = getattr(exc, "problem", None) or "it cannot be read"
    if isinstance(exc, yaml.composer.ComposerError):
        problem = "a value that begins with * or & needs quotes"  # yaml quotes the value
    problem = re.sub("'![^']*'", "a value that begins with !", problem)  # so it does here
    mark = getattr(exc, "problem_mark", None)
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)


def _first_problem(exc: ValidationError) -> str:
    error = exc.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return f"unknown key {place!r}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
