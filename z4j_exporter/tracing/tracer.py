"""Follows attempts to their end and hands out their spans, once each, when stragglers are in."""

import logging
from collections import Counter, deque
from collections.abc import Callable

from z4j_exporter.config import Settings
from z4j_exporter.tracing.attributes import Described
from z4j_exporter.tracing.hooked import FactsOf
from z4j_exporter.tracing.ids import Operation, span_id
from z4j_exporter.tracing.lineage import Lineage, Lookup, doubtful, fix_place, notes_of, place, ran
from z4j_exporter.tracing.model import CLIENT, CONSUMER, INTERNAL, PRODUCER, Span
from z4j_exporter.tracing.retried import RetryOf
from z4j_exporter.tracing.sampling import Keep, Ratio, parse_keep
from z4j_exporter.tracing.services import Services
from z4j_exporter.tracing.spans import Builder
from z4j_exporter.tracing.times import left_open
from z4j_exporter.tracing.traces import OPEN, PENDING, SAMPLED_OUT, SETTLED, Traces
from z4j_exporter.track.attempts import Attempt, Notes
from z4j_exporter.track.table import Task
from z4j_exporter.track.trace_roots import TraceRoots
from z4j_exporter.track.transitions import TaskTransition, TraceRef

logger = logging.getLogger(__name__)

#: Seconds after its end during which an attempt's other events are waited for.
SETTLE_SECONDS = 2.0
#: Attempts that wait at the most; beyond it the oldest are settled early.
MAX_PENDING = 50_000
#: Spans handed out at once, and those of one attempt.
_BATCH_SPANS = 512

_ENDS = frozenset(
    {"succeeded", "failed", "retried", "rejected", "revoked", "cancelled", "lost", "unseen"}
)
#: Ends that no transition tells.
_SILENT_ENDS = frozenset({"replaced", "late"})
#: Why attempts have no spans: their root is not known; the task was joined late and it cannot be
#: told which attempt it is; they ended again when their spans were made; an error of ours.
DROPPED = ("unknown_root", "joined_late", "late", "error")
_OPERATIONS = {PRODUCER: "send", CONSUMER: "process", INTERNAL: "wait", CLIENT: "revoke"}

EmitSpans = Callable[[list[Span]], None]


