"""What every naming profile is: a sink of transitions that can be collected."""

from dataclasses import dataclass, field
from typing import Protocol

from z4j_exporter.metrics.labels import TaskLabel, WorkerLabel
from z4j_exporter.metrics.store import Family, FamilySnapshot, Store
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.transitions import Transition


@dataclass
class LabelRules:
    """How names from the wire become label values."""

    task: TaskLabel = field(default_factory=TaskLabel)
    worker: WorkerLabel = field(default_factory=WorkerLabel)


class Profile(Protocol):
    """One naming of the metrics. The applier thread calls ``take`` and ``collect``."""

    name: str
    store: Store

    def take(self, transition: Transition) -> None:
        """Count one transition."""

    def collect(self, cluster: Cluster, wall: float, floor: int) -> list[FamilySnapshot]:
        """Copy all families. Series born after ``floor`` (see store.py) show as 0."""

    def families(self) -> list[Family]:
        """Return the declarations of all families, for the catalogue."""
