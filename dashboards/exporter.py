"""Exporter: is what the other dashboards show complete, and what does it cost."""

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links
from dashboards.board import Row, dashboard
from dashboards.exporter_panels import LOSSES, connected, losses
from dashboards.exporter_telling import journal_and_capture, spans
from dashboards.panels import (
    GREEN,
    NONE_EXPECTED,
    ORANGE,
    PLAIN,
    RED,
    Query,
    lines,
    number,
)
from dashboards.promql import increase, or_none, or_zero, quantile, rate, series, total
from dashboards.tables import Column, rows_of

_INSTANCE = ("instance",)


def build() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        links.EXPORTER,
        "Celery / Exporter",
        "Whether what the other dashboards show is complete, and what the exporter costs.",
        [],
        [
            Row("Is it complete?", _verdicts()),
            Row("Events", _events()),
            Row("Loss", _loss()),
            Row("Memory of tasks, and the process", _process()),
            Row("Traces and OTLP", spans()),
            Row("HTTP", _http()),
            Row("Capture hook, journal, result backend", journal_and_capture(), collapsed=True),
            Row("Versions", [_versions()], collapsed=True),
        ],
    )


def _verdicts() -> list[stat.Panel]:
    lag = quantile(0.95, "celery_exporter_event_lag_seconds")
    spans_lost = increase("celery_exporter_spans_dropped_total")
    applied = rate("celery_exporter_events_total")
    return [
        connected(),
        losses(),
        number(
            "Lag (p95)",
            "From an event's stamping by the worker to its receipt here. A second is usual. High:"
            " the exporter has too little CPU, the broker is slow, or a worker's clock is behind.",
            lag,
            "s",
            (GREEN, (5, ORANGE), (30, RED)),
            absent="no event",
        ),
        number("Events applied", "Events read and counted, a second.", applied, "ops", PLAIN),
        number(
            "Gaps",
            "Times in the time shown that the connection was away: what was published meanwhile is"
            " missed for good, as event queues are not durable.",
            increase("celery_exporter_source_gaps_total"),
            "short",
            NONE_EXPECTED,
            decimals=0,
        ),
        number(
            "Spans dropped",
            "Spans in the time shown that did not reach the endpoint or could not be made. Which"
            " reason: below. - where no traces are made.",
            spans_lost,
            "short",
            NONE_EXPECTED,
            absent="-",
            decimals=0,
        ),
        number(
            "Time since start",
            "Since the exporter was started, the youngest of them. Often small: it restarts again"
            " and again; see its log and the limit of its memory.",
            f"time() - max({series('process_start_time_seconds')})",
            "s",
            (ORANGE, (300, GREEN)),
        ),
        number(
            "Memory",
            "Resident memory, the largest of the exporters. Growth ends at --max-tasks and"
            " --max-series; a burst may take --buffer-bytes more.",
            f"max({series('process_resident_memory_bytes')})",
            "bytes",
            PLAIN,
        ),
    ]


def _events() -> list[timeseries.Panel]:
    lag = "celery_exporter_event_lag_seconds"
    return [
        lines(
            "Events by type",
            "Events applied a second. No task-sent: task_send_sent_event is off, so queues and"
            " waits are not known. Heartbeats only: the workers run without -E.",
            [Query(rate("celery_exporter_events_total", by=("type",)), "{{type}}")],
            "ops",
            stacked=True,
        ),
        lines(
            "Lag of events",
            "From the stamping of an event to its receipt here.",
            [Query(quantile(q, lag), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)],
            "s",
        ),
        lines(
            "Buffer",
            "Bytes read and not yet applied. At --buffer-bytes messages are dropped: more CPU, or"
            " a larger buffer for bursts.",
            [Query(total("celery_exporter_buffer_bytes", by=_INSTANCE, how="max"), "{{instance}}")],
            "bytes",
        ),
        lines(
            "Told again, and late",
            "Duplicates are counted once. Late events came after one that must have followed them:"
            " clocks differ, or the broker redelivers. Harmless in small numbers.",
            [
                Query(rate("celery_exporter_duplicate_events_total"), "duplicates"),
                Query(rate("celery_exporter_late_events_total"), "late"),
            ],
            "ops",
        ),
    ]


