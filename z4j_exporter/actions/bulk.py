"""Jobs: many tasks sent again one by one, slowly, in a thread of their own.

Each task is checked when its turn comes, marked in the journal, sent and settled. A job that the
process did not finish can be resumed: only tasks that were never begun are sent then.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from z4j_exporter.actions.engine_audit import Audit
from z4j_exporter.actions.engine_parts import OnStep
from z4j_exporter.actions.engine_request import Sending
from z4j_exporter.actions.engine_retry import Ready, Retries
from z4j_exporter.actions.engine_stored import sending_of
from z4j_exporter.actions.groups_chord import NewChord
from z4j_exporter.actions.groups_whole import Chords
from z4j_exporter.actions.model import Action, ActionError, Actor, State, Verb
from z4j_exporter.actions.records import ActionJournal, JournalUnavailable
from z4j_exporter.actions.records_items import Settled
from z4j_exporter.actions.records_rows import Item
from z4j_exporter.actions.records_states import ItemState

logger = logging.getLogger(__name__)

#: Jobs that may wait for their turn; each has up to 10 000 tasks.
_MOST_WAITING: Final = 16
#: Seconds that finding one task's payload may take: a job has many.
_FIND_SECONDS: Final = 3.0
#: Refusals in a row, of the broker or the journal, after which a job stops and can be resumed.
_MOST_OUTAGES: Final = 5
_STOPPED: Final = "stopped"


class Holds(Protocol):
    """Whether an actor of an earlier request still has its rights; see policy.Authorizer."""

    def still_holds(self, actor: Actor) -> bool:
        """Return whether it has."""


@dataclass(slots=True)
class _Job:
    action: Action
    sending: Sending
    from_state: tuple[Any, ...]
    interval_seconds: float
    #: Of a chord that is sent again as a whole.
    chord: NewChord | None = None
    announced: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    cancelled_by: str = ""


class _Interrupted(Exception):  # noqa: N818 - no error: the job goes on when it is resumed
    """The job stops here, with the rest of its tasks not begun."""


class Jobs:
    """One thread that works on one job at a time. ``rate``: tasks a second, unless it says less."""

    def __init__(
        self,
        journal: ActionJournal,
        audit: Audit,
        retries: Retries,
        access: Holds,
        *,
        chords: Chords | None = None,
        rate: float,
        on_step: OnStep,
        count: Callable[[Verb, str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._audit = audit
        self._retries = retries
        self._access = access
        self._chords = chords
        self._rate = rate
        self._step = on_step
        self._count = count
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="z4j-bulk", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Stop after the task that is being sent; the rest can be resumed after a restart."""
        self._stopping.set()
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def room(self) -> None:
        """Raise ActionError (503, jobs-waiting) when too many jobs wait already."""
        if len(self._jobs) >= _MOST_WAITING or self._stopping.is_set():
            raise ActionError(
                "jobs-waiting",
                503,
                "Too many jobs wait already; nothing was done.",
                hint="Try again when one of them has ended.",
            )

    def add(self, action: Action) -> None:
        """Work on a job that the journal has as running."""
        rate = min(self._rate, action.options.get("rate") or self._rate)
        told = _told(action)
        chord = NewChord.of(told) if action.options.get("whole") else None
        job = _Job(action, sending_of(action.options), _from_state(action), 1 / rate, chord)
        with self._lock:
            self._jobs[action.id] = job
        self._waiting.put(job)

    def cancel(self, action_id: str, by: str) -> None:
        """Stop a job before its next task. Raises ActionError (409, job-not-running)."""
        with self._lock:
            job = self._jobs.get(action_id)
        if job is None:
            raise ActionError("job-not-running", 409, "This is no job that is at work.")
        job.cancelled_by = by
        job.cancelled.set()

    def resume(self, action_id: str) -> Action:
        """Go on with a job that was interrupted. Raises ActionError: 404, 409 (not-resumable)."""
        self.room()
        action = self._journal.resume(action_id)
        self.add(action)
        return action

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None:
            try:
                self._work(job)
            except Exception:
                logger.exception("job %s ended with an unforeseen error", job.action.id)
                self._leave(job)
            finally:
                with self._lock:
                    self._jobs.pop(job.action.id, None)

    def _work(self, job: _Job) -> None:
        try:
            stopped = self._send_all(job)
        except _Interrupted as why:
            logger.warning("job %s stopped: %s", job.action.id, why)
            self._leave(job)
            return
        try:
            ended = self._journal.finish_job(job.action.id, _told(job.action), stopped=stopped)
        except JournalUnavailable:
            logger.error("job %s: its end is not in the journal", job.action.id)
            self._audit.outcome(job.action, "journal-unavailable")
            return
        self._audit.outcome(job.action, str(ended.state))
        self._count(job.action.verb, str(ended.state))

    def _send_all(self, job: _Job) -> str:
        """Send task after task; return why it was stopped, "" when all are settled."""
        due = self._monotonic()
        outages = 0
        while item := self._next(job):
            if self._pause(job, due):
                return f"cancelled by {job.cancelled_by}"
            due = max(due, self._monotonic()) + job.interval_seconds
            if not self._access.still_holds(job.action.actor):
                return "the rights of who asked for it have ended"
            error = self._one(job, item)
            if error is not None and job.chord is not None:
                return f"a member of the chord was not sent ({error.kind}): its body will not run"
            outages = outages + 1 if error is not None and error.status >= 500 else 0
            if outages >= _MOST_OUTAGES:
                raise _Interrupted(f"{outages} failures in a row, the last: {error and error.kind}")
        return ""

    def _next(self, job: _Job) -> Item | None:
        try:
            items = self._journal.items.list(job.action.id, state=ItemState.WAITING, limit=1)
        except JournalUnavailable as error:
            raise _Interrupted(error.kind) from None
        return items[0] if items else None

    def _pause(self, job: _Job, due: float) -> bool:
        """Wait for a task's turn; return whether the job was cancelled."""
        while (seconds := due - self._monotonic()) > 0 and not job.cancelled.is_set():
            if self._stopping.is_set():
                break
            job.cancelled.wait(min(seconds, 0.2))
        if self._stopping.is_set():
            raise _Interrupted("the exporter stops")
        return job.cancelled.is_set()

    def _one(self, job: _Job, item: Item) -> ActionError | None:
        action = job.action
        try:
            ready = self._retries.prepare(
                action.actor,
                item.task_id,
                verb=action.verb,
                sending=job.sending,
                from_state=job.from_state,
                timeout_seconds=_FIND_SECONDS,
            )
        except ActionError as error:
            kind = ItemState.FAILED if error.status >= 500 else ItemState.REFUSED
            self._settle(action, Settled(item.position, kind, _problem(error)))
            return error
        self._announce(job)
        self._step("item-ready")
        try:
            taken = self._journal.items.take(action.id, 1)
        except JournalUnavailable as error:
            raise _Interrupted(error.kind) from None
        self._step("item-taken")
        failed: ActionError | None = None
        try:
            detail = self._send(job, ready, taken[0].new_id)
            settled = Settled(item.position, ItemState.SENT, detail)
        except ActionError as error:
            kind = ItemState.UNKNOWN if error.unknown else ItemState.FAILED
            settled, failed = Settled(item.position, kind, _problem(error)), error
        self._step("item-sent")
        self._settle(action, settled)
        self._step("item-settled")
        return failed

    def _send(self, job: _Job, ready: Ready, new_id: str) -> dict[str, Any]:
        if job.chord is not None and self._chords is not None:
            return self._chords.send(ready, new_id, job.chord)
        return self._retries.send(ready, new_id)

    def _announce(self, job: _Job) -> None:
        """Tell the backend the size of a chord, before its first member is sent."""
        if job.chord is None or job.announced:
            return
        try:
            if self._chords is None:
                raise ActionError("chords-unavailable", 422, "Chords cannot be sent any more.")
            self._chords.announce(job.chord)
        except ActionError as error:
            raise _Interrupted(error.kind) from None
        job.announced = True

    def _settle(self, action: Action, settled: Settled) -> None:
        try:
            self._journal.items.settle(action.id, [settled])
        except JournalUnavailable as error:
            raise _Interrupted(error.kind) from None

    def _leave(self, job: _Job) -> None:
        """Write down that the job stands still, with the rest of its tasks not begun."""
        told = _told(job.action) | {"interrupted": _STOPPED}
        try:
            self._journal.finish(job.action.id, State.UNKNOWN, told)
        except JournalUnavailable:
            logger.error("job %s: its state is not in the journal", job.action.id)
        self._audit.outcome(job.action, "unknown: stopped before its end")
        self._count(job.action.verb, str(State.UNKNOWN))


def _told(action: Action) -> dict[str, Any]:
    return dict(action.options.get("told") or {})


def _from_state(action: Action) -> tuple[Any, ...]:
    stored = tuple(action.options.get("from_state") or ())
    chosen = action.options.get("filter")
    return stored or ((chosen["state"],) if chosen else ())


def _problem(error: ActionError) -> dict[str, Any]:
    return {"kind": error.kind, "detail": error.detail}
