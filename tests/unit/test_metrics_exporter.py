"""The exporter's own families, and those of its process."""

import dataclasses

import pytest

from tests.support.exposed import Exposed, Samples, parsed, task_event
from z4j_exporter.metrics.export_durations import ExportDurations
from z4j_exporter.metrics.exporter import (
    SPAN_DROP_REASONS,
    OwnMetrics,
    OwnReadings,
    SpanReadings,
    process_families,
)
from z4j_exporter.metrics.exposition import render
from z4j_exporter.metrics.store import Store
from z4j_exporter.tracing.export import DROP_REASONS

READINGS = OwnReadings(
    source="redis",
    profile="native",
    celery_version="5.7.0",
    connected=True,
    connections=3,
    gaps=2,
    dropped_messages=4,
    buffer_bytes=5,
    tracked_tasks=6,
    duplicates=7,
    late=8,
    events={"task-sent": 9, "other": 10},
    refused={"malformed": 11},
    evictions={"succeeded": 12},
    series_dropped={"celery_task_failed_total": 13},
    sink_errors={"native": 14},
    http_requests={("/metrics", 200): 15, ("other", 404): 16},
    http_auth_failures=17,
    http_slow_closed=18,
    web_reloads_ok=19,
    web_reloads_failed=20,
    web_config_current=True,
    http_malformed=21,
    tls_handshake_failures=22,
    spans=SpanReadings(exported=23, dropped={"late": 24}, sampled_out=25, clamped=26, queued=27),
)


def samples(readings: OwnReadings) -> Samples:
    text = render(OwnMetrics(Store()).collect(readings), openmetrics=False).decode()
    return parsed(text)


def test_every_reading_is_shown() -> None:
    shown = {
        (name.removeprefix("celery_exporter_"), *(v for _, v in labels)): value
        for (name, labels), value in samples(READINGS).items()
        if value and not name.startswith("celery_exporter_build_info")
    }
    assert shown == {
        ("source_connected", "redis"): 1,
        ("source_reconnects_total", "redis"): 2,
        ("source_gaps_total", "redis"): 2,
        ("events_dropped_total", "buffer_full"): 4,
        ("buffer_bytes",): 5,
        ("tracked_tasks",): 6,
        ("duplicate_events_total",): 7,
        ("late_events_total",): 8,
        ("events_total", "task-sent"): 9,
        ("events_total", "other"): 10,
        ("events_refused_total", "malformed"): 11,
        ("tracker_evictions_total", "succeeded"): 12,
        ("series_dropped_total", "celery_task_failed_total"): 13,
        ("sink_errors_total", "native"): 14,
        ("http_requests_total", "200", "/metrics"): 15,
        ("http_requests_total", "404", "other"): 16,
        ("http_auth_failures_total",): 17,
        ("http_slow_connections_closed_total",): 18,
        ("web_config_reloads_total", "applied"): 19,
        ("web_config_reloads_total", "refused"): 20,
        ("web_config_current",): 1,
        ("http_malformed_requests_total",): 21,
        ("tls_handshake_failures_total",): 22,
        ("spans_exported_total",): 23,
        ("spans_dropped_total", "late"): 24,
        ("spans_sampled_out_total",): 25,
        ("spans_clamped_total",): 26,
        ("spans_queued",): 27,
    }


@pytest.mark.parametrize(("current", "shown"), [(True, 1), (False, 0), (None, None)])
def test_a_web_configuration_that_is_not_there_is_neither_right_nor_wrong(
    current: bool | None, shown: float | None
) -> None:
    found = samples(dataclasses.replace(READINGS, web_config_current=current))
    assert found.get(("celery_exporter_web_config_current", ())) == shown


def test_reasons_are_there_at_0() -> None:
    shown = samples(dataclasses.replace(READINGS, refused={}))
    refused = {
        dict(labels)["reason"]: value
        for (name, labels), value in shown.items()
        if name == "celery_exporter_events_refused_total"
    }
    assert {"malformed", "too_large", "unsafe_content_type"} <= refused.keys()
    assert not any(refused.values())


def test_reasons_of_drops_are_there_at_0() -> None:
    shown = samples(dataclasses.replace(READINGS, spans=SpanReadings(dropped={"new": 1})))
    dropped = {
        dict(labels)["reason"]: value
        for (name, labels), value in shown.items()
        if name == "celery_exporter_spans_dropped_total"
    }
    assert dropped == {**dict.fromkeys(SPAN_DROP_REASONS, 0), "new": 1}
    assert set(DROP_REASONS) <= set(SPAN_DROP_REASONS)


def test_families_of_traces_are_there_where_spans_are_made() -> None:
    shown = {name for name, _ in samples(dataclasses.replace(READINGS, spans=None))}
    assert not [name for name in shown if "span" in name or "otlp" in name]


def test_families_of_otlp_are_there_where_something_is_sent() -> None:
    exports = ExportDurations(("traces",))
    exports.observe("traces", "failed", 0.3)
    own = OwnMetrics(Store(), exports)
    shown = parsed(render(own.collect(READINGS), openmetrics=False).decode())
    counts = {
        dict(labels)["outcome"]: value
        for (name, labels), value in shown.items()
        if name == "celery_exporter_otlp_export_duration_seconds_count"
    }
    assert counts == {"ok": 0, "failed": 1, "refused": 0}


def test_the_first_connection_is_no_reconnect() -> None:
    for connections, reconnects in ((0, 0), (1, 0), (2, 1)):
        shown = samples(dataclasses.replace(READINGS, connections=connections))
        key = "celery_exporter_source_reconnects_total", (("source", "redis"),)
        assert shown[key] == reconnects


def test_the_build_is_told() -> None:
    labels = next(
        dict(labels) for name, labels in samples(READINGS) if name == "celery_exporter_build_info"
    )
    assert labels.keys() == {"version", "python_version", "celery_version", "profile"}
    assert labels["celery_version"] == "5.7.0"


def test_a_clock_that_is_ahead_makes_no_lag() -> None:
    own = OwnMetrics(Store())
    own.lag(-3600.0)
    own.lag(0.2)
    shown = parsed(render(own.collect(READINGS), openmetrics=False).decode())
    assert shown["celery_exporter_event_lag_seconds_sum", ()] == 0.2
    assert shown["celery_exporter_event_lag_seconds_bucket", (("le", "0.001"),)] == 1
    assert shown["celery_exporter_event_lag_seconds_count", ()] == 2


def test_no_scraper_is_shown_the_lag_late() -> None:
    exposed = Exposed()
    exposed.text("prometheus")
    exposed.play(task_event("received"))
    text = exposed.text("prometheus", own=True)
    assert parsed(text)["celery_exporter_event_lag_seconds_count", ()] == 1


def test_the_process_is_told() -> None:
    shown = parsed(render(process_families(), openmetrics=False).decode())
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"):
        assert shown[name, ()] > 0