class Tracer:
    """Makes spans of what the tracker sees. Owned by the applier, as the tracker is.

    All that it makes is a function of the events' own times and ids, so two exporters make the
    same. Spans of one attempt are handed to ``emit`` together.
    """

    def __init__(
        self,
        builder: Builder,
        lineage: Lineage,
        emit: EmitSpans,
        *,
        ratio: Ratio,
        keep: Keep,
        traces: Traces,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._builder = builder
        self._lineage = lineage
        self._emit = emit
        self._ratio = ratio
        self._keep = keep
        self._traces = traces
        self._max_pending = max_pending
        self._pending: deque[tuple[Task, Attempt]] = deque()
        # Attempts that ever came in and went out; and until which of them may go out when.
        self._taken = self._done = 0
        self._due: deque[tuple[float, int]] = deque()
        #: Spans made, by operation.
        self.made: Counter[str] = Counter(dict.fromkeys(_OPERATIONS.values(), 0))
        #: Attempts without spans, by reason (`DROPPED`).
        self.dropped: Counter[str] = Counter(dict.fromkeys(DROPPED, 0))
        #: Attempts left out by the ratio. One that a later failure of its task brings back stays
        #: counted.
        self.sampled_out = 0

    def attach(self, lookup: Lookup) -> None:
        """Take what finds a task by its uuid: the tracker's table."""
        self._lineage.lookup = lookup

    @property
    def clamped(self) -> int:
        """Starts that were moved, since two hosts' clocks put a run before its send."""
        return self._builder.clamped

    def trace_of(self, task: Task) -> bytes | None:
        """Return the id of the trace that a task is in, kept or not; None while it is not known."""
        return None if task.root_id is None else self._traces.of(task)

    # -- the observer --------------------------------------------------------------------------

    def observe(self, task: Task, attempt: Attempt, step: TaskTransition) -> None:
        """Take note of a transition; ``step.trace`` is set if its trace is kept."""
        try:
            if step.kind in _ENDS:
                self._observe_end(task, attempt, step)
            elif step.kind == "started":
                self._observe_start(task, attempt, step)
            if len(task.attempts) > 1:
                self._sweep(task)
        except Exception:  # noqa: BLE001  # whatever fails here, metrics must get the transition
            self._failed()

    def tick(self, now: float) -> None:
        """Settle what ended long enough ago."""
        if not self._due or self._due[-1][1] < self._taken:
            self._due.append((now + SETTLE_SECONDS, self._taken))
        until = 0
        while self._due and self._due[0][0] <= now:
            until = self._due.popleft()[1]
        self._settle(until - self._done)

    def flush(self) -> None:
        """Settle all that ended."""
        self._settle(len(self._pending))

    # -- parts ---------------------------------------------------------------------------------

    def _observe_start(self, task: Task, attempt: Attempt, step: TaskTransition) -> None:
        notes = notes_of(attempt)
        if step.runtime is not None:  # its end came before
            self._apply_rules(task, notes, step)
        if self._is_kept(task, notes):
            step.trace = self._trace(task, attempt, notes)

    def _observe_end(self, task: Task, attempt: Attempt, step: TaskTransition) -> None:
        notes = notes_of(attempt)
        self._apply_rules(task, notes, step)
        kept = self._is_kept(task, notes)
        if notes.fate == OPEN:
            if step.kind == attempt.end:
                notes.detail = step.detail
            if attempt.ended is not None:
                self._enqueue(task, attempt, notes, kept)
        elif notes.fate != PENDING and not step.repeat:
            self.dropped["late"] += 1
        if kept:
            step.trace = self._trace(task, attempt, notes)

    def _apply_rules(self, task: Task, notes: Notes, step: TaskTransition) -> None:
        if not self._ratio.keeps_all and self._keep.matches(step.kind, step.runtime):
            notes.kept = True
            self._bring_back(task)

    def _sweep(self, task: Task) -> None:
        """Take the attempts that were closed without a transition, or that nothing closed.

        The latter when their task has ended with a later one: their worker died, most likely.
        """
        for attempt in task.attempts:
            if (attempt.end in _SILENT_ENDS and ran(attempt)) or (
                task.outcome is not None and left_open(task, attempt)
            ):
                notes = notes_of(attempt)
                if notes.fate == OPEN:
                    self._enqueue(task, attempt, notes, self._is_kept(task, notes))

    def _bring_back(self, task: Task) -> None:
        """Take the attempts that were left out before their task was found worth keeping."""
        for attempt in task.attempts:
            notes = notes_of(attempt)
            if notes.fate == SAMPLED_OUT:
                self._enqueue(task, attempt, notes, kept=True)

    def _enqueue(self, task: Task, attempt: Attempt, notes: Notes, kept: bool) -> None:
        if task.root_id is not None and doubtful(task, attempt):
            notes.fate = SETTLED
            self.dropped["joined_late"] += 1
            return
        # Deliveries are counted now, while those before it are remembered.
        if fix_place(task, attempt).ordinal:
            notes.trace = None  # it was made for the first
        # Where a note may still move it to another trace, that is decided in the end.
        if not kept and task.root_id is not None and not self._traces.may_change:
            notes.fate = SAMPLED_OUT
            self.sampled_out += 1
            return
        notes.fate = PENDING
        self._pending.append((task, attempt))
        self._taken += 1
        if len(self._pending) > self._max_pending:
            self._settle(1)

    def _is_kept(self, task: Task, notes: Notes) -> bool:
        """Return whether it is kept, by all that is known of its task by now."""
        if task.root_id is None:
            return False
        if self._ratio.keeps_all:
            return True
        if notes.chosen is None or self._traces.is_told(task):
            notes.chosen = self._ratio.keeps(self._traces.of(task))
            if not notes.kept and self._traces.is_joined(task):
                # The application keeps it: with half of a trace it could do little.
                notes.kept = True
                self._bring_back(task)
        if notes.chosen or notes.kept:
            return True
        return len(task.attempts) > 1 and _kept_by_rule(task)

    def _trace(self, task: Task, attempt: Attempt, notes: Notes) -> TraceRef | None:
        """Return its own span: of its run, else of its revocation."""
        known = notes.trace
        if known is not None and not self._traces.is_moved(task, known.trace_id):
            return known
        if task.root_id is None or doubtful(task, attempt):
            return None
        number, ordinal = place(task, attempt)
        if not ran(attempt):
            # Its start may be on the way: this is not for good.
            own = span_id(task.uuid, "revoke", number, ordinal)
            return TraceRef(self._traces.of(task), own)
        ref = TraceRef(self._traces.of(task), span_id(task.uuid, "process", number, ordinal))
        if notes.ordinal >= 0 or (ordinal == 0 and attempt.retries is not None):
            notes.trace = ref
        return ref

    def _settle(self, count: int) -> None:
        spans: list[Span] = []
        for _ in range(min(count, len(self._pending))):
            task, attempt = self._pending.popleft()
            self._done += 1
            try:
                self._spans(task, attempt, spans)
            except Exception:  # noqa: BLE001  # one bad attempt must not take the others with it
                self._failed()
            if len(spans) >= _BATCH_SPANS:
                self._emit(spans)
                spans = []
        if spans:
            self._emit(spans)

    def _spans(self, task: Task, attempt: Attempt, spans: list[Span]) -> None:
        notes = notes_of(attempt)
        if task.root_id is None:
            notes.fate = SETTLED
            notes.exception = notes.traceback = None
            self.dropped["unknown_root"] += 1
            return
        if not self._is_kept(task, notes):
            notes.fate = SAMPLED_OUT
            self.sampled_out += 1
            return
        trace = self._fix_trace(task, attempt, notes)
        trace_state = ""
        if notes.chosen and not notes.kept:
            # What a rule keeps is no sample: to count it as 1/ratio would be wrong.
            trace_state = self._ratio.trace_state(trace)
        notes.fate = SETTLED
        for span in self._builder.build(task, attempt, trace, trace_state):
            self.made[_OPERATIONS[span.kind]] += 1
            spans.append(span)
        # The longest texts, in the spans by now: a hundred thousand tasks may be remembered.
        notes.exception = notes.traceback = None

    def _fix_trace(self, task: Task, attempt: Attempt, notes: Notes) -> bytes:
        """Return its trace, for good: its task's other attempts will be in the same."""
        known = notes.trace
        if known is not None and not self._traces.is_moved(task, known.trace_id):
            return known.trace_id
        trace = self._traces.of(task)
        if self._traces.may_change:
            kind: Operation = "process" if ran(attempt) else "revoke"
            own = span_id(task.uuid, kind, notes.number, notes.ordinal)
            notes.trace = TraceRef(trace, own)
        return trace

    def _failed(self) -> None:
        self.dropped["error"] += 1
        if self.dropped["error"] == 1:
            logger.exception("tracing failed (this is a bug; told once, counted each time)")


def _kept_by_rule(task: Task) -> bool:
    return any(a.notes is not None and a.notes.kept for a in task.attempts)


def make_tracer(
    settings: Settings,
    *,
    system: str,
    address: str,
    port: int | None,
    emit: EmitSpans,
    roots: TraceRoots | None = None,
    captured: FactsOf | None = None,
    retry_of: RetryOf | None = None,
) -> Tracer:
    """Return the tracer that the settings ask for.

    ``system`` is messaging.system, ``address`` and ``port`` are the broker's. ``roots`` and
    ``captured`` are what the capture hook's notes told (HookFacts.of), where they are read;
    ``retry_of`` tells what the actions sent again (Retried.of). Raises ConfigError for rules that
    cannot be read.
    """
    traces = Traces(roots)
    lineage = Lineage(lambda _uuid: None, traces)
    builder = Builder(
        Described(system, address, port),
        Services(settings.trace_service),
        lineage,
        wait_spans=settings.trace_wait_spans,
        retry_error=settings.trace_retry_error,
        captured=captured,
        retry_of=retry_of,
    )
    return Tracer(
        builder,
        lineage,
        emit,
        ratio=Ratio(settings.trace_ratio),
        keep=parse_keep(settings.trace_keep),
        traces=traces,
    )
