"""Reads the headers that go with each OTLP request; their values are secrets and never shown."""

import re
from collections.abc import Mapping
from typing import Final

from z4j_exporter.errors import ConfigError

#: What gRPC's metadata and HTTP both allow in a name.
_NAME: Final = re.compile(r"[a-z0-9_.-]+")
#: Visible ASCII and spaces within.
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
#: KEY=VALUE with nothing in it that the official parser would refuse, and log with its value.
_ENTRY: Final = re.compile(r"[^\s=\"(),/:;<>?@\[\]{}\\]+[ \t]*=[^\",;\\\x00-\x1f\x7f-\U0010ffff]*")
#: Set by the protocol itself.
_RESERVED: Final = frozenset(
    {"content-type", "content-length", "content-encoding", "transfer-encoding", "connection", "te"}
)


def parse_headers(name: str, text: str) -> Mapping[str, str]:
    """Return the headers of an OTEL_…_HEADERS variable: ``key=value,…``, percent-encoded.

    Raises ConfigError that names the variable.
    """
    from opentelemetry.util.re import parse_env_headers

    entries = [entry.strip() for entry in text.split(",")]
    if not all(_ENTRY.fullmatch(entry) for entry in entries if entry):
        raise ConfigError(
            f"{name} is not key=value,key=value",
            hint="Percent-encode what is not a letter or digit in the values: a comma is %2C.",
        )
    return parse_env_headers(text, liberal=True)


def check_headers(name: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers; raises ConfigError for one that cannot be sent."""
    for header, value in headers.items():
        if not _NAME.fullmatch(header) or header.endswith("-bin"):
            raise ConfigError(f"{name} has a name that cannot be a header's")
        if header in _RESERVED:
            raise ConfigError(f"{name} cannot set {header}")
        if not _VALUE.fullmatch(value):
            raise ConfigError(f"{name} has a value for {header} that cannot be sent")
    return headers
