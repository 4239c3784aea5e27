"""Tells every setting: its option, variable and key, its type and default, and what it means."""

from typing import Any

from tools.reference_cells import cell, code, table
from z4j_exporter.cli.run import run
from z4j_exporter.config import ENVIRONMENT_PREFIX, Settings, is_secret

#: Subjects in the order in which somebody sets an exporter up, and the fields of each. Whole
#: prefixes stand for the fields that begin so and are in no other subject.
SUBJECTS: dict[str, tuple[str, ...]] = {
    "Broker": ("broker_url", "app", "recording", "broker_"),
    "Events": ("event_", "max_message_bytes", "buffer_bytes"),
    "Metrics": (
        "metrics_profile", "task_worker_label", "task_label_", "worker_label_",
        "buckets",
    ),
    "Profile celery-exporter": (
        "default_queue_name", "metric_prefix", "static_labels", "generic_hostname_",
    ),
    "Queues": ("queues", "queue_", "unacked_", "rabbitmq_"),
    "Workers": ("worker_timeout", "purge_offline_worker_metrics", "inspect_"),
    "Traces and OTLP": ("otlp_", "trace_"),
    "Capture and journal": ("journal_", "capture_", "result_backend_"),
    "Actions": ("actions", "actions_"),
    "Web": ("listen_address", "web_config_file"),
    "Limits": ("max_series", "max_tasks", "task_give_up_seconds"),
    "Logging": ("log_",),
}  # fmt: skip
#: Where a subject is explained.
PAGES = {
    "Broker": "brokers.md",
    "Events": "brokers.md",
    "Metrics": "metrics.md",
    "Profile celery-exporter": "profiles.md",
    "Queues": "queues.md",
    "Workers": "fleet.md",
    "Traces and OTLP": "tracing.md",
    "Capture and journal": "journal.md",
    "Actions": "actions.md",
    "Web": "web-config.md",
    "Limits": "scaling.md",
}
_UNITS = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def subject_of(field: str) -> str:
    """Return the subject of a field: by its name, else by the longest prefix.

    Raises LookupError for a field that no subject has: give it one.
    """
    named = [subject for subject, names in SUBJECTS.items() if field in names]
    if named:
        return named[0]
    prefixes = [
        (len(prefix), subject)
        for subject, names in SUBJECTS.items()
        for prefix in names
        if prefix.endswith("_") and field.startswith(prefix)
    ]
    if not prefixes:
        raise LookupError(f"no subject in tools/reference_settings.py has the setting {field}")
    return max(prefixes)[1]


def settings_text() -> str:
    """Return a section for each subject, with a table of its settings."""
    properties = Settings.model_json_schema()["properties"]
    parts = []
    for subject in SUBJECTS:
        rows = [
            _row(field, properties[field])
            for field in Settings.model_fields
            if subject_of(field) == subject
        ]
        page = PAGES.get(subject)
        more = f"More: [{page}]({page}).\n\n" if page else ""
        parts.append(f"### {subject}\n\n{more}{table(('setting', 'type', 'default', ''), rows)}")
    return "\n\n".join(parts)


def _row(field: str, schema: dict[str, Any]) -> tuple[str, ...]:
    info = Settings.model_fields[field]
    variable = ENVIRONMENT_PREFIX + field.upper()
    option = next(parameter for parameter in run.params if parameter.name == field)
    options = sorted(option.opts, key=len, reverse=True) + option.secondary_opts
    names = "<br>".join(
        (
            ", ".join(code(option) for option in options),
            code(variable) + (f", {code(f'{variable}_FILE')}" if is_secret(field) else ""),
            code(field),
        )
    )
    default = info.get_default(call_default_factory=True)
    return names, type_of(schema), default_of(field, default), cell(info.description or "")


def type_of(schema: dict[str, Any]) -> str:
    """Return the type of a setting in words, with its bounds."""
    if "anyOf" in schema:
        schema = next(kind for kind in schema["anyOf"] if kind.get("type") != "null")
    if "enum" in schema:
        return " ".join(code(str(value)) for value in schema["enum"])
    if schema.get("format") == "path":
        return "file"
    words = {
        "boolean": "on or off",
        "integer": "whole number",
        "number": "number",
        "array": "texts",
        "object": "`KEY=VALUE`s",
    }
    return words.get(schema["type"], "text") + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    least, above, most = (schema.get(k) for k in ("minimum", "exclusiveMinimum", "maximum"))
    if least is not None and most is not None:
        return f", {_number(least)} to {_number(most)}"
    if least is not None:
        return f", at least {_number(least)}"
    return f", more than {_number(above)}" if above is not None else ""


def default_of(field: str, default: Any) -> str:
    """Return a default as one would write it on the command line."""
    if default in (None, [], {}):
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, list):
        return code(",".join(default))
    if isinstance(default, int | float):
        readable = _readable(int(default)) if "bytes" in field else ""
        return code(_number(default)) + (f" ({readable})" if readable else "")
    return code(str(default))


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _readable(number: int) -> str:
    return next((f"{number // size} {unit}" for size, unit in _UNITS if number % size == 0), "")
