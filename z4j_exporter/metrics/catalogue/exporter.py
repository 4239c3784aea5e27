"""The exporter's own families: what it reads, refuses, drops, sends and costs."""

from z4j_exporter.metrics.store import Family

LAG_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)


def _own(
    name: str, kind: str, text: str, *labels: str, unit: str = "", buckets: tuple[float, ...] = ()
) -> Family:
    return Family(f"celery_exporter_{name}", kind, text, labels, unit, buckets)  # type: ignore[arg-type]  # literals below


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
)
SOURCE_GAPS = _own(
    "source_gaps_total", "counter", "Times that events may have been missed, between connections.",
    "source",
)  # fmt: skip
EVENTS = _own("events_total", "counter", "Events applied; other is every custom type.", "type")
EVENTS_REFUSED = _own(
    "events_refused_total", "counter", "Messages and events that were not applied.", "reason"
)
EVENTS_DROPPED = _own(
    "events_dropped_total",
    "counter",
    "Messages dropped unread (a message carries one event or several).",
    "reason",
)
EVENT_LAG = _own(
    "event_lag_seconds", "histogram", "From the stamping of a message's last event to its receipt.",
    unit="seconds", buckets=LAG_BUCKETS,
)  # fmt: skip
BUFFER_BYTES = _own(
    "buffer_bytes", "gauge", "Bytes of messages read and not yet applied.", unit="bytes"
)
TRACKED_TASKS = _own("tracked_tasks", "gauge", "Tasks remembered, ended or not.")
TRACKER_EVICTIONS = _own(
    "tracker_evictions_total",
    "counter",
    "Tasks forgotten to make room, by their state; and workers.",
    "state",
)
DUPLICATE_EVENTS = _own(
    "duplicate_events_total", "counter", "Events that told again what was told: not counted twice."
)
LATE_EVENTS = _own(
    "late_events_total", "counter", "Events that came after one which must have followed them."
)
SERIES_DROPPED = _own(
    "series_dropped_total",
    "counter",
    "Updates that went to __overflow__, beyond the cap.",
    "family",
)
SINK_ERRORS = _own("sink_errors_total", "counter", "Transitions a sink failed on.", "sink")
HTTP_REQUESTS = _own("http_requests_total", "counter", "Requests answered.", "path", "code")
HTTP_AUTH_FAILURES = _own(
    "http_auth_failures_total", "counter", "Requests refused: wrong password."
)
HTTP_SLOW_CLOSED = _own(
    "http_slow_connections_closed_total", "counter", "Connections closed: too slow, or too many."
)
WEB_CONFIG_RELOADS = _own(
    "web_config_reloads_total", "counter", "Times the web configuration was read again.", "outcome"
)

EXPORTER_FAMILIES = (
    BUILD_INFO, SOURCE_CONNECTED, SOURCE_RECONNECTS, SOURCE_GAPS, EVENTS, EVENTS_REFUSED,
    EVENTS_DROPPED, EVENT_LAG, BUFFER_BYTES, TRACKED_TASKS, TRACKER_EVICTIONS, DUPLICATE_EVENTS,
    LATE_EVENTS, SERIES_DROPPED, SINK_ERRORS, HTTP_REQUESTS, HTTP_AUTH_FAILURES,
    HTTP_SLOW_CLOSED, WEB_CONFIG_RELOADS,
)  # fmt: skip
