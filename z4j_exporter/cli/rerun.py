"""Feeds a recording through decoder, tracker and metrics, with the recording's own time.

The same recording gives the same bytes, whatever the machine and the hour.
"""

from collections.abc import Mapping

from z4j_exporter.capturing import Capturing
from z4j_exporter.cli.timeline import Timeline
from z4j_exporter.config import Settings
from z4j_exporter.events.decode import REFUSAL_REASONS, Decoder
from z4j_exporter.events.recording import Recorded
from z4j_exporter.metrics.catalogue import exporter as catalogue
from z4j_exporter.metrics.exposition import render
from z4j_exporter.metrics.profiles import make_profile
from z4j_exporter.metrics.store import Family, FamilySnapshot, label_text
from z4j_exporter.track.cluster import make_cluster


class Rerun:
    """The pipeline without its threads. Raises ConfigError for settings that cannot work."""

    def __init__(self, settings: Settings) -> None:
        self._profile = make_profile(settings)
        self._decoder = Decoder(max_message_bytes=settings.max_message_bytes)
        self._capturing = Capturing(settings, self._profile.store, lambda order: order(), since=0.0)
        self.cluster = make_cluster(
            settings, self._capturing.following(self._profile.take), notes=self._capturing
        )
        self._capturing.attach(self.cluster.task)
        self._timeline = Timeline(self.cluster)
        self._wall = 0.0

    @property
    def events(self) -> int:
        """Events applied."""
        return self.cluster.events.total()

    @property
    def refused(self) -> Mapping[str, int]:
        """Messages and events refused, by reason."""
        return self._decoder.refused

    def feed(self, recorded: Recorded) -> None:
        """Apply one line, at the time it was received."""
        self._wall = recorded.received_at
        now = self._timeline.advance(recorded.received_at)
        for event in self._decoder.decode(recorded.message):
            self.cluster.apply(event, now, recorded.received_at)

    def render(self, *, openmetrics: bool) -> bytes:
        """Return the metrics at the end: the profile's, and the exporter's that events make."""
        self.cluster.flush()
        # Every series is shown as it is: nobody has seen these counters before.
        floor = self._profile.store.serial
        families = self._profile.collect(self.cluster, self._wall, floor)
        families += self._capturing.collect(floor)
        return render([*families, *self._own()], openmetrics=openmetrics)

    def _own(self) -> list[FamilySnapshot]:
        refused = {reason: self.refused.get(reason, 0) for reason in REFUSAL_REASONS}
        tasks = self.cluster.tasks
        return [
            _each(catalogue.EVENTS, self.cluster.events),
            _each(catalogue.EVENTS_REFUSED, refused),
            FamilySnapshot(catalogue.TRACKED_TASKS, [("", len(tasks.table))]),
            _each(catalogue.TRACKER_EVICTIONS, tasks.table.evictions),
            FamilySnapshot(catalogue.DUPLICATE_EVENTS, [("", tasks.duplicates)]),
            FamilySnapshot(catalogue.LATE_EVENTS, [("", tasks.late)]),
            _each(catalogue.SERIES_DROPPED, self._profile.store.dropped),
        ]


def _each(family: Family, values: Mapping[str, int]) -> FamilySnapshot:
    samples = [(label_text(family.labels, (key,)), value) for key, value in sorted(values.items())]
    return FamilySnapshot(family, samples)
