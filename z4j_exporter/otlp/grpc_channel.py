"""Sends OTLP over gRPC, through grpcio's own channel and deadlines.

https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

import ssl
from typing import Any, Final, cast

import grpc

from z4j_exporter import __version__
from z4j_exporter.otlp.answers import MAX_ANSWER_BYTES, answers, printable, retry_info
from z4j_exporter.otlp.environment import Signal, Target
from z4j_exporter.otlp.outcome import Failed, Outcome, Refused
from z4j_exporter.otlp.tls import client_context

_METHODS: Final[dict[Signal, str]] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
#: Codes that the specification says to try again after; RESOURCE_EXHAUSTED with RetryInfo only.
_RETRYABLE: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class GrpcChannel:
    """A gRPC channel to one endpoint; it connects again by itself."""

    def __init__(self, target: Target) -> None:
        """Raise FileError for a certificate that cannot be used."""
        self.location = target.address.location
        self.timeout = target.timeout
        self._target = target
        self._metadata = tuple(target.headers.items())
        self._answers = answers(target.signal)
        self._credentials = _credentials(target) if target.address.tls else None
        self._channel: grpc.Channel | None = None

    def send(self, payload: bytes, seconds: float) -> Outcome:
        """Send one request; returns within ``seconds``."""
        if self._channel is None:
            self._channel = self._open()
        export: Any = self._channel.unary_unary(_METHODS[self._target.signal])
        try:
            answer = export(payload, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            # grpcio documents that what a call raises is the call too.
            return _outcome(cast("grpc.Call", error))
        return self._answers(answer)

    def close(self) -> None:
        """Close the channel; another send opens it again."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self) -> grpc.Channel:
        options = (
            ("grpc.primary_user_agent", f"z4j-exporter/{__version__}"),
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            # An endpoint that is back is found within seconds, not after gRPC's two minutes.
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.min_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 5_000),
        )
        compression = grpc.Compression.Gzip if self._target.gzip else None
        host = self._target.address.host
        if self._credentials is None:
            return grpc.insecure_channel(host, options, compression)
        return grpc.secure_channel(host, self._credentials, options, compression)


def _credentials(target: Target) -> grpc.ChannelCredentials:
    context = client_context(target)  # checks the files: gRPC would not say which one is wrong
    ca, certificate, key = (
        path.read_bytes() if path else None
        for path in (target.ca_file, target.client_certificate_file, target.client_key_file)
    )
    if ca is None:
        # The system's authorities, as over HTTP; gRPC brings its own, which know no private ones.
        system = context.get_ca_certs(binary_form=True)
        ca = "".join(map(ssl.DER_cert_to_PEM_cert, system)).encode() or None
    # A certificate's file may hold the key too.
    return grpc.ssl_channel_credentials(ca, key or certificate, certificate)


def _outcome(call: grpc.Call) -> Outcome:
    code = call.code()
    details = printable(call.details() or "")
    reason = f"gRPC status {code.name}: {details}" if details else f"gRPC status {code.name}"
    wait = _retry_info(call)
    if code in _RETRYABLE or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and wait is not None):
        return Failed(reason, wait)
    return Refused(reason)


def _retry_info(call: grpc.Call) -> float | None:
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return retry_info(value)
    return None
