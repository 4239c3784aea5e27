"""Gathers what the parts of the exporter say of themselves, for its own metrics."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from z4j_exporter.events.decode import Decoder
from z4j_exporter.metrics.base import Profile
from z4j_exporter.metrics.exporter import OwnReadings, SpanReadings
from z4j_exporter.pipeline.applier import Applier
from z4j_exporter.pipeline.buffer import Buffer
from z4j_exporter.pipeline.reader import Reader
from z4j_exporter.sources.base import Source
from z4j_exporter.track.table import UNFINISHED
from z4j_exporter.web.stats import WebStats


def own_readings(
    *,
    source: Source,
    profile: Profile,
    reader: Reader,
    buffer: Buffer,
    applier: Applier,
    decoder: Decoder,
    stats: WebStats,
    spans: SpanReadings | None,
) -> OwnReadings:
    """Return the figures of this moment. For the applier's thread."""
    cluster = applier.cluster
    return OwnReadings(
        source=source.system,
        profile=profile.name,
        celery_version=_version_of("celery"),
        connected=reader.connected,
        connections=reader.connections,
        gaps=reader.gaps,
        dropped_messages=reader.dropped,
        buffer_bytes=buffer.size_bytes,
        tracked_tasks=len(cluster.tasks.table),
        duplicates=cluster.tasks.duplicates,
        late=cluster.tasks.late,
        events=cluster.events,
        refused=decoder.refused + cluster.refused,
        evictions=dict.fromkeys((*UNFINISHED, "given_up"), 0)
        | dict(cluster.tasks.table.evictions)
        | {"worker": cluster.workers.evictions},
        series_dropped=profile.store.dropped,
        sink_errors=applier.errors,
        http_requests=stats.requests_snapshot(),
        http_auth_failures=stats.auth_failures,
        http_slow_closed=stats.slow_connections_closed + stats.evicted_connections,
        web_reloads_ok=stats.reloads_ok,
        web_reloads_failed=stats.reloads_failed,
        web_config_current=stats.last_reload_ok,
        http_malformed=stats.malformed_requests,
        tls_handshake_failures=stats.tls_handshake_failures,
        spans=spans,
    )


@cache
def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
