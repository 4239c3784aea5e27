"""Builds the spans of an attempt: send, process, wait, revoke, of what is known of it by now."""

from msgspec import Struct

from z4j_exporter.tracing.attributes import Described, message, repeats, waits
from z4j_exporter.tracing.hooked import FactsOf
from z4j_exporter.tracing.ids import span_id
from z4j_exporter.tracing.lineage import Lineage, Parent, fix_place, notes_of, placed, ran, renamed
from z4j_exporter.tracing.model import (
    CLIENT,
    CONSUMER,
    INTERNAL,
    PRODUCER,
    Attributes,
    Link,
    Source,
    Span,
    SpanEvent,
)
from z4j_exporter.tracing.outcome import outcome, revocation
from z4j_exporter.tracing.retried import RetryOf
from z4j_exporter.tracing.services import Services
from z4j_exporter.tracing.text import clean
from z4j_exporter.tracing.times import ended_ns, nanoseconds, started_ns
from z4j_exporter.track.attempts import Attempt, Notes
from z4j_exporter.track.table import Task


class _Story(Struct, gc=False):
    """One attempt while its spans are made."""

    task: Task
    attempt: Attempt
    notes: Notes
    trace_id: bytes
    trace_state: str
    name: str
    queue: str
    #: The attributes of all its spans.
    message: Attributes
    #: The span that its run hangs under, and when that starts.
    above: bytes = b""
    floor_ns: int = 0
    #: Whether ``above`` is the span of its task-sent.
    sent: bool = False
    #: To the run that it repeats, until one of its spans has it.
    links: tuple[Link, ...] = ()


