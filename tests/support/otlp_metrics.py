"""Reads OTLP metrics back into the samples of an exposition, to compare both."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tests.support.exposed import Labels, Samples

#: Trace id, span id, value and time of an exemplar, by its sample.
Pointers = dict[tuple[str, Labels], tuple[str, str, float, float]]


def requests(payloads: Iterable[bytes]) -> list[ExportMetricsServiceRequest]:
    """Decode requests with the official messages."""
    return [ExportMetricsServiceRequest.FromString(payload) for payload in payloads]


def metrics(payloads: Iterable[bytes]) -> list[Metric]:
    """Return the metrics of all requests, in their order."""
    return [
        metric
        for request in requests(payloads)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def samples(payloads: Iterable[bytes]) -> tuple[Samples, Pointers]:
    """Return what Prometheus would show of the metrics, and their exemplars."""
    found: Samples = {}
    pointers: Pointers = {}
    for metric in metrics(payloads):
        kind = metric.WhichOneof("data")
        for point in getattr(metric, str(kind)).data_points:
            labels = {a.key: a.value.string_value for a in point.attributes if a.value.string_value}
            if kind == "histogram":
                _histogram(metric.name, labels, point, found, pointers)
                continue
            key = metric.name + ("_total" if kind == "sum" else ""), _labels(labels)
            assert key not in found
            found[key] = getattr(point, point.WhichOneof("value"))
            for exemplar in point.exemplars:
                pointers[key] = _pointer(exemplar)
    return found, pointers


def _histogram(
    name: str, labels: dict[str, str], point: Any, found: Samples, pointers: Pointers
) -> None:
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    total = 0
    lower = float("-inf")
    for bound, count in zip(
        [*point.explicit_bounds, float("inf")], point.bucket_counts, strict=True
    ):
        total += count
        le = "+Inf" if bound == float("inf") else repr(bound)
        key = f"{name}_bucket", _labels({**labels, "le": le})
        assert key not in found
        found[key] = total
        for exemplar in point.exemplars:
            if lower < exemplar.as_double <= bound:
                pointers[key] = _pointer(exemplar)
        lower = bound
    found[f"{name}_sum", _labels(labels)] = point.sum
    found[f"{name}_count", _labels(labels)] = point.count


def _labels(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _pointer(exemplar: Any) -> tuple[str, str, float, float]:
    seconds = round(exemplar.time_unix_nano / 1e9, 3)
    return exemplar.trace_id.hex(), exemplar.span_id.hex(), exemplar.as_double, seconds
