"""Writes snapshots as OTLP requests: the families, values and labels that /metrics shows.

Import it only where metrics are pushed: the messages of opentelemetry-proto take their time.
"""

from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ScopeMetrics,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar as OtlpExemplar

from z4j_exporter import __version__
from z4j_exporter.metrics.exemplars import Exemplar
from z4j_exporter.metrics.labels import pairs
from z4j_exporter.metrics.store import Family, FamilySnapshot, HistogramValue, Sample

#: A request is full from this size on. gRPC servers take messages of 4 MiB unless told otherwise.
MAX_REQUEST_BYTES = 2_000_000
#: What data points take beside their attributes, about, to know when a request is full.
_NUMBER_BYTES, _HISTOGRAM_BYTES, _BUCKET_BYTES, _EXEMPLAR_BYTES = 32, 52, 16, 52
#: UCUM's names of Prometheus's base units.
_UCUM = {"seconds": "s", "bytes": "By"}
_SCOPE = "z4j_exporter"
_MAX_INT = 2**63
_MAX_TIME_NS = 2**64 - 1


def otlp_name(family: Family) -> str:
    """Return the metric's name: Prometheus's, whose ``_total`` the receiver adds again."""
    return family.name.removesuffix("_total") if family.type == "counter" else family.name


def otlp_unit(family: Family) -> str:
    """Return the unit in UCUM: s, By, what is counted in braces, or none.

    Never "1": of a gauge with that unit Prometheus makes a ``_ratio``.
    """
    return _UCUM.get(family.unit) or (f"{{{family.counts}}}" if family.counts else "")


class MetricsEncoder:
    """Makes requests for one resource. Used by one thread.

    ``start_ns``: since when the counters count, nanoseconds since the epoch.
    """

    def __init__(
        self,
        resource: Mapping[str, str],
        start_ns: int,
        *,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self._resource = [_attribute(name, value) for name, value in resource.items()]
        self._start_ns = start_ns
        self._max_request_bytes = max_request_bytes
        self._numbers = _Labels(NumberDataPoint)
        self._histograms = _Labels(HistogramDataPoint)

    def encode(self, snapshots: Iterable[FamilySnapshot], now_ns: int) -> list[bytes]:
        """Return the requests, in the order of the families; several when there is much to say."""
        self._numbers.turn()
        self._histograms.turn()
        requests: list[bytes] = []
        request, scope = self._request()
        size = 0
        for snapshot in snapshots:
            metric: Metric | None = None
            for sample in snapshot.samples:
                if size >= self._max_request_bytes:
                    requests.append(request.SerializeToString())
                    request, scope = self._request()
                    size, metric = 0, None
                if metric is None:
                    metric = scope.metrics.add()
                    _declare(metric, snapshot.family)
                size += self._add(metric, snapshot, sample, now_ns)
        if scope.metrics:
            requests.append(request.SerializeToString())
        return requests

    def _request(self) -> tuple[ExportMetricsServiceRequest, ScopeMetrics]:
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.extend(self._resource)
        scope = resource.scope_metrics.add()
        scope.scope.name, scope.scope.version = _SCOPE, __version__
        return request, scope

    def _add(self, metric: Metric, snapshot: FamilySnapshot, sample: Sample, now_ns: int) -> int:
        """Add one data point; return about how many bytes it takes."""
        labels, value = sample
        family = snapshot.family
        point: NumberDataPoint | HistogramDataPoint
        if isinstance(value, HistogramValue):
            point = metric.histogram.data_points.add()
            point.MergeFromString(attributes := self._histograms.of(labels))
            _observations(point, value, family.buckets)
            size = len(attributes) + _HISTOGRAM_BYTES + _BUCKET_BYTES * len(value.counts)
        else:
            points = metric.sum if family.type == "counter" else metric.gauge
            point = points.data_points.add()
            point.MergeFromString(attributes := self._numbers.of(labels))
            _number(point, value)
            if snapshot.exemplars and labels in snapshot.exemplars:
                point.exemplars.append(_exemplar(snapshot.exemplars[labels]))
            size = len(attributes) + _NUMBER_BYTES
        point.time_unix_nano = now_ns
        if family.type != "gauge" and not family.elsewhere:
            point.start_time_unix_nano = self._start_ns
        return size + _EXEMPLAR_BYTES * len(point.exemplars)


class _Labels:
    """Label texts as the attributes of one kind of data point, in protobuf's bytes.

    It remembers those of the last snapshot: working them out is what a data point costs most.
    """

    def __init__(self, kind: type[NumberDataPoint | HistogramDataPoint]) -> None:
        self._kind = kind
        self._before: dict[str, bytes] = {}
        self._now: dict[str, bytes] = {}

    def turn(self) -> None:
        """Begin with the next snapshot: what is in it no more is forgotten after it."""
        self._before, self._now = self._now, {}

    def of(self, labels: str) -> bytes:
        """Return a data point that has only the attributes."""
        encoded = self._now.get(labels) or self._before.get(labels)
        if encoded is None:
            point = self._kind(attributes=[_attribute(*pair) for pair in pairs(labels)])
            encoded = point.SerializeToString()
        self._now[labels] = encoded
        return encoded


def _declare(metric: Metric, family: Family) -> None:
    metric.name, metric.unit = otlp_name(family), otlp_unit(family)
    metric.description = family.help
    if family.type == "counter":
        metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.is_monotonic = True
    elif family.type == "histogram":
        metric.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE


def _number(point: NumberDataPoint, value: float) -> None:
    if isinstance(value, int) and -_MAX_INT <= value < _MAX_INT:
        point.as_int = value
    else:
        point.as_double = value


def _observations(
    point: HistogramDataPoint, value: HistogramValue, bounds: Sequence[float]
) -> None:
    point.count, point.sum = sum(value.counts), value.sum
    point.bucket_counts.extend(value.counts)
    point.explicit_bounds.extend(bounds)
    if value.exemplars:
        point.exemplars.extend(_exemplar(exemplar) for exemplar in value.exemplars.values())


def _exemplar(exemplar: Exemplar) -> OtlpExemplar:
    return OtlpExemplar(
        as_double=exemplar.value,
        time_unix_nano=min(round(exemplar.timestamp * 1e9), _MAX_TIME_NS),
        trace_id=exemplar.trace.trace_id,
        span_id=exemplar.trace.span_id,
    )


def _attribute(name: str, value: str) -> KeyValue:
    # Label values are clean (labels.py); should one not be, a push must not fail for it.
    text = value.encode("utf-8", "replace").decode()
    return KeyValue(key=name, value=AnyValue(string_value=text))