def _loss() -> list[timeseries.Panel]:
    return [
        lines(
            "Loss by kind",
            "Everything that did not become a figure, a second. All lines at 0: the dashboards are"
            " complete, but for what workers never sent (Workers, tasks unseen).",
            [Query(or_zero(rate(name)), title) for name, title in LOSSES.items()],
            "ops",
        ),
        lines(
            "Refused, by reason",
            "Messages that are no events or not safe to read. unsafe_content_type: workers send"
            " pickled events; set event_serializer to json. The others: docs/metrics.md.",
            [
                Query(rate("celery_exporter_events_refused_total", by=("reason",)), "{{reason}}"),
            ],
            "ops",
        ),
        lines(
            "Series beyond the cap, by family",
            "Updates beyond --max-series: counted as __overflow__, or left out (gauges). Leave"
            " tasks out with --task-label-deny, or join workers with --worker-label-rewrite.",
            [
                Query(
                    or_none(rate("celery_exporter_series_dropped_total", by=("family",)), "family"),
                    "{{family}}",
                )
            ],
            "ops",
        ),
        lines(
            "Connected, and connections made again",
            "1 while connected to the event source. Each reconnection is a gap.",
            [
                Query(
                    f"min by (instance) ({series('celery_exporter_source_connected')})",
                    "{{instance}}: connected",
                ),
                Query(
                    rate("celery_exporter_source_reconnects_total", by=_INSTANCE),
                    "{{instance}}: reconnections a second",
                ),
            ],
            "short",
        ),
    ]


def _process() -> list[timeseries.Panel]:
    cpu = f"sum by (instance) (rate({series('process_cpu_seconds_total')}[$__rate_interval]))"
    fds = f"{series('process_open_fds')} / {series('process_max_fds')}"
    return [
        lines(
            "Tasks remembered",
            "Ended ones too, up to --max-tasks. It is no leak that it fills up.",
            [Query(total("celery_exporter_tracked_tasks", by=_INSTANCE), "{{instance}}")],
            "short",
            width=8,
        ),
        lines(
            "Forgotten to make room",
            "By state, a second. Ended tasks are harmless; running or waiting ones will lack parts"
            " of their story: raise --max-tasks.",
            [
                Query(
                    or_none(
                        rate("celery_exporter_tracker_evictions_total", by=("state",)), "state"
                    ),
                    "{{state}}",
                ),
                Query(
                    or_none(rate("celery_group_evictions_total", by=("reason",)), "reason"),
                    "groups: {{reason}}",
                ),
            ],
            "ops",
            width=8,
        ),
        lines(
            "CPU",
            "Processors used. Near 1 it is full, as it works in one interpreter: lag and buffer"
            " grow next.",
            [Query(cpu, "{{instance}}")],
            "short",
            width=8,
            steps=(GREEN, (0.7, ORANGE), (0.95, RED)),
        ),
        lines(
            "Memory of the process",
            "Resident memory, by exporter. Set its limit above what --max-tasks and --buffer-bytes"
            " may take.",
            [
                Query(
                    f"sum by (instance) ({series('process_resident_memory_bytes')})",
                    "{{instance}}",
                )
            ],
            "bytes",
        ),
        lines(
            "File descriptors",
            "The part of the limit that is in use. Near 100 % scrapes are refused.",
            [Query(f"max by (instance) ({fds})", "{{instance}}")],
            "percentunit",
            steps=(GREEN, (0.8, ORANGE), (0.95, RED)),
        ),
    ]


def _http() -> list[timeseries.Panel]:
    problems = {
        "celery_exporter_http_auth_failures_total": "wrong password",
        "celery_exporter_http_slow_connections_closed_total": "too slow, or too many",
        "celery_exporter_http_malformed_requests_total": "not HTTP",
        "celery_exporter_tls_handshake_failures_total": "TLS handshake failed",
    }
    return [
        lines(
            "Requests",
            "Answers a second, by path and status. No /metrics: nobody scrapes it.",
            [
                Query(
                    rate("celery_exporter_http_requests_total", by=("path", "code")),
                    "{{path}} {{code}}",
                )
            ],
            "reqps",
            width=8,
        ),
        lines(
            "Refused connections",
            "Wrong passwords in numbers: somebody guesses. Not HTTP, handshakes: a scanner, or a"
            " Prometheus that speaks http to https.",
            [Query(rate(name), title) for name, title in problems.items()],
            "reqps",
            width=8,
        ),
        lines(
            "Reloads of the web configuration",
            "Refused: the file is broken. The one before stays in force until it is mended, or the"
            " exporter restarts, which then fails.",
            [
                Query(
                    rate("celery_exporter_web_config_reloads_total", by=("outcome",)),
                    "{{outcome}}",
                )
            ],
            "ops",
            width=8,
        ),
    ]


def _versions() -> table.Panel:
    labels = ("job", "instance", "version", "celery_version", "python_version", "profile")
    info = total("celery_exporter_build_info", by=labels)
    since = f"time() - {total('process_start_time_seconds', by=('job', 'instance'), how='max')}"
    up_for = f"0 * {info} + on (job, instance) group_left () ({since})"
    return rows_of(
        "instance",
        "Exporter",
        "Exporters",
        "What runs, and for how long. Profiles other than native have other names of metrics:"
        " these dashboards need native.",
        [Column("Up for", up_for, "s")],
        also=[
            ("job", "Job"),
            ("version", "Version"),
            ("celery_version", "Celery"),
            ("python_version", "Python"),
            ("profile", "Profile"),
        ],
        sort="Up for",
        height=6,
    )
