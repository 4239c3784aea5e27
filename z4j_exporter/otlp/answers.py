"""Reads what an OTLP endpoint answers: partial successes, errors, and how long to wait."""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

from z4j_exporter.otlp.environment import Signal
from z4j_exporter.otlp.outcome import Accepted

#: Bytes that an answer may have: it holds a number and a sentence.
MAX_ANSWER_BYTES: Final = 256 * 1024
_MAX_CHARACTERS: Final = 300


class Answers(Protocol):
    """Decodes the answers of one signal."""

    def __call__(self, body: bytes) -> Accepted:
        """Return what a success says; a body that is no answer is a plain success."""


def answers(signal: Signal) -> Answers:
    """Return the decoder of a signal's answers, made of the official messages."""
    from google.protobuf.message import DecodeError

    response: Any
    if signal == "traces":
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

        response, count = trace_service_pb2.ExportTraceServiceResponse, "rejected_spans"
    else:
        from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

        response, count = metrics_service_pb2.ExportMetricsServiceResponse, "rejected_data_points"

    def decode(body: bytes) -> Accepted:
        if not body:
            return Accepted()
        try:
            partial = response.FromString(body).partial_success
        except DecodeError:
            return Accepted()  # the status said that it was taken
        return Accepted(max(0, getattr(partial, count)), printable(partial.error_message))

    return decode


def error_message(body: bytes) -> str:
    """Return the message of a google.rpc.Status, as OTLP's HTTP errors have it, or ""."""
    status = _status(body)
    return "" if status is None else printable(status.message)


def retry_info(details: bytes) -> float | None:
    """Return the seconds of a RetryInfo in grpc-status-details-bin; None if there is none."""
    from google.protobuf.message import DecodeError
    from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # it has no types

    status = _status(details)
    for detail in () if status is None else status.details:
        info = error_details_pb2.RetryInfo()
        try:
            if detail.Unpack(info):
                return max(0.0, float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
        except DecodeError:
            continue
    return None


def _status(encoded: bytes) -> Any:
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    try:
        return status_pb2.Status.FromString(encoded)
    except DecodeError:
        return None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds of Retry-After, a number or a date; None if there is none.

    ``now`` is in epoch seconds.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def printable(text: str) -> str:
    """Return what a peer said fit for one line of a log, cut."""
    return "".join(c if c.isprintable() else "?" for c in text[:_MAX_CHARACTERS])
