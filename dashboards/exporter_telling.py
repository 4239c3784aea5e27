"""The exporter's panels about what it sends and keeps: spans, OTLP, captured notes, the journal."""

from grafana_foundation_sdk.builders import timeseries

from dashboards.panels import Query, lines
from dashboards.promql import or_none, or_zero, quantile, rate, series

_OTLP = "celery_exporter_otlp_export_duration_seconds"


def spans() -> list[timeseries.Panel]:
    """Return the panels about traces and pushed metrics."""
    made = {
        "celery_exporter_spans_exported_total": "delivered",
        "celery_exporter_spans_sampled_out_total": "attempts not kept (sampling)",
        "celery_exporter_spans_clamped_total": "start moved (clocks differ)",
    }
    return [
        lines(
            "Spans",
            "Spans a second. Delivered at 0 while tasks run: no endpoint is set, or it is away."
            " Absent where no traces are made.",
            [Query(rate(name), title) for name, title in made.items()],
            "ops",
        ),
        lines(
            "Spans dropped, by reason",
            "queue_full, retries_exhausted: the endpoint is away or too slow. refused: it will not"
            " take them; the log says why. unknown_root: the exporter came too late.",
            [Query(rate("celery_exporter_spans_dropped_total", by=("reason",)), "{{reason}}")],
            "ops",
        ),
        lines(
            "Spans that wait",
            "For the OTLP endpoint, up to --trace-queue-spans. It climbs while the endpoint is"
            " away.",
            [
                Query(
                    f"sum by (instance) ({series('celery_exporter_spans_queued')})", "{{instance}}"
                )
            ],
            "short",
            width=8,
        ),
        lines(
            "OTLP requests",
            "By signal and outcome. failed: tried again; refused: not. 0 where nothing is sent.",
            [
                Query(
                    or_none(rate(f"{_OTLP}_count", by=("signal", "outcome")), "signal"),
                    "{{signal}} {{outcome}}",
                )
            ],
            "reqps",
            width=8,
        ),
        lines(
            "Duration of OTLP requests (p95)",
            "Near --otlp-timeout: the Collector is overloaded, or far away. 0 where nothing is"
            " sent.",
            [Query(or_none(quantile(0.95, _OTLP, by=("signal",)), "signal"), "{{signal}}")],
            "s",
            width=8,
        ),
    ]


def journal_and_capture() -> list[timeseries.Panel]:
    """Return the panels about what capture hooks tell, and where it is kept."""
    notes = {
        "celery_exporter_capture_captured_total": "taken",
        "celery_exporter_capture_sent_total": "sent",
        "celery_exporter_capture_errors_total": "errors",
    }
    return [
        lines(
            "Capture hook",
            "Notes a second, by the hooks' own reports. Sent below taken: see dropped. Errors:"
            " in the application's log. 0 without the hook.",
            [Query(or_zero(rate(name)), title) for name, title in notes.items()],
            "ops",
            width=8,
        ),
        lines(
            "Notes dropped, payloads left out",
            "By reason. Dropped notes are tasks that cannot be retried with their arguments;"
            " payloads are left out on purpose: too large, or excluded.",
            [
                Query(
                    or_none(
                        rate("celery_exporter_capture_dropped_total", by=("reason",)), "reason"
                    ),
                    "dropped: {{reason}}",
                ),
                Query(
                    or_none(
                        rate("celery_exporter_capture_withheld_total", by=("reason",)), "reason"
                    ),
                    "left out: {{reason}}",
                ),
            ],
            "ops",
            width=8,
        ),
        lines(
            "Lookups in the result backend",
            "Tasks looked up for their group, by what came of it. 0 where no backend is given.",
            [
                Query(
                    or_none(
                        rate("celery_exporter_backend_lookups_total", by=("outcome",)), "outcome"
                    ),
                    "{{outcome}}",
                )
            ],
            "ops",
            width=8,
        ),
        lines(
            "Journal: size",
            "Bytes of the journal's files. At --journal-max-bytes the oldest tasks go. 0 without"
            " --journal-path.",
            [Query(or_zero(f"sum({series('celery_exporter_journal_bytes')})"), "bytes")],
            "bytes",
            width=8,
        ),
        lines(
            "Journal: tasks",
            "Tasks whose last message the journal holds: these can be retried exactly.",
            [Query(or_zero(f"sum({series('celery_exporter_journal_entries')})"), "tasks")],
            "short",
            width=8,
        ),
        lines(
            "Journal: records",
            "Records a second by outcome, and those that were not written, by reason: the disk is"
            " full or too slow.",
            [
                Query(
                    or_none(
                        rate("celery_exporter_journal_records_total", by=("outcome",)), "outcome"
                    ),
                    "{{outcome}}",
                ),
                Query(
                    or_none(
                        rate("celery_exporter_journal_dropped_total", by=("reason",)), "reason"
                    ),
                    "dropped: {{reason}}",
                ),
            ],
            "ops",
            width=8,
        ),
    ]
