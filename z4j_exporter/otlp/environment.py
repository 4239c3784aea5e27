"""Where OTLP goes and how: our setting, else the signal's OTEL variable, else the general one.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar

from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED

from z4j_exporter.config.otlp import OtlpSettings
from z4j_exporter.errors import ConfigError
from z4j_exporter.otlp.address import Address, grpc_address, http_address
from z4j_exporter.otlp.headers import check_headers, parse_headers

Signal = Literal["traces", "metrics"]
Protocol = Literal["http/protobuf", "grpc"]
Read = TypeVar("Read")

#: Seconds, in the specification.
DEFAULT_TIMEOUT: Final = 10.0
#: The specification has OTEL_EXPORTER_OTLP_TIMEOUT in milliseconds, the Python SDK in seconds.
#: Nobody gives a request less than a tenth of a second, or more than 100: each is understood.
_MOST_SECONDS: Final = 100.0


@dataclass(frozen=True)
class Target:
    """All that a channel needs to know."""

    signal: Signal
    protocol: Protocol
    address: Address
    #: Names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None
    gzip: bool = False
    #: Seconds.
    timeout: float = DEFAULT_TIMEOUT


def resolve(
    settings: OtlpSettings, signal: Signal, environment: Mapping[str, str]
) -> Target | None:
    """Return what holds for a signal, None where nothing is to be sent.

    Raises ConfigError that names the option or variable, never its value.
    """
    variables = _Variables(environment, signal)
    if variables.off():
        return None
    protocol = _protocol(settings, variables)
    address = _address(settings, variables, protocol)
    if address is None:
        return None
    name, headers = _headers(settings, variables)
    if address.authorization and "authorization" not in headers:
        headers = {**headers, "authorization": address.authorization}
    return Target(
        signal=signal,
        protocol=protocol,
        address=address,
        headers=check_headers(name, headers),
        ca_file=settings.otlp_ca_file or variables.path("CERTIFICATE"),
        client_certificate_file=settings.otlp_client_certificate_file
        or variables.path("CLIENT_CERTIFICATE"),
        client_key_file=settings.otlp_client_key_file or variables.path("CLIENT_KEY"),
        gzip=_gzip(settings, variables),
        timeout=settings.otlp_timeout or variables.take("TIMEOUT", _seconds) or DEFAULT_TIMEOUT,
    )


class _Variables:
    """OTEL_EXPORTER_OTLP_* of a signal; an empty variable counts as not set, as specified."""

    def __init__(self, environment: Mapping[str, str], signal: Signal) -> None:
        self._environment = environment
        self.signal = signal

    def off(self) -> bool:
        """Return whether all of OpenTelemetry, or this signal's exporter, is turned off."""
        exporter = self._environment.get(f"OTEL_{self.signal.upper()}_EXPORTER", "")
        disabled = self._environment.get(OTEL_SDK_DISABLED, "")
        return disabled.strip().lower() == "true" or exporter.strip().lower() == "none"

    def find(self, what: str) -> tuple[str, str] | None:
        """Return name and value of the variable that holds."""
        for name in self.specific(what), f"OTEL_EXPORTER_OTLP_{what}":
            value = self._environment.get(name, "").strip()
            if value:
                return name, value
        return None

    def specific(self, what: str) -> str:
        """Return the name of the signal's own variable."""
        return f"OTEL_EXPORTER_OTLP_{self.signal.upper()}_{what}"

    def take(self, what: str, read: Callable[[str, str], Read]) -> Read | None:
        """Return what ``read`` makes of name and value."""
        found = self.find(what)
        return None if found is None else read(*found)

    def path(self, what: str) -> Path | None:
        """Return a file's path."""
        return self.take(what, lambda _, value: Path(value))


def _protocol(settings: OtlpSettings, variables: _Variables) -> Protocol:
    return settings.otlp_protocol or variables.take("PROTOCOL", _known) or "http/protobuf"


def _known(name: str, value: str) -> Protocol:
    if value == "grpc":
        return "grpc"
    if value == "http/protobuf":
        return "http/protobuf"
    raise ConfigError(
        f"{name} names a protocol that is not supported", hint="Use http/protobuf or grpc."
    )


def _address(settings: OtlpSettings, variables: _Variables, protocol: Protocol) -> Address | None:
    if settings.otlp_endpoint:
        name, url = "--otlp-endpoint", settings.otlp_endpoint
    elif found := variables.find("ENDPOINT"):
        name, url = found
    else:
        return None
    if protocol == "grpc":
        insecure = variables.take("INSECURE", _true) or False
        return grpc_address(name, url, insecure=insecure)
    # The signal's own variable is the whole URL, all else is what v1/traces is appended to.
    whole = name == variables.specific("ENDPOINT")
    return http_address(name, url, "" if whole else f"v1/{variables.signal}")


def _headers(settings: OtlpSettings, variables: _Variables) -> tuple[str, Mapping[str, str]]:
    if settings.otlp_headers:
        given = {name.lower(): str(value) for name, value in settings.otlp_headers.items()}
        return "--otlp-header", given
    found = variables.find("HEADERS")
    return ("", {}) if found is None else (found[0], parse_headers(*found))


def _gzip(settings: OtlpSettings, variables: _Variables) -> bool:
    if settings.otlp_compression is not None:
        return settings.otlp_compression == "gzip"
    return variables.take("COMPRESSION", _compression) or False


def _compression(name: str, value: str) -> bool:
    if value.lower() in ("gzip", "none"):
        return value.lower() == "gzip"
    raise ConfigError(f"{name} names a compression that is not supported", hint="Use gzip or none.")


def _true(_: str, value: str) -> bool:
    return value.lower() == "true"


def _seconds(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"{name} is not a number above 0", hint="Use milliseconds: 10000.")
    return number if number <= _MOST_SECONDS else number / 1000
