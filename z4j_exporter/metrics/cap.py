"""Bounds the families that are made anew at each collection: those of workers and queues."""

from collections.abc import Collection, Sequence
from itertools import islice

from z4j_exporter.metrics.store import Family, FamilySnapshot, Sample, Store


class LeftOut:
    """Counts in ``store.dropped`` the series beyond the cap, each once for as long as it is out.

    Counters have updates to count; a gauge is read at each scrape, and scrapes say nothing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, frozenset[object]] = {}

    def cut(self, family: Family, samples: Sequence[Sample]) -> FamilySnapshot:
        """Return a family's samples, the first ``max_series`` of them.

        They are to come in the order in which their objects became known: so who has a series
        keeps it, whoever comes, and though it goes down (when its 0 is what an alert waits for).
        """
        limit = self._store.max_series
        self.note(family, {labels for labels, _ in islice(samples, limit, None)})
        return FamilySnapshot(family, samples[:limit] if len(samples) > limit else samples)

    def note(self, family: Family, left_out: Collection[object]) -> None:
        """Count what a collection of this family left out and the one before it did not."""
        known = self._known.get(family.name, frozenset())
        if left_out or known:
            now = self._known[family.name] = frozenset(left_out)
            if new := len(now - known):
                self._store.dropped[family.name] += new