class Builder:
    """Builds spans. Owned by one thread.

    ``wait_spans`` adds one for the time in the queue; ``retry_error`` marks retried attempts as
    errors. ``captured`` finds what the capture hook told of a message, ``retry_of`` the task
    that one repeats: the first of its spans links to that one's run.
    """

    def __init__(
        self,
        described: Described,
        services: Services,
        lineage: Lineage,
        *,
        wait_spans: bool = False,
        retry_error: bool = False,
        captured: FactsOf | None = None,
        retry_of: RetryOf | None = None,
    ) -> None:
        self._described = described
        self._services = services
        self._lineage = lineage
        self._wait_spans = wait_spans
        self._retry_error = retry_error
        self._captured = captured
        self._retry_of = retry_of
        #: Starts that were moved, since the clocks of two hosts put a run before its send.
        self.clamped = 0

    def build(
        self, task: Task, attempt: Attempt, trace_id: bytes, trace_state: str = ""
    ) -> list[Span]:
        """Return the spans of an attempt that ended, with its send's if that was not made yet."""
        notes = fix_place(task, attempt)
        story = _Story(
            task,
            attempt,
            notes,
            trace_id,
            trace_state,
            attempt.name or task.name or "unknown",
            attempt.queue or task.queue or "",
            self._message(task, attempt, notes.number),
        )
        if self._retry_of is not None and notes.number == notes.ordinal == 0:
            story.links = self._repeated(story)
        is_run = ran(attempt)
        end_ns = ended_ns(task, attempt)
        start_ns = started_ns(attempt, end_ns) if is_run else end_ns
        made: list[Span] = []
        self._hang(story, start_ns, made)
        if start_ns < story.floor_ns:
            start_ns = story.floor_ns
            end_ns = max(start_ns, end_ns)
            self.clamped += 1
        if is_run:
            if self._wait_spans and attempt.sent is not None and attempt.started is not None:
                made.append(self._wait(story, attempt.sent, start_ns))
            made.append(self._process(story, start_ns, end_ns))
        if attempt.end == "revoked" and not _revoked_elsewhere(task, attempt):
            made.append(self._revoke(story, end_ns))
        return made

    def _message(self, task: Task, attempt: Attempt, retries: int) -> Attributes:
        attributes = message(task, attempt, retries)
        if self._captured is not None:
            facts = self._captured(task.uuid, retries, attempt.name or task.name or "")
            if facts is not None:
                attributes += self._described.captured(facts)
        old_id = None if self._retry_of is None else self._retry_of(task.uuid)
        return attributes if old_id is None else (*attributes, repeats(old_id))

    def _repeated(self, story: _Story) -> tuple[Link, ...]:
        """Return the link to what a task repeats: it may be in another trace, long over."""
        old_id = None if self._retry_of is None else self._retry_of(story.task.uuid)
        if old_id is None:
            return ()
        trace, span = self._lineage.last_run(old_id, story.task, story.trace_id)
        return (Link(trace, span, (("celery.retry.of", clean(old_id)),)),)

    def _hang(self, story: _Story, start_ns: int, made: list[Span]) -> None:
        """Find what the attempt hangs under: its send, else what that would hang under.

        The send is made once: by whichever of the deliveries that came of it is told first.
        """
        task, attempt, notes = story.task, story.attempt, story.notes
        sender = _sender(task, attempt, notes)
        if sender is not None:
            origin = notes_of(sender)
            notes.origin = origin.ordinal
            if not origin.send_ns:
                parent = self._lineage.parent(task, sender)
                origin.send_ns = self._send_ns(task, sender, start_ns)
                made.append(self._send(story, sender, origin, parent))
            notes.send_ns = origin.send_ns
        if notes.origin < 0:
            story.above = self._lineage.parent(task, attempt).span_id
            return
        story.above = span_id(task.uuid, "send", notes.number, notes.origin)
        story.floor_ns = notes.send_ns
        story.sent = True

    def _send_ns(self, task: Task, sender: Attempt, start_ns: int) -> int:
        """Return when the send is, so that no run starts before it.

        task-sent is stamped after publishing, and by another clock than the run.
        """
        sent_ns = nanoseconds(sender.sent or 0.0)
        first_ns = start_ns
        if sender.started is not None:
            first_ns = min(first_ns, started_ns(sender, ended_ns(task, sender)))
        if first_ns < sent_ns:
            self.clamped += 1
            return first_ns
        return sent_ns

    def _send(self, story: _Story, sender: Attempt, origin: Notes, parent: Parent) -> Span:
        task = story.task
        same = sender is story.attempt
        name, common = self._described.common(
            "send",
            story.name if same else sender.name or story.name,
            story.queue if same else sender.queue or story.queue,
        )
        return Span(
            trace_id=story.trace_id,
            span_id=span_id(task.uuid, "send", origin.number, origin.ordinal),
            parent_id=parent.span_id,
            kind=PRODUCER,
            name=name,
            start_ns=origin.send_ns,
            end_ns=origin.send_ns,
            source=self._services.producer(origin.client or "", origin.client_pid, parent.worker),
            attributes=common
            + (story.message if same else self._message(task, sender, origin.number)),
            links=_taken(story),
            trace_state=story.trace_state,
        )

    def _process(self, story: _Story, start_ns: int, end_ns: int) -> Span:
        attempt, notes = story.attempt, story.notes
        name, common = self._described.common("process", story.name, story.queue)
        told = outcome(attempt, notes, end_ns, retry_error=self._retry_error)
        own = notes.trace
        return Span(
            trace_id=story.trace_id,
            span_id=own.span_id
            if own is not None
            else span_id(story.task.uuid, "process", notes.number, notes.ordinal),
            parent_id=story.above,
            kind=CONSUMER,
            name=name,
            start_ns=start_ns,
            end_ns=end_ns,
            source=self._worker(story),
            attributes=common + story.message + waits(attempt) + told.attributes,
            # Conventions ask for the link; Tempo's service graph for the parent.
            links=((Link(story.trace_id, story.above),) if story.sent else ()) + _taken(story),
            events=told.events,
            error=told.error,
            status_message=told.status_message,
            trace_state=story.trace_state,
        )

    def _wait(self, story: _Story, sent: float, start_ns: int) -> Span:
        attempt, notes = story.attempt, story.notes
        since_ns = nanoseconds(max(sent, attempt.eta or 0.0))
        name, common = self._described.common("wait", story.name, story.queue)
        events: tuple[SpanEvent, ...] = ()
        if attempt.received is not None:
            events = (SpanEvent("received", nanoseconds(attempt.received)),)
        return Span(
            trace_id=story.trace_id,
            span_id=span_id(story.task.uuid, "wait", notes.number, notes.ordinal),
            parent_id=story.above,
            kind=INTERNAL,
            name=name,
            start_ns=min(max(since_ns, story.floor_ns), start_ns),
            end_ns=start_ns,
            source=self._worker(story),
            attributes=common + story.message,
            events=events,
            trace_state=story.trace_state,
        )

    def _revoke(self, story: _Story, at_ns: int) -> Span:
        notes = story.notes
        name, common = self._described.common("revoke", story.name, story.queue)
        return Span(
            trace_id=story.trace_id,
            span_id=span_id(story.task.uuid, "revoke", notes.number, notes.ordinal),
            parent_id=story.above,
            kind=CLIENT,
            name=name,
            start_ns=at_ns,
            end_ns=at_ns,
            source=self._worker(story),
            attributes=(
                *common,
                *story.message,
                ("celery.task.state", "REVOKED"),
                *revocation(notes),
            ),
            links=_taken(story),
            trace_state=story.trace_state,
        )

    def _worker(self, story: _Story) -> Source:
        return self._services.worker(story.attempt.worker or "", story.notes.worker_pid)


def _taken(story: _Story) -> tuple[Link, ...]:
    """Return the links that none of the attempt's spans has yet."""
    links, story.links = story.links, ()
    return links


def _sender(task: Task, attempt: Attempt, notes: Notes) -> Attempt | None:
    """Return the delivery whose task-sent an attempt came from: a redelivery has none of its own.

    Where that delivery is forgotten, ``notes.origin`` is set from one that remembers it.
    """
    ordinal = notes.ordinal
    current = attempt
    while current.sent is None:
        ordinal -= 1
        before = placed(task, notes.number, ordinal) if ordinal >= 0 else None
        if before is None or renamed(before, current):
            return None
        known = notes_of(before)
        if known.origin >= 0 and known.send_ns:
            notes.origin, notes.send_ns = known.origin, known.send_ns
            return None
        current = before
    return current


def _revoked_elsewhere(task: Task, attempt: Attempt) -> bool:
    """Return whether another delivery tells of the same revocation: each worker reports its own."""
    if attempt.started is not None or len(task.attempts) == 1:
        return False
    notes = notes_of(attempt)
    for other in task.attempts:
        if other is attempt or other.end != "revoked":
            continue
        known = fix_place(task, other)
        if known.number != notes.number:
            continue
        earlier = (other.ended or 0.0, known.ordinal) < (attempt.ended or 0.0, notes.ordinal)
        if earlier or other.started is not None:
            return True
    return False
