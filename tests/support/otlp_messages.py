"""The official messages of OTLP's two signals, a request as it came, and what to answer it."""

from dataclasses import dataclass
from typing import Any, Literal

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

Signal = Literal["traces", "metrics"]

#: Request, response and partial success of each signal.
MESSAGES: dict[Signal, tuple[Any, Any, Any]] = {
    "traces": (
        trace_service_pb2.ExportTraceServiceRequest,
        trace_service_pb2.ExportTraceServiceResponse,
        trace_service_pb2.ExportTracePartialSuccess,
    ),
    "metrics": (
        metrics_service_pb2.ExportMetricsServiceRequest,
        metrics_service_pb2.ExportMetricsServiceResponse,
        metrics_service_pb2.ExportMetricsPartialSuccess,
    ),
}
_REJECTED: dict[Signal, str] = {"traces": "rejected_spans", "metrics": "rejected_data_points"}


@dataclass(frozen=True)
class Behaviour:
    """What is answered instead of a plain success; ``times`` requests long, None for ever."""

    #: HTTP status, or a gRPC status's name.
    status: int | str | None = None
    #: Seconds, for Retry-After or RetryInfo; a text goes into the HTTP header as it is.
    retry_after: float | str | None = None
    #: Reads the request and never answers.
    hangs: bool = False
    #: Answers a byte at a time, for ever (HTTP only).
    drips: bool = False
    #: Closes the connection instead of answering (HTTP only).
    cuts: bool = False
    #: Answered as they are, with 200 (HTTP only).
    body: bytes | None = None
    #: Partial success.
    rejected: int = 0
    message: str = ""
    times: int | None = None


@dataclass
class Request:
    """One request, as it came."""

    signal: Signal
    #: Names in lower case (HTTP headers or gRPC metadata).
    headers: dict[str, str]
    payload: bytes
    #: Bytes on the wire (HTTP): what the sender compressed.
    wire_bytes: int = 0
    path: str = ""
    #: Whether it was taken: False for those that the behaviour refused.
    taken: bool = True


def answer(signal: Signal, rejected: int = 0, message: str = "") -> bytes:
    """Return an encoded response: a success, or a partial one."""
    _, response, partial = MESSAGES[signal]
    made = response()
    if rejected or message:
        count = {_REJECTED[signal]: rejected}
        made.partial_success.CopyFrom(partial(error_message=message, **count))
    encoded: bytes = made.SerializeToString()
    return encoded
