"""Answers what only the tracker knows; all of it is called in the tracker's thread."""

from typing import Any

from z4j_exporter.fleet.model import WorkerFacts
from z4j_exporter.metrics.actions import action_snapshots
from z4j_exporter.metrics.catalogue.groups import GROUP_EVICTIONS
from z4j_exporter.metrics.catalogue.workers import WORKER_MISSING
from z4j_exporter.metrics.fleet_answers import KEEP_INTERVALS, LastAnswers
from z4j_exporter.metrics.queues import oldest_age
from z4j_exporter.queues.model import QueuePoll
from z4j_exporter.status.fleet import worker_rows
from z4j_exporter.status.losses import counted, losses
from z4j_exporter.status.parts import Parts
from z4j_exporter.status.rates import Counts, Reading, Sampler
from z4j_exporter.status.tasks import Census, failure_row, run_row, stuck_row

#: Fields of Status by name.
Fields = dict[str, Any]


class Tracked:
    """Each question returns some fields of the status, and holds the tracker for moments only."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.sampler = Sampler(self._reading)
        settings = parts.settings
        keep = KEEP_INTERVALS * settings.inspect_interval + settings.inspect_timeout
        self._answers = LastAnswers(keep)

    def tick(self, now: float) -> None:
        """Let time pass, on the tracker's clock."""
        wall = self._parts.wall()
        if self.sampler.tick(now, wall):
            self._parts.recent.rotate()
            # A busy worker does not answer each time it is asked: all answers are seen here.
            self._answers.update(self._parts.background.fleet, wall)

    def figures(self) -> Fields:
        """Return totals and losses."""
        p = self._parts
        events = p.applier.cluster.events
        begun = {kind: events[f"task-{kind}"] for kind in ("sent", "received", "started")}
        missing = sum(worker.missing_events or 0 for worker in p.applier.cluster.workers)
        acting = p.acting()
        return {
            "totals": begun | p.recent.ends(events),
            "losses": losses(
                [
                    *p.own.collect(p.readings()),
                    *p.capturing.reports(),
                    counted(WORKER_MISSING, {"": missing}),
                    counted(GROUP_EVICTIONS, p.capturing.groups.evictions),
                    *(action_snapshots(acting.readings()) if acting is not None else ()),
                ]
            ),
        }

    def workers(self, wall: float) -> Fields:
        """Return the workers."""
        cluster = self._parts.applier.cluster
        self._answers.update(self._parts.background.fleet, wall)
        facts = self._answers.current(cluster)
        return {
            "workers": worker_rows(cluster, facts, self._parts.monotonic()),
            "workers_total": len(cluster.workers),
            "workers_up": sum(worker.up for worker in cluster.workers),
        }

    def consumers(self, wall: float) -> list[WorkerFacts] | None:
        """Return what the workers that are there answered; None while it is not known who is."""
        if not self._answers.known(wall):
            return None
        return self._answers.current(self._parts.applier.cluster)

    def ages(self, poll: QueuePoll) -> dict[str, float | None]:
        """Return how many seconds the oldest message of each queue has waited."""
        cluster = self._parts.applier.cluster
        return {r.name: oldest_age(r, cluster, poll.finished_at) for r in poll.readings}

    def ended(self) -> Fields:
        """Return the latest failures and the slowest runs."""
        recent, find = self._parts.recent, self._parts.applier.cluster.task
        return {
            "failures": [
                failure_row(end, find(end.uuid), self._linked) for end in recent.failures()
            ],
            "slowest": [run_row(end, self._linked) for end in recent.slowest()],
        }

    def census(self, wall: float) -> Census:
        """Return the tasks in progress, to be looked at piece by piece."""
        return Census(list(self._parts.applier.cluster.tasks.table.active.values()), wall)

    def counted(self, census: Census, whole: bool) -> Fields:
        """Return what a census found; the states' numbers only where it is whole."""
        telemetry = self._parts.telemetry
        return {
            "in_progress": dict(census.states) if whole else {},
            "stuck": [
                stuck_row(each, self._linked(telemetry.trace_of(each.task)))
                for each in census.stuck()
            ],
        }

    def _linked(self, trace_id: bytes | None) -> str:
        """Return a trace's id for a link; "" where the pages have no such trace."""
        if trace_id is None or not self._parts.telemetry.remembers(trace_id):
            return ""
        return trace_id.hex()

    def _reading(self) -> Reading:
        p = self._parts
        reader, events = p.reader, p.applier.cluster.events
        ends = p.recent.ends(events)
        counts = Counts(
            events["task-started"],
            ends["succeeded"],
            ends["failed"],
            ends["retried"],
        )
        return Reading(
            counts,
            p.own.lags(),
            heard=reader.connected or reader.ended,
            breaks=reader.connections + reader.gaps + reader.dropped,
            over=reader.ended,
        )
