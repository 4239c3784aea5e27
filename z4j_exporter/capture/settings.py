"""What can be set: by keyword, in the application's configuration, by the environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

#: What the environment's variables begin with; `Z4J_CAPTURE_STORE_KEY_FILE` names a file.
PREFIX = "Z4J_CAPTURE_"
#: The setting of the Celery application (`CELERY_Z4J_CAPTURE` in Django's settings).
CONF = "z4j_capture"
SIGNALS = ("publish", "run", "end")
PAYLOADS = ("events", "store", "none")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class SettingsError(ValueError):
    """A setting that is wrong, in one sentence that names it."""


class Options(TypedDict, total=False):
    """The keywords of `install`; each is explained at `Settings`."""

    enabled: bool
    name: str
    payload: str
    max_payload_bytes: int
    signals: Iterable[str]
    redact_keys: Iterable[str]
    redact_patterns: Iterable[str]
    store_url: str
    store_key: str
    store_ttl_seconds: float
    broker_url: str
    timeout_seconds: float
    queue_items: int
    queue_bytes: int
    flush_seconds: float
    report_seconds: float


@dataclass(frozen=True, slots=True)
class Settings:
    """How one application's tasks are captured."""

    #: False: the signals stay connected, and do nothing.
    enabled: bool = True
    #: The application's dotted path ("shop.celery:app"); found out when empty.
    name: str = ""
    #: Where the exact message body goes: with the events, into the store, or nowhere.
    payload: str = "events"
    #: A longer message body is left out (`withheld` says so).
    max_payload_bytes: int = 64 * 1024
    #: Which signals are heard: publish (z4j-envelope), run (z4j-run), end (z4j-end).
    signals: tuple[str, ...] = SIGNALS
    #: More names of keys whose values are secret, beside the built-in ones.
    redact_keys: tuple[str, ...] = ()
    #: More regular expressions of secret values.
    redact_patterns: tuple[str, ...] = ()
    #: Redis for payload="store".
    store_url: str = dataclasses.field(default="", repr=False)
    #: A Fernet key: what is stored is encrypted, and redacted payloads are kept too.
    store_key: str = dataclasses.field(default="", repr=False)
    #: How long a stored payload lives.
    store_ttl_seconds: float = 7 * 24 * 3600.0
    #: Another broker for the hook's events than the application's own.
    broker_url: str = dataclasses.field(default="", repr=False)
    #: For connecting, and for each exchange with the broker or the store, in the background.
    timeout_seconds: float = 2.0
    #: How many captured signals may wait to be sent in a process, and how many bytes of them.
    queue_items: int = 10_000
    queue_bytes: int = 16 * 1024 * 1024
    #: How long the end of a process may wait for what is not yet sent.
    flush_seconds: float = 0.5
    #: How often a process tells about the hook itself (z4j-report), when anything changed.
    report_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.payload not in PAYLOADS:
            raise SettingsError(f"payload must be one of {', '.join(PAYLOADS)}")
        if unknown := set(self.signals) - set(SIGNALS):
            raise SettingsError(
                f"signals has {sorted(unknown)[0]!r}, known are {', '.join(SIGNALS)}"
            )
        if self.payload == "store" and not self.store_url:
            raise SettingsError('payload="store" needs store_url (redis://…)')
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value < 0:
                raise SettingsError(f"{field.name} must not be negative")
        if self.redact_keys or self.redact_patterns:
            # Not above: without own rules the application's start need not wait for it.
            from z4j_exporter.capture.redaction import Redactor

            try:
                Redactor(self.redact_keys, self.redact_patterns)
            except ValueError as error:
                raise SettingsError(f"redact_keys, redact_patterns: {error}") from None


def resolve(
    options: Mapping[str, Any], conf: Mapping[str, Any], environ: Mapping[str, str]
) -> Settings:
    """Put the settings together: environment before options before the configuration.

    The environment comes first so that who runs a program can switch the hook off without changing
    it. Raises SettingsError.
    """
    values = {**_typed(conf, CONF), **_typed(options, "install"), **_from_environ(environ)}
    return Settings(**values)


def _typed(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where} must be a mapping of settings")
    if unknown := [key for key in values if key not in _READ]:
        raise SettingsError(f"{where} has no setting {str(unknown[0])[:60]!r}")
    return {key: _read(key, value) for key, value in values.items() if value is not None}


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for key in _READ:
        name = PREFIX + key.upper()
        if name in environ:
            found[key] = _read(key, environ[name])
        elif name + "_FILE" in environ:
            try:
                text = Path(environ[name + "_FILE"]).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise SettingsError(f"{name}_FILE cannot be read: {type(error).__name__}") from None
            found[key] = _read(key, text.strip())
    return found


def _read(key: str, value: Any) -> Any:
    try:
        return _READ[key](value)
    except (TypeError, ValueError):
        # Without the value: it may be a secret.
        raise SettingsError(f"{key} cannot be read as {_READ[key].__name__.strip('_')}") from None


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError
    return value


def _names(value: Any) -> tuple[str, ...]:
    """Read a list, or a text with commas between."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(_text(part) for part in value)


def _patterns(value: Any) -> tuple[str, ...]:
    """Read a list, or a text with one to a line: commas belong to the expressions."""
    if isinstance(value, str):
        return tuple(line for line in value.splitlines() if line)
    return tuple(_text(part) for part in value)


_READ: dict[str, Callable[[Any], Any]] = {
    "enabled": _boolean,
    "name": _text,
    "payload": _text,
    "max_payload_bytes": int,
    "signals": _names,
    "redact_keys": _names,
    "redact_patterns": _patterns,
    "store_url": _text,
    "store_key": _text,
    "store_ttl_seconds": float,
    "broker_url": _text,
    "timeout_seconds": float,
    "queue_items": int,
    "queue_bytes": int,
    "flush_seconds": float,
    "report_seconds": float,
}
