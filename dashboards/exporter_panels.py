"""What Overview and Exporter both show of the exporter itself."""

from grafana_foundation_sdk.builders import stat

from dashboards import links
from dashboards.panels import GREEN, NONE_EXPECTED, RED, number
from dashboards.promql import increase, or_zero, series

#: Loss of every kind: events that never became figures.
LOSSES = {
    "celery_exporter_source_gaps_total": "gaps in the connection",
    "celery_exporter_events_dropped_total": "messages dropped: a burst beyond --buffer-bytes",
    "celery_exporter_events_refused_total": "messages refused",
    "celery_exporter_series_dropped_total": "updates beyond --max-series",
    "celery_exporter_sink_errors_total": "errors of the exporter's own",
}


def connected() -> stat.Panel:
    """Return whether the exporters are there and connected to the broker."""
    worst = (
        f"min({series('celery_exporter_source_connected')}"
        f" or on (job, instance) ({series('up')} - 1))"
    )
    return number(
        "Exporter",
        "Connected: it hears the broker. Not connected: the broker is away or refuses it; its log"
        " and z4j-exporter doctor say why. Down: Prometheus cannot scrape it. Until it is green,"
        " trust nothing else on this page.",
        worst,
        "short",
        (RED, (1, GREEN)),
        texts={
            "1": ("connected", GREEN),
            "0": ("not connected", RED),
            "-1": ("down", RED),
        },
        absent="no exporter",
        link=links.panel_link(links.EXPORTER, "Exporter"),
    )


def losses() -> stat.Panel:
    """Return the sum of everything that went missing inside of the exporter."""
    parts = " + ".join(f"({or_zero(increase(name))})" for name in LOSSES)
    return number(
        "Events not counted",
        "Gaps in the connection, messages dropped or refused, series beyond the cap, errors, in the"
        " time shown: the figures here are too low. Which kind it is: the dashboard Exporter.",
        parts,
        "short",
        NONE_EXPECTED,
        decimals=0,
        link=links.panel_link(links.EXPORTER, "Exporter"),
    )
