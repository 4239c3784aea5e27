"""Brings the profile and the exporter's own families together, and writes them out."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from z4j_exporter.fleet.model import FleetReading
from z4j_exporter.metrics.base import Profile
from z4j_exporter.metrics.exporter import OwnMetrics, OwnReadings, process_families
from z4j_exporter.metrics.exposition import (
    OPENMETRICS_CONTENT_TYPE,
    TEXT_CONTENT_TYPE,
    render,
    wants_openmetrics,
)
from z4j_exporter.metrics.fleet import FleetFamilies
from z4j_exporter.metrics.queues import QueueFamilies
from z4j_exporter.metrics.scrapers import Scrapers
from z4j_exporter.metrics.store import FamilySnapshot
from z4j_exporter.queues.model import QueuePoll
from z4j_exporter.track.cluster import Cluster


@dataclass
class Registry:
    """All families. ``collect`` belongs to the applier's thread, the rest to any."""

    profile: Profile
    own: OwnMetrics
    queues: QueueFamilies
    fleet: FleetFamilies

    def __post_init__(self) -> None:
        self._scrapers = Scrapers()

    def collect(
        self,
        cluster: Cluster,
        readings: OwnReadings,
        wall: float,
        scraper: str,
        *,
        queues: QueuePoll | None = None,
        fleet: FleetReading | None = None,
        more: Callable[[int], list[FamilySnapshot]] | None = None,
    ) -> list[FamilySnapshot]:
        """Copy everything, as this scraper is to see it.

        ``more`` returns further families, for the floor of this scraper (see store.py).
        """
        floor = self._scrapers.floor(scraper, self.profile.store.serial)
        return [
            *self.profile.collect(cluster, wall, floor),
            *self.queues.collect(queues, cluster, wall),
            *self.fleet.collect(fleet, cluster, wall),
            *(more(floor) if more is not None else ()),
            *self.own.collect(readings),
        ]


def expose(
    take: Callable[[], list[FamilySnapshot]], accept: str, names: Collection[str] = ()
) -> tuple[str, bytes]:
    """Return content type and body for an Accept header; ``names`` limits the families.

    ``take`` returns the snapshots; the process's own families are added to them.
    """
    snapshots = take() + process_families()
    if names:
        wanted = set(names)
        snapshots = [s for s in snapshots if _sample_names(s) & wanted]
    openmetrics = wants_openmetrics(accept)
    content_type = OPENMETRICS_CONTENT_TYPE if openmetrics else TEXT_CONTENT_TYPE
    return content_type, render(snapshots, openmetrics=openmetrics)


def _sample_names(snapshot: FamilySnapshot) -> set[str]:
    """Return what a ``name[]`` parameter may call this family."""
    name = snapshot.family.name
    if snapshot.family.type == "histogram":
        return {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return {name, name.removesuffix("_total")}
