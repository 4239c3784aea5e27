"""Counts groups and chords, and the messages that the capture hook saw published."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from z4j_exporter.config import Settings
from z4j_exporter.events.captured import Captured, Envelope
from z4j_exporter.metrics.base import LabelRules
from z4j_exporter.metrics.catalogue import groups as c
from z4j_exporter.metrics.labels import OVERFLOW, TaskLabel, WorkerLabel, clean
from z4j_exporter.metrics.rows import Rows
from z4j_exporter.metrics.store import (
    CounterCell,
    Family,
    FamilySnapshot,
    HistogramCell,
    Store,
    label_text,
)
from z4j_exporter.track.group_model import MIXED, GroupTransition
from z4j_exporter.track.groups import GroupTracker
from z4j_exporter.track.transitions import UNKNOWN_TASK

#: A group's or message's labels as the wire has them.
_GroupKey = tuple[str, str]
_PublishedKey = tuple[str, str, int | None]


class _Row:
    """The cells of one (task, kind): all there from the first group on, so that failures show."""

    __slots__ = ("duration", "failures", "finished", "labels", "started")

    def __init__(
        self,
        labels: tuple[str, ...],
        started: CounterCell,
        failures: CounterCell,
        finished: dict[str, CounterCell],
    ) -> None:
        self.labels = labels
        self.started = started
        self.failures = failures
        self.finished = finished
        # Made with their first observation.
        self.duration: dict[str, HistogramCell] = {}


class GroupMetrics:
    """The native families. The applier thread calls all of it."""

    def __init__(
        self,
        store: Store,
        rules: LabelRules | None = None,
        *,
        buckets: tuple[float, ...] | None = None,
    ) -> None:
        self._rules = rules or LabelRules()
        self._started = store.counter(c.GROUP_STARTED)
        self._finished = store.counter(c.GROUP_FINISHED)
        self._failures = store.counter(c.GROUP_MEMBER_FAILURES)
        self._duration = store.histogram(
            replace(c.GROUP_DURATION, buckets=buckets or c.GROUP_DURATION.buckets)
        )
        self._published = store.counter(c.TASK_PUBLISHED)
        self._groups: Rows[_GroupKey, _Row] = Rows(
            store.max_series, self._group_labels, self._group_row
        )
        self._messages: Rows[_PublishedKey, CounterCell] = Rows(
            store.max_series, self._message_labels, lambda labels: self._published.child(*labels)
        )

    def take(self, step: GroupTransition) -> None:
        """Count one transition of a group."""
        row = self._row((step.task, step.group_kind))
        if step.kind == "started":
            row.started.value += 1
        elif step.kind == "member_failed":
            row.failures.value += 1
        elif step.outcome is not None:
            row.finished[step.outcome].value += 1
            if step.duration is not None:
                cell = row.duration.get(step.outcome)
                if cell is None:
                    cell = row.duration[step.outcome] = self._duration.child(
                        *row.labels, step.outcome
                    )
                cell.observe(step.duration)

    def captured(self, note: Captured) -> None:
        """Count what a note of the hook says was published."""
        if not isinstance(note, Envelope):
            return
        key = (note.name or UNKNOWN_TASK, note.queue or "", note.priority)
        cell = self._messages.get(key)
        if cell is None:  # beyond the cap, which the family counts
            cell = self._published.child(*self._message_labels(key))
        cell.value += 1

    def collect(self, groups: GroupTracker, floor: int) -> list[FamilySnapshot]:
        """Copy all families; series born after ``floor`` (see store.py) show as 0."""
        evictions = [
            (label_text(c.GROUP_EVICTIONS.labels, (reason,)), count)
            for reason, count in groups.evictions.items()
        ]
        return [
            self._started.snapshot(floor),
            self._finished.snapshot(floor),
            self._failures.snapshot(floor),
            self._duration.snapshot(floor),
            self._in_progress(groups),
            FamilySnapshot(c.GROUP_EVICTIONS, evictions),
            self._published.snapshot(floor),
        ]

    def families(self) -> list[Family]:
        """Return the declarations of all families."""
        return [
            self._duration.family if family is c.GROUP_DURATION else family
            for family in c.GROUP_FAMILIES
        ]

    def _in_progress(self, groups: GroupTracker) -> FamilySnapshot:
        counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        for row in self._groups.values():
            counts[row.labels] = 0  # to 0, not away
        for (task, kind), number in groups.in_progress().items():
            known = self._groups.known((task, kind))
            counts[(OVERFLOW, kind) if known is None else known.labels] += number
        names = c.GROUPS_IN_PROGRESS.labels
        return FamilySnapshot(
            c.GROUPS_IN_PROGRESS, [(label_text(names, key), n) for key, n in counts.items()]
        )

    def _row(self, key: _GroupKey) -> _Row:
        row = self._groups.get(key)
        # Beyond the cap the families' overflow series are asked for each time, and counted.
        return row or self._group_row(self._group_labels(key))

    def _group_labels(self, key: _GroupKey) -> tuple[str, ...]:
        task, kind = key
        return (task if task == MIXED else self._rules.task(task), kind)

    def _group_row(self, labels: tuple[str, ...]) -> _Row:
        finished = {
            outcome: self._finished.child(*labels, outcome) for outcome in ("succeeded", "failed")
        }
        return _Row(labels, self._started.child(*labels), self._failures.child(*labels), finished)

    def _message_labels(self, key: _PublishedKey) -> tuple[str, ...]:
        task, queue, priority = key
        return (self._rules.task(task), clean(queue), "" if priority is None else str(priority))


def make_group_metrics(settings: Settings, store: Store) -> GroupMetrics | None:
    """Return the group families; None where the profile, a peer's, has none."""
    if settings.metrics_profile != "native":
        return None
    rules = LabelRules(
        task=TaskLabel(settings.task_label_allow, settings.task_label_deny),
        worker=WorkerLabel(settings.worker_label_rewrite),
    )
    buckets: Mapping[str, tuple[float, ...]] = settings.buckets
    return GroupMetrics(store, rules, buckets=buckets.get(c.GROUP_DURATION.name))
