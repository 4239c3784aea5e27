"""Plays events through decoder, tracker, profile and exposition; the events tell the time."""

import json
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from z4j_exporter.config import Settings
from z4j_exporter.events.decode import Decoder
from z4j_exporter.events.message import Framed
from z4j_exporter.events.recording import decode_line
from z4j_exporter.metrics.exporter import OwnMetrics, OwnReadings
from z4j_exporter.metrics.exposition import render
from z4j_exporter.metrics.fleet import NoFleetMetrics
from z4j_exporter.metrics.profiles import make_profile
from z4j_exporter.metrics.queues import NoQueueMetrics
from z4j_exporter.metrics.registry import Registry
from z4j_exporter.metrics.store import FamilySnapshot
from z4j_exporter.track.cluster import Cluster

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
#: All recordings by name.
NAMES = sorted(path.name.removesuffix(".jsonl") for path in RECORDINGS.glob("*.jsonl"))
#: A moment to count from, epoch seconds.
T0 = 1_790_000_000.0

#: Labels as a key that can be compared: sorted, without the empty ones.
Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


def lines(name: str) -> list[bytes]:
    """Return the lines of a recording."""
    return (RECORDINGS / f"{name}.jsonl").read_bytes().splitlines()


def raw_events(name: str) -> list[dict[str, Any]]:
    """Return a recording's events as they were sent, with ``local_received`` as Celery adds it."""
    entries = [json.loads(line) for line in lines(name)]
    return [{**entry["event"], "local_received": entry["received_at"]} for entry in entries]


def task_event(kind: str, at: float = 0.0, uuid: str = "u1", **fields: Any) -> dict[str, Any]:
    """Return a task event ``at`` seconds after T0; from w1@host1 unless told otherwise."""
    event = {"type": f"task-{kind}", "uuid": uuid, "timestamp": T0 + at, "hostname": "w1@host1"}
    if kind in ("sent", "received"):
        event["name"] = "work.add"
    return {**event, **fields}


def worker_event(kind: str, at: float = 0.0, hostname: str = "w1@host1", **fields: Any) -> Any:
    """Return a worker event ``at`` seconds after T0."""
    event = {"type": f"worker-{kind}", "timestamp": T0 + at, "hostname": hostname}
    return {**event, "freq": 2.0, "active": 0, "processed": 0, **fields}


class Exposed:
    """The exporter without threads, broker and HTTP."""

    def __init__(self, profile: str = "native", **settings: Any) -> None:
        self.settings = Settings.model_validate({"metrics_profile": profile, **settings})
        self.profile = make_profile(self.settings)
        self.registry = Registry(
            self.profile, OwnMetrics(self.profile.store), NoQueueMetrics(), NoFleetMetrics()
        )
        self.cluster = Cluster(
            self.profile.take,
            max_tasks=self.settings.max_tasks,
            worker_timeout_seconds=self.settings.worker_timeout,
            worker_forget_seconds=self.settings.purge_offline_worker_metrics,
        )
        self._decoder = Decoder()
        self.now = 0.0

    def recording(self, name: str) -> "Exposed":
        """Play a recording as it was received, and let what waits for a name go."""
        for line in lines(name):
            recorded = decode_line(line)
            self._until(recorded.received_at)
            self._apply(recorded.message)
        return self.wait(3)

    def play(self, *events: dict[str, Any]) -> "Exposed":
        """Play events, each received when it was sent."""
        for event in events:
            self._until(event["timestamp"])
            self._apply(Framed(json.dumps(event).encode(), "application/json", "utf-8"))
        return self

    def wait(self, seconds: float) -> "Exposed":
        """Let time pass, a tick each second."""
        self._until(self.now + seconds)
        return self

    def snapshots(self, scraper: str = "") -> list[FamilySnapshot]:
        """Return what a scrape takes."""
        return self.registry.collect(self.cluster, self._readings(), self.now, scraper)

    def text(self, scraper: str = "", *, openmetrics: bool = False, own: bool = False) -> str:
        """Return /metrics as this scraper gets it; without the exporter's own families or with."""
        snapshots = self.snapshots(scraper)
        if not own:
            snapshots = [s for s in snapshots if not s.family.name.startswith("celery_exporter_")]
        return render(snapshots, openmetrics=openmetrics).decode()

    def samples(self, scraper: str = "") -> Samples:
        """Return every sample of a scrape."""
        return parsed(self.text(scraper))

    def value(self, name: str, scraper: str = "", /, **labels: str) -> float | None:
        """Return one sample of a scrape, None when there is none."""
        return self.samples(scraper).get((name, tuple(sorted(labels.items()))))

    def _until(self, moment: float) -> None:
        self.now = self.now or moment
        while moment - self.now >= 1.0:
            self.now += 1.0
            self.cluster.tick(self.now)
        self.now = max(self.now, moment)

    def _apply(self, message: Any) -> None:
        events = self._decoder.decode(message)
        for event in events:
            self.cluster.apply(event, self.now, self.now)
        if events:
            self.registry.own.lag(self.now - events[-1].timestamp)

    def _readings(self) -> OwnReadings:
        tasks = self.cluster.tasks
        return OwnReadings(
            source="recording",
            profile=self.profile.name,
            celery_version="",
            connected=True,
            connections=1,
            gaps=0,
            dropped_messages=0,
            buffer_bytes=0,
            tracked_tasks=len(tasks.table),
            duplicates=tasks.duplicates,
            late=tasks.late,
            events=self.cluster.events,
            refused=self._decoder.refused,
            evictions=tasks.table.evictions,
            series_dropped=self.profile.store.dropped,
            sink_errors={},
        )


def parsed(text: str) -> Samples:
    """Return every sample of an exposition, as Prometheus's own client reads it."""
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if v))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
