"""What an OTLP receiver got, as plain data that tests compare."""

from dataclasses import dataclass
from typing import Any

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES = ("UNSET", "OK", "ERROR")


@dataclass(frozen=True)
class ReceivedLink:
    """Ids in hex."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class ReceivedEvent:
    """An event of a span."""

    name: str
    time_ns: int
    attributes: dict[str, Any]


@dataclass(frozen=True)
class ReceivedSpan:
    """Ids in hex; "" where there is no parent."""

    resource: dict[str, Any]
    #: Name and version.
    scope: tuple[str, str]
    schema_url: str
    name: str
    #: INTERNAL, SERVER, CLIENT, PRODUCER or CONSUMER.
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: tuple[ReceivedLink, ...]
    events: tuple[ReceivedEvent, ...]
    #: UNSET, OK or ERROR.
    status: str
    status_message: str
    trace_state: str
    flags: int

    @property
    def service(self) -> str:
        """The resource's service.name."""
        return str(self.resource.get("service.name", ""))


@dataclass(frozen=True)
class ReceivedExemplar:
    """Ids in hex."""

    value: float
    time_ns: int
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class ReceivedPoint:
    """A number (``value``) or a histogram (``count``, ``sum``, ``bounds``, ``buckets``)."""

    attributes: dict[str, Any]
    start_ns: int
    time_ns: int
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    bounds: tuple[float, ...] = ()
    #: One more than bounds; not cumulative.
    buckets: tuple[int, ...] = ()
    exemplars: tuple[ReceivedExemplar, ...] = ()


@dataclass(frozen=True)
class ReceivedMetric:
    """A metric with its points."""

    resource: dict[str, Any]
    scope: tuple[str, str]
    name: str
    description: str
    unit: str
    #: gauge, sum, histogram, …
    type: str
    monotonic: bool
    #: Of a sum or a histogram: 2 is cumulative.
    temporality: int
    points: tuple[ReceivedPoint, ...]


def plain(value: Any) -> Any:
    """Return an AnyValue as a Python value."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind)


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Return attributes as a dict; an attribute that is there twice is an error."""
    made: dict[str, Any] = {}
    for pair in pairs:
        assert pair.key not in made, f"{pair.key} is there twice"
        made[pair.key] = plain(pair.value)
    return made


def spans_of(request: Any) -> list[ReceivedSpan]:
    """Return the spans of an ExportTraceServiceRequest."""
    return [
        _span(span, attributes_of(resource_spans.resource.attributes), scope_spans)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


def _span(span: Any, resource: dict[str, Any], scope_spans: Any) -> ReceivedSpan:
    return ReceivedSpan(
        resource=resource,
        scope=(scope_spans.scope.name, scope_spans.scope.version),
        schema_url=scope_spans.schema_url,
        name=span.name,
        kind=_KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=attributes_of(span.attributes),
        links=tuple(
            ReceivedLink(link.trace_id.hex(), link.span_id.hex(), attributes_of(link.attributes))
            for link in span.links
        ),
        events=tuple(
            ReceivedEvent(event.name, event.time_unix_nano, attributes_of(event.attributes))
            for event in span.events
        ),
        status=_STATUSES[span.status.code],
        status_message=span.status.message,
        trace_state=span.trace_state,
        flags=span.flags,
    )


def metrics_of(request: Any) -> list[ReceivedMetric]:
    """Return the metrics of an ExportMetricsServiceRequest."""
    return [
        _metric(metric, attributes_of(resource_metrics.resource.attributes), scope_metrics.scope)
        for resource_metrics in request.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
    ]


def _metric(metric: Any, resource: dict[str, Any], scope: Any) -> ReceivedMetric:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    return ReceivedMetric(
        resource=resource,
        scope=(scope.name, scope.version),
        name=metric.name,
        description=metric.description,
        unit=metric.unit,
        type=kind,
        monotonic=getattr(data, "is_monotonic", False),
        temporality=getattr(data, "aggregation_temporality", 0),
        points=tuple(_point(point, histogram=kind == "histogram") for point in data.data_points),
    )


def _point(point: Any, *, histogram: bool) -> ReceivedPoint:
    common: dict[str, Any] = {
        "attributes": attributes_of(point.attributes),
        "start_ns": point.start_time_unix_nano,
        "time_ns": point.time_unix_nano,
        "exemplars": tuple(
            ReceivedExemplar(
                _number(exemplar),
                exemplar.time_unix_nano,
                exemplar.trace_id.hex(),
                exemplar.span_id.hex(),
                attributes_of(exemplar.filtered_attributes),
            )
            for exemplar in point.exemplars
        ),
    }
    if not histogram:
        return ReceivedPoint(value=_number(point), **common)
    return ReceivedPoint(
        count=point.count,
        sum=point.sum,
        bounds=tuple(point.explicit_bounds),
        buckets=tuple(point.bucket_counts),
        **common,
    )


def _number(point: Any) -> float:
    kind = point.WhichOneof("value")
    return 0.0 if kind is None else float(getattr(point, kind))
