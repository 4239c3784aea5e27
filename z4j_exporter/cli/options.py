"""Makes command-line options of the settings, and settings of what was given."""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import msgspec

from z4j_exporter.config import (
    ENVIRONMENT_PREFIX,
    Settings,
    build_settings,
    is_secret,
    option_name,
    read_file,
)
from z4j_exporter.errors import ConfigError, FileError
from z4j_exporter.sources.celeryapp import settings_from_app

#: What a command needs to reach the broker.
SOURCE_FIELDS = (
    "broker_url", "app", "broker_transport_options", "broker_ssl_options", "event_exchange",
    "event_queue_prefix", "event_queue_exclusive", "event_queue_durable", "event_queue_ttl",
    "event_queue_expires", "max_message_bytes",
)  # fmt: skip
#: What stands for a number in --help, by the end of the setting's name.
_NUMBERS = {"_ratio": "RATIO", "_rate": "PER-SECOND", "_bytes": "BYTES"}
#: Short forms, as Celery and its exporters have them.
_SHORT = {"app": "-A", "broker_url": "-b"}

Command = Callable[..., Any]


def settings_options(fields: Collection[str] | None = None) -> Callable[[Command], Command]:
    """Add an option for each setting (or for those named), and --config, to a command.

    The command gets them as keyword arguments; ``settings_from`` makes Settings of them.
    """

    def decorate(command: Command) -> Command:
        for field in reversed(list(Settings.model_fields)):
            if fields is None or field in fields:
                command = _option(field)(command)
        return click.option(
            "--config",
            type=click.Path(path_type=Path),
            envvar=f"{ENVIRONMENT_PREFIX}CONFIG",
            help="Configuration file (YAML); its keys are the options, with underscores.",
        )(command)

    return decorate


def _option(field: str) -> Callable[[Command], Command]:
    info = Settings.model_fields[field]
    names = [f"--{option_name(field)}", field]
    if field in _SHORT:
        names.insert(0, _SHORT[field])
    default = info.get_default(call_default_factory=True)
    help_text = info.description or ""
    if default not in (None, [], {}, (), False, True):
        help_text += f"  [default: {default}]"
    kind = _kind(field)
    if kind == "flag":
        return click.option(
            f"{names[-2]}/--no-{option_name(field)}",
            field,
            default=None,
            help=f"{help_text}  [default: {'on' if default else 'off'}]",
        )
    return click.option(
        *names,
        multiple=kind in ("list", "mapping"),
        metavar=_metavar(field),
        help=help_text + ("  May be given several times." if kind in ("list", "mapping") else ""),
    )


def _metavar(field: str) -> str:
    """Return what stands for the value in --help."""
    annotation = Settings.model_fields[field].annotation
    if get_origin(annotation) is Literal:
        return f"[{'|'.join(get_args(annotation))}]"
    kinds = _leaves(annotation)
    for end, shown in _NUMBERS.items():
        if field.endswith(end) and kinds & {int, float}:
            return shown
    for known, shown in ((float, "SECONDS"), (int, "N"), (Path, "FILE")):
        if known in kinds:
            return shown
    return {"list": "TEXT", "mapping": "KEY=VALUE"}.get(_kind(field), "TEXT")


def _leaves(annotation: Any) -> set[Any]:
    """Return the plain types inside an annotation such as ``Annotated[float, …] | None``."""
    if get_origin(annotation) in (list, dict):
        return set()
    inner = [_leaves(a) for a in get_args(annotation) if isinstance(a, type) or get_args(a)]
    return {annotation}.union(*inner)


def _kind(field: str) -> str:
    annotation = Settings.model_fields[field].annotation
    if annotation is bool:
        return "flag"
    origin = get_origin(annotation)
    return "list" if origin is list else "mapping" if origin is dict else "value"


def settings_from(
    given: Mapping[str, Any], *, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Return the settings: options, then environment, then file, then the Celery application.

    ``given`` is what click hands a command decorated with ``settings_options``; other keys are
    left alone. Raises ExporterError.
    """
    options = {
        field: _parse(field, value)
        for field, value in given.items()
        if field in Settings.model_fields and value not in (None, ())
    }
    variables = _from_environment(environment)
    config = given.get("config")
    file = read_file(config) if config is not None else {}
    path = options.get("app") or variables.get("app") or file.get("app")
    from_app = settings_from_app(str(path)) if path else {}
    return build_settings(from_app, file, variables, options)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in Settings.model_fields:
        name = ENVIRONMENT_PREFIX + field.upper()
        value = environment.get(name)
        if value is None and is_secret(field) and environment.get(f"{name}_FILE"):
            value = _read_secret(Path(environment[f"{name}_FILE"]), f"{name}_FILE")
        if value is None or value == "":
            continue
        kind = _kind(field)
        several = kind in ("list", "mapping")
        found[field] = _parse(field, value.split(";") if several else value)
    return found


def _read_secret(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise FileError(f"the file that {name} names cannot be read: {reason}") from None


def _parse(field: str, value: Any) -> Any:
    """Turn text into what the model takes; the model checks the rest."""
    if _kind(field) == "list":
        return [str(item) for item in value]
    if _kind(field) == "mapping":
        return dict(_pair(field, str(item)) for item in value if str(item).strip())
    return value


def _pair(field: str, text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(
            f"--{option_name(field)}: it must be KEY=VALUE",
            hint="For example --broker-transport-option global_keyprefix=app1:",
        )
    if field == "buckets":
        return key.strip(), [number for number in value.split(",") if number.strip()]
    if field == "static_labels":
        return key.strip(), value
    return key.strip(), _literal(value)


def _literal(value: str) -> Any:
    """Read an option's value as the peers do: a number, true or false, JSON, else text."""
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return {"True": True, "False": False, "None": None}.get(value, value)
