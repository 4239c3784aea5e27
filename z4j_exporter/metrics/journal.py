"""Turns the figures of the journal and of the result backend's lookups into metric families."""

from collections.abc import Iterable, Mapping

from z4j_exporter.backend.lookup import OUTCOMES as LOOKUP_OUTCOMES
from z4j_exporter.journal.model import DROP_REASONS, RECORD_OUTCOMES, JournalStats
from z4j_exporter.metrics.catalogue import journal as c
from z4j_exporter.metrics.store import Family, FamilySnapshot, label_text


class JournalMetrics:
    """The families of the journal; made only where there is one."""

    def collect(self, stats: JournalStats) -> list[FamilySnapshot]:
        """Return the families. While the journal cannot be used, its entries are not known."""
        entries: list[tuple[str, float]] = [] if stats.entries is None else [("", stats.entries)]
        return [
            FamilySnapshot(c.JOURNAL_ENTRIES, entries),
            FamilySnapshot(c.JOURNAL_BYTES, [("", stats.size_bytes)]),
            _counts(c.JOURNAL_RECORDS, RECORD_OUTCOMES, stats.records),
            _counts(c.JOURNAL_DROPPED, DROP_REASONS, stats.dropped),
        ]

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return list(c.JOURNAL_FAMILIES)


class BackendMetrics:
    """The family of the lookups; made only where there is a result backend to ask."""

    def collect(self, lookups: Mapping[str, int]) -> list[FamilySnapshot]:
        """Return the family, of the counts by outcome."""
        return [_counts(c.BACKEND_LOOKUPS, LOOKUP_OUTCOMES, lookups)]

    def families(self) -> list[Family]:
        """Return the declaration."""
        return list(c.BACKEND_FAMILIES)


def _counts(family: Family, known: Iterable[str], counts: Mapping[str, int]) -> FamilySnapshot:
    """Return a counter by one label; what never happened is there at 0."""
    values = {**dict.fromkeys(known, 0), **counts}
    return FamilySnapshot(
        family, [(label_text(family.labels, (label,)), n) for label, n in values.items()]
    )
