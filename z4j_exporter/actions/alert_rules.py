"""Reads the rules file, and says in one sentence what is wrong with it and where."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from z4j_exporter import strict_yaml
from z4j_exporter.actions.alert_schema import Rule, RulesSchema
from z4j_exporter.errors import ConfigError, FileError

_MOST_BYTES = 1024 * 1024
_HINT = "See docs/alertmanager.md for what a rule may have."
#: Verbs that people look for, and will not find.
_NEVER = ("terminate", "purge", "retry-group")


def read(path: Path) -> tuple[Rule, ...]:
    """Return the rules of a file, in its order. Raises ConfigError or FileError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileError(f"{path}: the rules file cannot be read: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path}: the rules file has more than {_MOST_BYTES} bytes")
    try:
        return parse(data.decode(), name=str(path))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not valid YAML: it is not UTF-8") from None


def parse(text: str, *, name: str) -> tuple[Rule, ...]:
    """Return the rules of a text; ``name`` is for the messages. Raises ConfigError."""
    document = strict_yaml.load(text, name=name)
    if not isinstance(document, dict):
        raise ConfigError(f"{name} has no keys: it needs rules", hint=_HINT)
    _refuse_what_alerts_never_do(document, name)
    try:
        return RulesSchema.model_validate(document).rules
    except ValidationError as error:
        raise ConfigError(f"{name}: {_first_problem(error, document)}", hint=_HINT) from None


def _refuse_what_alerts_never_do(document: dict[str, Any], name: str) -> None:
    rules = document.get("rules")
    for number, rule in enumerate(rules if isinstance(rules, list) else (), 1):
        action = rule.get("action") if isinstance(rule, dict) else None
        if isinstance(action, dict) and (
            action.get("verb") in _NEVER or "terminate" in action or "signal" in action
        ):
            raise ConfigError(
                f"{name}: rule {_named(rule, number)}: an alert can retry, bulk-retry and cancel;"
                " it never terminates or purges",
                hint=_HINT,
            )


def _first_problem(error: ValidationError, document: dict[str, Any]) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = [part for part in first["loc"] if part not in ("retry", "bulk-retry", "cancel")]
    words = []
    if place[:1] == ["rules"] and len(place) > 1 and isinstance(place[1], int):
        words.append(f"rule {_named(document['rules'][place[1]], place[1] + 1)}")
        place = place[2:]
    words += [str(part + 1) if isinstance(part, int) else str(part) for part in place]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "is not known here"
        if words[-1] in ("args", "kwargs"):
            message = "is not known: an alert never says with what a task is called"
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        message = "verb must be retry, bulk-retry or cancel"
    return f"{', '.join(words)}: {message}" if words else message


def _named(rule: Any, number: int) -> str:
    """Return what a rule is called in messages; a name that is none is not repeated."""
    name = rule.get("name") if isinstance(rule, dict) else None
    if isinstance(name, str) and name.isprintable() and len(name) <= 64:
        return f"{number} ({name})"
    return str(number)
