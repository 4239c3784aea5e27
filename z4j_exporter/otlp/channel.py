"""Opens the channel that OTLP requests go through, as the settings and OTEL_* variables say."""

import os
from collections.abc import Mapping
from typing import Protocol

from z4j_exporter.config.otlp import OtlpSettings
from z4j_exporter.otlp.environment import Signal, resolve
from z4j_exporter.otlp.outcome import Outcome


class Channel(Protocol):
    """Sends requests to one endpoint, one at a time, from one thread."""

    #: The endpoint as it may be shown: without user, password and query.
    location: str
    #: Seconds that one request may take, as configured.
    timeout: float

    def send(self, payload: bytes, seconds: float) -> Outcome:
        """Send an encoded export request; returns within ``seconds``, whatever the peer does."""

    def close(self) -> None:
        """Close the connections; another send opens them again."""


def open_channel(
    settings: OtlpSettings, signal: Signal, environment: Mapping[str, str] = os.environ
) -> Channel | None:
    """Return the channel for a signal; None where no endpoint is configured, or it is turned off.

    Nothing is sent or connected yet. Raises ConfigError or FileError that name the option or
    variable, never its value.
    """
    target = resolve(settings, signal, environment)
    if target is None:
        return None
    # Here, since both load much that a process without OTLP can do without.
    if target.protocol == "grpc":
        # Before the import, where gRPC reads it. Its core writes a line to stderr for each
        # handshake that fails, for as long as it does, past our log
        # (https://github.com/grpc/grpc/blob/master/doc/environment_variables.md).
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from z4j_exporter.otlp.grpc_channel import GrpcChannel

        return GrpcChannel(target)
    from z4j_exporter.otlp.http_channel import HttpChannel

    return HttpChannel(target)
