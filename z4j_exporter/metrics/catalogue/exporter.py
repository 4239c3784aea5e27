"""The exporter's own families: what it reads, refuses, drops, sends and costs."""

from z4j_exporter.metrics.store import Family

LAG_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
#: Seconds: from a Collector next door to the longest that one request may take.
EXPORT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def _own(
    name: str,
    kind: str,
    text: str,
    *labels: str,
    unit: str = "",
    buckets: tuple[float, ...] = (),
    counts: str = "",
) -> Family:
    return Family(f"celery_exporter_{name}", kind, text, labels, unit, buckets, counts=counts)  # type: ignore[arg-type]  # literals below


BUILD_INFO = _own(
    "build_info", "gauge", "Always 1: versions of the exporter.",
    "version", "python_version", "celery_version", "profile",
)  # fmt: skip
SOURCE_CONNECTED = _own(
    "source_connected", "gauge", "1 while connected to the event source, else 0.", "source"
)
SOURCE_RECONNECTS = _own(
    "source_reconnects_total",
    "counter",
    "Connections to the event source after the first.",
    "source",
    counts="connection",
)
SOURCE_GAPS = _own(
    "source_gaps_total", "counter", "Times that events may have been missed, between connections.",
    "source", counts="gap",
)  # fmt: skip
EVENTS = _own(
    "events_total",
    "counter",
    "Events applied; other is every custom type.",
    "type",
    counts="event",
)
EVENTS_REFUSED = _own(
    "events_refused_total",
    "counter",
    "Messages and events that were not applied.",
    "reason",
    counts="message",
)
EVENTS_DROPPED = _own(
    "events_dropped_total",
    "counter",
    "Messages dropped unread (a message carries one event or several).",
    "reason",
    counts="message",
)
EVENT_LAG = _own(
    "event_lag_seconds", "histogram", "From the stamping of a message's last event to its receipt.",
    unit="seconds", buckets=LAG_BUCKETS,
)  # fmt: skip
BUFFER_BYTES = _own(
    "buffer_bytes", "gauge", "Bytes of messages read and not yet applied.", unit="bytes"
)
TRACKED_TASKS = _own(
    "tracked_tasks",
    "gauge",
    "Tasks remembered, ended or not.",
    counts="task",
)
TRACKER_EVICTIONS = _own(
    "tracker_evictions_total",
    "counter",
    "Tasks forgotten to make room, by their state, or given_up, not heard of for too long; and"
    " workers.",
    "state",
    counts="task",
)
DUPLICATE_EVENTS = _own(
    "duplicate_events_total",
    "counter",
    "Events that told again what was told: not counted twice.",
    counts="event",
)
LATE_EVENTS = _own(
    "late_events_total",
    "counter",
    "Events that came after one which must have followed them.",
    counts="event",
)
SERIES_DROPPED = _own(
    "series_dropped_total",
    "counter",
    "Updates that went to __overflow__, and series that were left out, beyond the cap.",
    "family",
    counts="update",
)
SINK_ERRORS = _own(
    "sink_errors_total",
    "counter",
    "Transitions a sink failed on.",
    "sink",
    counts="transition",
)
HTTP_REQUESTS = _own(
    "http_requests_total",
    "counter",
    "Requests answered.",
    "path",
    "code",
    counts="request",
)
HTTP_AUTH_FAILURES = _own(
    "http_auth_failures_total",
    "counter",
    "Requests refused: wrong password.",
    counts="request",
)
HTTP_SLOW_CLOSED = _own(
    "http_slow_connections_closed_total",
    "counter",
    "Connections closed: too slow, or too many.",
    counts="connection",
)
WEB_CONFIG_RELOADS = _own(
    "web_config_reloads_total",
    "counter",
    "Times the web configuration was read again.",
    "outcome",
    counts="reload",
)
WEB_CONFIG_CURRENT = _own(
    "web_config_current",
    "gauge",
    "1 while the web configuration as it is now is in force, 0 while it is broken and an older one"
    " holds.",
)
HTTP_MALFORMED = _own(
    "http_malformed_requests_total", "counter", "Requests that were not HTTP.", counts="request"
)
TLS_HANDSHAKE_FAILURES = _own(
    "tls_handshake_failures_total",
    "counter",
    "Connections whose TLS handshake failed, or whose certificate was not on the list.",
    counts="connection",
)
SPANS_EXPORTED = _own(
    "spans_exported_total", "counter", "Spans that the OTLP endpoint took.", counts="span"
)
SPANS_DROPPED = _own(
    "spans_dropped_total",
    "counter",
    "Spans that were not delivered, and attempts that could have none.",
    "reason",
    counts="span",
)
SPANS_SAMPLED_OUT = _own(
    "spans_sampled_out_total",
    "counter",
    "Attempts without spans: their trace is not kept.",
    counts="span",
)
SPANS_CLAMPED = _own(
    "spans_clamped_total",
    "counter",
    "Spans whose start was moved, since clocks differ between hosts.",
    counts="span",
)
SPANS_QUEUED = _own(
    "spans_queued", "gauge", "Spans that wait for the OTLP endpoint.", counts="span"
)
OTLP_EXPORT_DURATION = _own(
    "otlp_export_duration_seconds",
    "histogram",
    "How long an OTLP request took; failed: it may be tried again, refused: not.",
    "signal", "outcome", unit="seconds", buckets=EXPORT_BUCKETS,
)  # fmt: skip

EXPORTER_FAMILIES = (
    BUILD_INFO, SOURCE_CONNECTED, SOURCE_RECONNECTS, SOURCE_GAPS, EVENTS, EVENTS_REFUSED,
    EVENTS_DROPPED, EVENT_LAG, BUFFER_BYTES, TRACKED_TASKS, TRACKER_EVICTIONS, DUPLICATE_EVENTS,
    LATE_EVENTS, SERIES_DROPPED, SINK_ERRORS, HTTP_REQUESTS, HTTP_AUTH_FAILURES,
    HTTP_SLOW_CLOSED, WEB_CONFIG_RELOADS, WEB_CONFIG_CURRENT, HTTP_MALFORMED,
    TLS_HANDSHAKE_FAILURES,
    SPANS_EXPORTED, SPANS_DROPPED, SPANS_SAMPLED_OUT, SPANS_CLAMPED, SPANS_QUEUED,
    OTLP_EXPORT_DURATION,
)  # fmt: skip
