"""The one path that every action takes, whoever asks: permit, write down, do, write down.

The order that keeps it honest: what is asked is permitted, then written as pending into the
journal (with the new ids and the idempotency key), checked, told to the audit log (on the disk
before anything is sent), done once, and written down again. A process that dies on the way
leaves an action that is unknown at the next start, and nothing is sent again by itself.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from z4j_exporter.actions.bulk import Jobs
from z4j_exporter.actions.bulk_select import Selector
from z4j_exporter.actions.engine_audit import Audit, Log
from z4j_exporter.actions.engine_confirm import Confirmations
from z4j_exporter.actions.engine_deeds import Deed, deed_of
from z4j_exporter.actions.engine_look import Looks
from z4j_exporter.actions.engine_parts import (
    JOBS,
    Access,
    EngineLimits,
    OnStep,
    Outcome,
    Performs,
    Planned,
    Refusal,
    may_pass,
)
from z4j_exporter.actions.engine_plan import Planner
from z4j_exporter.actions.engine_request import Request
from z4j_exporter.actions.engine_retry import Retries
from z4j_exporter.actions.engine_stored import raise_stored
from z4j_exporter.actions.engine_tasks import Tasks
from z4j_exporter.actions.groups import Groups
from z4j_exporter.actions.groups_whole import Chords
from z4j_exporter.actions.model import Action, ActionError, Actor, State, Verb
from z4j_exporter.actions.records import ActionJournal, JournalUnavailable
from z4j_exporter.actions.records_items import Settled
from z4j_exporter.actions.records_states import ItemState

__all__ = ["Engine", "EngineLimits"]

logger = logging.getLogger(__name__)

_NOT_RECORDED = "The journal could not take the outcome; after a restart it will say unknown."


def _no_step(name: str) -> None: ...


class Engine:
    """Plans and does actions; any thread may call. Call ``start`` before, ``stop`` at the end.

    ``clock`` is epoch seconds.
    """

    def __init__(
        self,
        *,
        journal: ActionJournal,
        audit: Log,
        performer: Performs,
        access: Access,
        tasks: Tasks,
        groups: Groups | None = None,
        chords: Chords | None = None,
        limits: EngineLimits | None = None,
        clock: Callable[[], float] = time.time,
        on_step: OnStep = _no_step,
    ) -> None:
        limits = limits or EngineLimits()
        self.journal = journal
        self.tasks = tasks
        self.performer = performer
        self.access = access
        #: Actions by verb and outcome (the state, or the kind of the problem); dry runs apart.
        self.actions_total: Counter[tuple[str, str]] = Counter()
        self._counting = threading.Lock()
        self._audit = Audit(audit)
        self._clock = clock
        self._step = on_step
        self._confirmations = Confirmations(clock)
        self._retries = Retries(performer, access, tasks, journal.items, cap=limits.retries_chain)
        #: Reading: tasks, groups, actions.
        self.looks = Looks(
            journal=journal, performer=performer, access=access, tasks=tasks, groups=groups
        )
        self._selector = Selector(
            tasks, groups, access, retries=self._retries, cap=limits.bulk_cap, chords=chords
        )
        self.jobs = Jobs(
            journal,
            self._audit,
            self._retries,
            access,
            chords=chords,
            rate=limits.bulk_rate,
            on_step=on_step,
            count=self._count,
        )
        self._planner = Planner(tasks, access, self._selector, self.jobs.room, clock)

    # life

    def start(self) -> None:
        """Tell the audit log what the last process left unfinished, and begin to take jobs.

        Raises AuditUnavailable.
        """
        for action_id in self.journal.interrupted:
            action = self.journal.get(action_id)
            self._audit.interrupted(action)
            self._count(action.verb, str(action.state))
        self.jobs.start()

    def stop(self, timeout_seconds: float) -> None:
        """End the jobs' thread; a job that is not done goes on when somebody resumes it."""
        self.jobs.stop(timeout_seconds)

    def stranger(self, error: ActionError) -> None:
        """Write down that somebody who is not known asked. Raises nothing."""
        self._audit.stranger(error)

    # doing

    def submit(self, request: Request) -> Outcome:
        """Do what is asked, or begin it (bulk, group).

        Raises ActionError; as a Refusal with the action's id when one was begun.
        """
        planned = self.plan(request)
        begun = self.journal.begin(planned.action)
        if not begun.fresh:
            raise_stored(begun.action)
            return Outcome(begun.action, replayed=True)
        self._step("begun")
        return self.carry_out(planned)

    def plan(self, request: Request) -> Planned:
        """Permit a request and seal its targets; nothing is written but a denial.

        ``journal.begin`` (or ``begin_for_alert``) with its action and ``carry_out`` follow.
        Raises ActionError: 403, 404, 422, 503.
        """
        try:
            return self._planner.plan(request)
        except ActionError as error:
            self._count(request.verb, error.kind)
            if error.status == 403:
                self._audit.denied(request, error)
            raise

    def carry_out(self, planned: Planned) -> Outcome:
        """Do an action that the journal has as pending. Raises Refusal."""
        action = planned.action
        try:
            if action.verb in JOBS:
                return self._begin_job(planned)
            return self._do(planned)
        except ActionError as error:
            self._count(action.verb, error.kind)
            raise Refusal.of(error, action.id) from None

    def cancel_job(self, actor: Actor, action_id: str) -> Action:
        """Stop a job before its next task. Raises ActionError: 403, 404, 409, 503."""
        action = self._job(actor, action_id)
        self._audit.told(action, actor, "cancel asked for")
        self.jobs.cancel(action_id, actor.name)
        return self.journal.get(action_id)

    def resume_job(self, actor: Actor, action_id: str) -> Action:
        """Go on with a job that was interrupted. Raises ActionError: 403, 404, 409, 503."""
        action = self._job(actor, action_id)
        self._audit.told(action, actor, "resume asked for")
        return self.jobs.resume(action_id)

    # one target

    def _do(self, planned: Planned) -> Outcome:
        action = planned.action
        deed = deed_of(planned, self.performer, self._retries, self._confirmations)
        told = self._checked(planned, deed)
        self._step("checked")
        self._tell_requested(planned)
        self._step("audited")
        if action.dry_run:
            return self._finished(action, State.DONE, told)
        self._start(action)
        self._step("started")
        try:
            result = deed.act()
        except ActionError as error:
            self._failed(action, error)
            raise
        except Exception:
            # Nobody knows how far it came.
            logger.exception("action %s ended with an unforeseen error", action.id)
            unforeseen = ActionError(
                "unforeseen", 500, "The exporter failed; it may have happened.", unknown=True
            )
            self._failed(action, unforeseen)
            raise unforeseen from None
        self._step("acted")
        return self._finished(action, State.DONE, result)

    def _checked(self, planned: Planned, deed: Deed) -> dict[str, Any]:
        try:
            if planned.action.dry_run:
                return deed.look()
            deed.ready()
        except ActionError as error:
            self._refuse(planned.action, error)
            raise
        except Exception:
            logger.exception("action %s ended with an unforeseen error", planned.action.id)
            unforeseen = ActionError("unforeseen", 500, "The exporter failed; nothing was done.")
            self._refuse(planned.action, unforeseen)
            raise unforeseen from None
        return {}

    def _start(self, action: Action) -> None:
        try:
            self.journal.start(action.id, take=1)
        except JournalUnavailable:
            self._audit.outcome(action, "journal-unavailable")
            raise

    def _failed(self, action: Action, error: ActionError) -> None:
        state = State.UNKNOWN if error.unknown else State.FAILED
        stored = {"problem": Refusal.of(error).stored()}
        item = ItemState.UNKNOWN if error.unknown else ItemState.FAILED
        settled = self._settled(action, item, {"kind": error.kind})
        self._record(action, state, stored, settled, release=may_pass(error))
        self._audit.outcome(action, f"{state}: {error.kind}")

    def _finished(self, action: Action, state: State, result: dict[str, Any]) -> Outcome:
        settled = () if action.dry_run else self._settled(action, ItemState.SENT, result)
        # The journal is read by others than who may purge.
        stored = {key: value for key, value in result.items() if key != "confirm"}
        ended, notes = self._record(action, state, stored, settled)
        self._step("recorded")
        notes += self._audit.outcome(action, str(state))
        self._step("told")
        self._count(action.verb, "dry-run" if action.dry_run else str(state))
        return Outcome(replace(ended, result=result), notes=notes)

    # parts

    def _begin_job(self, planned: Planned) -> Outcome:
        action = planned.action
        if action.dry_run:
            self._tell_requested(planned)
            told = planned.told | self._selector.sample(planned)
            return self._finished(action, State.DONE, told)
        self._tell_requested(planned)
        self._step("audited")
        self._start_job(planned)
        self._step("started")
        self._count(action.verb, "accepted")
        return Outcome(self.journal.get(action.id))

    def _start_job(self, planned: Planned) -> None:
        try:
            self.journal.start(planned.action.id)
        except JournalUnavailable:
            self._audit.outcome(planned.action, "journal-unavailable")
            raise
        self.jobs.add(planned.action)

    def _tell_requested(self, planned: Planned) -> None:
        try:
            self._audit.requested(planned.action, planned.request.arguments())
        except ActionError as error:
            self._refused(planned.action, error)
            raise

    def _refuse(self, action: Action, error: ActionError) -> None:
        """Write down that nothing was done, in journal and audit log."""
        self._refused(action, error)
        self._audit.refused(action, error)

    def _refused(self, action: Action, error: ActionError) -> None:
        stored = {"problem": Refusal.of(error).stored()}
        self._record(action, State.REFUSED, stored, (), release=may_pass(error))

    def _record(
        self,
        action: Action,
        state: State,
        result: dict[str, Any],
        settled: tuple[Settled, ...],
        *,
        release: bool = False,
    ) -> tuple[Action, tuple[str, ...]]:
        try:
            ended = self.journal.finish(action.id, state, result, settled=settled, release=release)
            return ended, ()
        except JournalUnavailable:
            logger.error("action %s: its outcome is not in the journal", action.id)
            ended = replace(action, state=state, result=result, finished_at=self._clock())
            return ended, (_NOT_RECORDED,)

    def _settled(
        self, action: Action, state: ItemState, detail: dict[str, Any]
    ) -> tuple[Settled, ...]:
        return (Settled(0, state, detail),) if action.new_task_ids else ()

    def _job(self, actor: Actor, action_id: str) -> Action:
        self.access.permit_role(actor, Verb.BULK_RETRY)
        action = self.journal.get(action_id)
        if action.verb not in JOBS:
            raise ActionError("no-job", 409, "This action is no job.")
        return action

    def _count(self, verb: Verb, outcome: str) -> None:
        with self._counting:
            self.actions_total[verb.value, outcome] += 1
