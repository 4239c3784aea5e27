"""The exporter's own families: what it reads, refuses, drops and costs."""

import platform
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import PROCESS_COLLECTOR

from z4j_exporter import __version__
from z4j_exporter.events.decode import REFUSAL_REASONS
from z4j_exporter.metrics.catalogue import exporter as c
from z4j_exporter.metrics.export_durations import ExportDurations
from z4j_exporter.metrics.store import Cells, Family, FamilySnapshot, Store, label_text
from z4j_exporter.metrics.store import HistogramCell as Lag

#: Why spans are not made (the tracer's reasons) or not delivered (the export queue's); each is
#: there at 0 from the start.
SPAN_DROP_REASONS = (
    "unknown_root", "late", "error",
    "queue_full", "encode_error", "refused", "partial_rejected", "retries_exhausted", "shutdown",
)  # fmt: skip


@dataclass
class SpanReadings:
    """What the making and sending of spans says of itself at one moment."""

    exported: int = 0
    #: By reason; SPAN_DROP_REASONS are there without being named.
    dropped: Mapping[str, int] = field(default_factory=dict)
    sampled_out: int = 0
    clamped: int = 0
    queued: int = 0


@dataclass
class OwnReadings:
    """What the parts of the program say of themselves at one moment."""

    source: str
    profile: str
    celery_version: str
    connected: bool
    connections: int
    gaps: int
    dropped_messages: int
    buffer_bytes: int
    tracked_tasks: int
    duplicates: int
    late: int
    events: Mapping[str, int]
    refused: Mapping[str, int]
    evictions: Mapping[str, int]
    series_dropped: Mapping[str, int]
    sink_errors: Mapping[str, int]
    http_requests: Mapping[tuple[str, int], int] = field(default_factory=dict)
    http_auth_failures: int = 0
    http_slow_closed: int = 0
    web_reloads_ok: int = 0
    web_reloads_failed: int = 0
    #: None without a web configuration file.
    web_config_current: bool | None = None
    http_malformed: int = 0
    tls_handshake_failures: int = 0
    #: None where no spans are made.
    spans: SpanReadings | None = None


class OwnMetrics:
    """Keeps the lag histogram and turns readings into families.

    ``exports`` is there where something is sent by OTLP.
    """

    def __init__(self, store: Store, exports: ExportDurations | None = None) -> None:
        self._exports = exports
        self._cells: Cells[Lag] = store.histogram(c.EVENT_LAG)
        self._lag = self._cells.child()

    def lag(self, seconds: float) -> None:
        """Count how long an event took from its stamping to its receipt.

        A clock that is ahead makes it negative, which is no lag: it counts as 0.
        """
        self._lag.observe(seconds if seconds > 0.0 else 0.0)

    def lags(self) -> tuple[int, ...]:
        """Return how many lags there were by bucket, each by itself, the last beyond all bounds."""
        return tuple(self._lag.counts)

    def collect(self, readings: OwnReadings) -> list[FamilySnapshot]:
        """Return all families."""
        r = readings
        source = (r.source,)
        build = (__version__, platform.python_version(), r.celery_version, r.profile)
        refused = {reason: r.refused.get(reason, 0) for reason in REFUSAL_REASONS}
        return [
            _one(c.BUILD_INFO, build, 1),
            _one(c.SOURCE_CONNECTED, source, int(r.connected)),
            _one(c.SOURCE_RECONNECTS, source, max(0, r.connections - 1)),
            _one(c.SOURCE_GAPS, source, r.gaps),
            _each(c.EVENTS, r.events),
            _each(c.EVENTS_REFUSED, refused),
            _one(c.EVENTS_DROPPED, ("buffer_full",), r.dropped_messages),
            self._cells.snapshot(floor=self._lag.born),
            _one(c.BUFFER_BYTES, (), r.buffer_bytes),
            _one(c.TRACKED_TASKS, (), r.tracked_tasks),
            _each(c.TRACKER_EVICTIONS, r.evictions),
            _one(c.DUPLICATE_EVENTS, (), r.duplicates),
            _one(c.LATE_EVENTS, (), r.late),
            _each(c.SERIES_DROPPED, r.series_dropped),
            _each(c.SINK_ERRORS, r.sink_errors),
            FamilySnapshot(
                c.HTTP_REQUESTS,
                [
                    (label_text(c.HTTP_REQUESTS.labels, (path, str(code))), count)
                    for (path, code), count in sorted(r.http_requests.items())
                ],
            ),
            _one(c.HTTP_AUTH_FAILURES, (), r.http_auth_failures),
            _one(c.HTTP_SLOW_CLOSED, (), r.http_slow_closed),
            _each(
                c.WEB_CONFIG_RELOADS,
                {"applied": r.web_reloads_ok, "refused": r.web_reloads_failed},
            ),
            *(
                (_one(c.WEB_CONFIG_CURRENT, (), int(r.web_config_current)),)
                if r.web_config_current is not None
                else ()
            ),
            _one(c.HTTP_MALFORMED, (), r.http_malformed),
            _one(c.TLS_HANDSHAKE_FAILURES, (), r.tls_handshake_failures),
            *(_spans(r.spans) if r.spans is not None else ()),
            *((self._exports.snapshot(),) if self._exports is not None else ()),
        ]


def _spans(spans: SpanReadings) -> list[FamilySnapshot]:
    return [
        _one(c.SPANS_EXPORTED, (), spans.exported),
        _each(c.SPANS_DROPPED, dict.fromkeys(SPAN_DROP_REASONS, 0) | dict(spans.dropped)),
        _one(c.SPANS_SAMPLED_OUT, (), spans.sampled_out),
        _one(c.SPANS_CLAMPED, (), spans.clamped),
        _one(c.SPANS_QUEUED, (), spans.queued),
    ]


def process_families() -> list[FamilySnapshot]:
    """Return prometheus_client's process_* families (CPU, memory, file descriptors)."""
    snapshots = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for metric in PROCESS_COLLECTOR.collect():
            if metric.type not in ("counter", "gauge"):
                continue
            name = metric.name + ("_total" if metric.type == "counter" else "")
            unit = next((u for u in ("seconds", "bytes") if metric.name.endswith(f"_{u}")), "")
            family = Family(name, metric.type, metric.documentation, unit=unit)  # type: ignore[arg-type]  # checked above
            samples = [("", sample.value) for sample in metric.samples if sample.name == name]
            snapshots.append(FamilySnapshot(family, samples))
    return snapshots


def _one(family: Family, values: Iterable[str], value: float) -> FamilySnapshot:
    return FamilySnapshot(family, [(label_text(family.labels, tuple(values)), value)])


def _each(family: Family, values: Mapping[str, float]) -> FamilySnapshot:
    samples = [(label_text(family.labels, (key,)), value) for key, value in sorted(values.items())]
    return FamilySnapshot(family, samples)
