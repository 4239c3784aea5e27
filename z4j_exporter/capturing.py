"""Takes what capture hooks tell to all who use it: groups, traces, metrics and the journal."""

import time
from collections.abc import Callable

from z4j_exporter.backend.lookup import BackendLookup, make_backend_lookup
from z4j_exporter.config import Settings
from z4j_exporter.events.captured import Captured
from z4j_exporter.events.model import Event
from z4j_exporter.journal.journal import make_journal
from z4j_exporter.metrics.captured import CaptureMetrics
from z4j_exporter.metrics.groups import make_group_metrics
from z4j_exporter.metrics.journal import BackendMetrics, JournalMetrics
from z4j_exporter.metrics.store import FamilySnapshot, Store
from z4j_exporter.tracing.hooked import HookFacts
from z4j_exporter.track.group_model import GroupTransition
from z4j_exporter.track.groups import GroupTracker
from z4j_exporter.track.table import Task
from z4j_exporter.track.trace_roots import TraceRoots
from z4j_exporter.track.transitions import Emit, TaskTransition, Transition

#: Runs something in the applier's thread, soon.
Post = Callable[[Callable[[], object]], object]


class Capturing:
    """The users of the hook's notes. The applier's thread calls all but ``start`` and ``stop``.

    ``post`` runs what the result backend told in the applier's thread; ``since`` is when this
    program began to listen (epoch seconds; now). Raises ConfigError,
    FileError and JournalError for settings that cannot work.
    """

    def __init__(
        self, settings: Settings, store: Store, post: Post, *, since: float | None = None
    ) -> None:
        self._post = post
        #: Whether there is a hook, or a group: without them their families would only be noise.
        self._any = False
        self._lookup: Callable[[str], Task | None] = lambda _uuid: None
        self._groups_metrics = make_group_metrics(settings, store)
        self._reports = (
            CaptureMetrics(store, since=time.time() if since is None else since)
            if self._groups_metrics
            else None
        )
        #: What the tracer asks: which trace a task is in, and what else is known of it.
        self.roots = TraceRoots()
        self.facts = HookFacts()
        self.groups = GroupTracker(self._count, lambda uuid: self._lookup(uuid))
        self.journal = make_journal(settings)
        self._backend = make_backend_lookup(settings, self._learned)
        self._journal_metrics, self._backend_metrics = JournalMetrics(), BackendMetrics()

    @property
    def backend(self) -> BackendLookup | None:
        """What looks groups up in the result backend; None where there is nothing to ask."""
        return self._backend

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads, where there are any."""
        if self.journal is not None:
            self.journal.start()
        if self._backend is not None:
            self._backend.start()

    def stop(self, seconds: float) -> None:
        """Stop the threads; the journal writes what it has."""
        if self._backend is not None:
            self._backend.stop(seconds / 2)
        if self.journal is not None:
            self.journal.stop(seconds / 2)

    # -- the tracker ---------------------------------------------------------------------------

    def attach(self, lookup: Callable[[str], Task | None]) -> None:
        """Take what finds a task by its uuid: the tracker's table."""
        self._lookup = lookup

    def following(self, emit: Emit) -> Emit:
        """Return an emit that shows transitions to the groups too, once there are any."""
        roles, take, backend = self.groups.table.roles, self.groups.take, self._backend

        def follow(transition: Transition) -> None:
            emit(transition)
            if roles:
                take(transition)

        def follow_and_ask(transition: Transition) -> None:
            follow(transition)
            if (
                isinstance(transition, TaskTransition)
                and transition.final
                and transition.uuid not in roles
                and backend is not None
                and not self._told(transition)
            ):
                backend.look_up(transition.uuid)

        return follow if backend is None else follow_and_ask

    def captured(self, note: Captured, event: Event, now: float) -> None:
        """Take one note."""
        self._any = True
        self.groups.captured(note, event, now)
        self.roots.learn(note)
        self.facts.learn(note)
        if self._groups_metrics is not None:
            self._groups_metrics.captured(note)
        if self._reports is not None:
            self._reports.captured(note, event)
        if self.journal is not None:
            self.journal.captured(note, event)

    def tick(self, now: float) -> None:
        """Let time pass, after the tracker's own tick."""
        self.groups.tick(now)

    def collect(self, floor: int) -> list[FamilySnapshot]:
        """Return the families of what is there; series born after ``floor`` show as 0."""
        families: list[FamilySnapshot] = []
        if self._any and self._groups_metrics is not None:
            families += self._groups_metrics.collect(self.groups, floor)
        return families + self.reports()

    def reports(self) -> list[FamilySnapshot]:
        """Return what hooks, the journal and the result backend say of themselves: few series."""
        families: list[FamilySnapshot] = []
        if self._any and self._reports is not None:
            families += self._reports.collect()
        if self.journal is not None:
            families += self._journal_metrics.collect(self.journal.stats())
        if self._backend is not None:
            families += self._backend_metrics.collect(self._backend.counts())
        return families

    # -- parts ---------------------------------------------------------------------------------

    def _told(self, end: TaskTransition) -> bool:
        """Return whether a hook told of a task's last message, and so of its group or of none."""
        return self.facts.of(end.uuid, (end.attempts or 1) - 1, end.name) is not None

    def _count(self, step: GroupTransition) -> None:
        if self._groups_metrics is not None:
            self._groups_metrics.take(step)

    def _learn(self, uuid: str, group_id: str, parent_id: str | None) -> None:
        self._any = True
        self.groups.learn(uuid, group_id, time.monotonic(), parent_id)
        self.facts.learn_group(uuid, group_id)

    def _learned(self, uuid: str, group_id: str, parent_id: str | None) -> None:
        """Take a group that the result backend told of, in the lookup's thread."""
        self._post(lambda: self._learn(uuid, group_id, parent_id))
        if self.journal is not None:
            self.journal.learn(uuid, group_id)
