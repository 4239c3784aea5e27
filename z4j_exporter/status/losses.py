"""Picks out of the exporter's own metrics what was lost, refused or cut."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from z4j_exporter.metrics.catalogue import actions, exporter, groups, journal, workers
from z4j_exporter.metrics.labels import clean, pairs
from z4j_exporter.metrics.store import Family, FamilySnapshot, HistogramValue, label_text
from z4j_exporter.web.status import Loss

#: Reasons that a line names.
_NAMED = 3


class _Kind(NamedTuple):
    family: Family
    meaning: str
    #: Values of the family's label that are a loss; None: all of them.
    which: frozenset[str] | None = None


_KINDS = {
    kind.family.name: kind
    for kind in (
        _Kind(exporter.SOURCE_GAPS, "times the connection broke: events may be missing"),
        _Kind(exporter.EVENTS_DROPPED, "messages dropped unread"),
        _Kind(exporter.EVENTS_REFUSED, "messages and events that could not be read"),
        _Kind(workers.WORKER_MISSING, "events that workers sent, by their count, and never came"),
        _Kind(
            exporter.TRACKER_EVICTIONS,
            "tasks in progress and workers forgotten to make room",
            frozenset({"waiting", "reserved", "running", "worker"}),
        ),
        _Kind(
            exporter.SERIES_DROPPED,
            "updates beyond --max-series: told as __overflow__, or left out",
        ),
        _Kind(exporter.SINK_ERRORS, "errors inside of the exporter: the log says more"),
        _Kind(exporter.SPANS_DROPPED, "spans that were not made or not delivered"),
        _Kind(
            groups.GROUP_EVICTIONS,
            "groups forgotten before they had finished",
            frozenset({"unfinished", "too_large"}),
        ),
        _Kind(groups.CAPTURE_DROPPED, "notes that capture hooks did not send"),
        _Kind(journal.JOURNAL_DROPPED, "messages not written to the journal"),
        _Kind(
            journal.BACKEND_LOOKUPS,
            "tasks whose group the result backend did not tell",
            frozenset({"failed", "dropped"}),
        ),
        _Kind(actions.AUDIT_FAILURES, "entries that the audit log could not take"),
        _Kind(actions.ALERTS_TRUNCATED, "alerts that Alertmanager left out of its messages"),
    )
}


def losses(snapshots: Iterable[FamilySnapshot]) -> list[Loss]:
    """Return what is not 0, the families in the order of their importance."""
    found = {}
    for snapshot in snapshots:
        kind = _KINDS.get(snapshot.family.name)
        if kind is not None:
            loss = _loss(kind, snapshot)
            if loss.count:
                found[loss.family] = loss
    return [found[name] for name in _KINDS if name in found]


def counted(family: Family, counts: Mapping[str, int]) -> FamilySnapshot:
    """Return a family of one label as a snapshot."""
    return FamilySnapshot(family, [(label_text(family.labels, (k,)), n) for k, n in counts.items()])


def _loss(kind: _Kind, snapshot: FamilySnapshot) -> Loss:
    total = 0
    reasons: dict[str, int] = {}
    for text, value in snapshot.samples:
        labels = [label for _, label in pairs(text)]
        label = labels[0] if labels else ""
        if isinstance(value, HistogramValue) or (
            kind.which is not None and label not in kind.which
        ):
            continue
        total += int(value)
        reasons[label] = reasons.get(label, 0) + int(value)
    return Loss(kind.family.name, kind.meaning + _named(kind, reasons), total)


def _named(kind: _Kind, reasons: Mapping[str, int]) -> str:
    """Return the most frequent reasons, where the family has some."""
    told = sorted(((n, r) for r, n in reasons.items() if n and r), reverse=True)
    if kind.family.labels in ((), ("source",), ("worker",)) or not told:
        return ""
    listed = ", ".join(f"{clean(reason)} {n}" for n, reason in told[:_NAMED])
    return f" ({listed}{', …' if len(told) > _NAMED else ''})"
