"""The thread that does what alerts have claimed, one after the other, and follows it to its end."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, Protocol

from z4j_exporter.actions.alert_breaker import Breakers
from z4j_exporter.actions.alert_judge import guards_of
from z4j_exporter.actions.alert_queue import Claim, Waiting
from z4j_exporter.actions.alert_request import restored
from z4j_exporter.actions.alert_schema import Rule
from z4j_exporter.actions.alert_stats import AlertStats, Decision
from z4j_exporter.actions.alert_watch import WATCHED_SECONDS, Ended, Facts, Watch
from z4j_exporter.actions.engine_parts import Outcome, Planned, Refusal, may_pass
from z4j_exporter.actions.engine_request import Request
from z4j_exporter.actions.model import Action, ActionError, State
from z4j_exporter.actions.records import ActionJournal, JournalUnavailable
from z4j_exporter.actions.records_alerts import AlertKey

logger = logging.getLogger(__name__)

#: Seconds between two looks at what was retried.
_LOOK_SECONDS: Final = 1.0
#: Seconds to wait when the journal cannot be written.
_OUTAGE_SECONDS: Final = 5.0
#: Actions of the journal that are looked through for what is still to be followed.
_MOST_FOLLOWED: Final = 500


class StopsJobs(Protocol):
    """Jobs at work; see bulk.Jobs."""

    def cancel(self, action_id: str, by: str) -> None:
        """Stop one before its next task. Raises ActionError (409)."""


class Engine(Protocol):
    """What alerts need of the engine; see engine.Engine."""

    @property
    def jobs(self) -> StopsJobs:
        """The jobs at work."""

    def plan(self, request: Request) -> Planned:
        """Permit a request and seal its targets. Raises ActionError."""

    def carry_out(self, planned: Planned) -> Outcome:
        """Do what the journal has as pending. Raises ActionError."""


class Work:
    """Does claims in a thread of its own. ``clock`` is epoch seconds."""

    def __init__(
        self,
        rules: Sequence[Rule],
        engine: Engine,
        journal: ActionJournal,
        tasks: Facts,
        waiting: Waiting,
        stats: AlertStats,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._engine = engine
        self._journal = journal
        self._waiting = waiting
        self._stats = stats
        self._clock = clock
        self._monotonic = monotonic
        #: Guards breakers and watch: who judges asks them too.
        self._lock = threading.Lock()
        self._breakers = Breakers(journal.alerts, clock)
        self._watch = Watch(journal.get, journal.items, tasks, clock)
        self._looked_at = -_LOOK_SECONDS
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="z4j-alerts", daemon=True)

    def start(self) -> None:
        """Begin to work; what waited when the last process died is done first."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Stop after what is being done; the rest is done after the next start."""
        self._stopping.set()
        self._waiting.close()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def admit(self, rule: Rule) -> Literal["closed", "open", "half-open", "waits"]:
        """Return whether a rule's breaker lets it act; see alert_judge.Gate."""
        with self._lock:
            state = self._breakers.admit(rule)
            if state != "half-open":
                return state
            busy = self._waiting.has(rule.name) or self._watch.waits_for(rule.name)
            return "waits" if busy else "half-open"

    def breakers(self) -> dict[str, Literal["closed", "open", "half-open"]]:
        """Return the breakers' states by rule; asks nobody, so that a scrape can."""
        states = self._breakers.states
        return {rule: states.get(rule, "closed") for rule in self._rules}

    def step(self, timeout_seconds: float) -> None:
        """Do one claim, if there is one in time, and look at what was retried."""
        claim = self._waiting.take(timeout_seconds)
        if claim is not None:
            self._do(claim)
        if self._monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = self._monotonic()
            self._look()

    def _run(self) -> None:
        self.go_on()
        while not self._stopping.is_set():
            try:
                self.step(_LOOK_SECONDS)
            except Exception:
                # One claim that cannot be done must not keep the others from being done.
                logger.exception("an alert's action ended with an unforeseen error")

    # one claim

    def _do(self, claim: Claim) -> None:
        try:
            self._carry_out(claim)
        except JournalUnavailable:
            # It is pending still, and nothing was sent.
            self._waiting.put_back([claim])
            self._stopping.wait(_OUTAGE_SECONDS)
        finally:
            self._waiting.settled()

    def _carry_out(self, claim: Claim) -> None:
        rule, action = claim.rule, claim.planned.action
        if rule.enabled and self._is_open(rule.name):
            refuse(self._journal, action.id, "breaker-open", "What the rule retried failed again.")
            self._stats.decided(rule.name, "breaker_open")
            return
        try:
            outcome = self._engine.carry_out(claim.planned)
        except ActionError as error:
            self._not_done(rule.name, action, error)
            if self._journal.get(action.id).state is State.PENDING:
                raise JournalUnavailable("It could not be begun.") from None
            if may_pass(error):
                # The engine gave its claim up with it: nothing was done, and the cause may pass.
                self._waiting.release(claim.key)
        else:
            self._begun(rule.name, outcome.action)

    def _begun(self, rule: str, action: Action) -> None:
        if action.dry_run:
            logger.info("rule %s would act (it is not enabled): action %s", rule, action.id)
            return
        logger.info("rule %s acts: %s, action %s", rule, action.verb, action.id)
        if action.state is not State.RUNNING:
            self._stats.decided(rule, _DECISIONS[action.state])
        with self._lock:
            self._watch.add(rule, action)

    def _not_done(self, rule: str, action: Action, error: ActionError) -> None:
        logger.warning("rule %s: action %s was not done: %s", rule, action.id, error.kind)
        decision: Decision = "failed" if error.status >= 500 else "refused"
        self._stats.decided(rule, "unknown" if error.unknown else decision)

    def _is_open(self, rule: str) -> bool:
        with self._lock:
            return rule in self._journal.alerts.breakers()

    # what becomes of it

    def _look(self) -> None:
        with self._lock:
            ends = self._watch.look()
            opened = [one.rule for one in ends if self._judge_end(one)]
            running = [(rule, one) for rule in opened for one in self._watch.running(rule)]
        for rule, action_id in running:
            try:
                self._engine.jobs.cancel(action_id, f"the breaker of rule {rule}")
            except ActionError as error:
                logger.info("action %s is not stopped: %s", action_id, error.kind)

    def _judge_end(self, end: Ended) -> bool:
        """Count an end; return whether it opened the breaker."""
        if end.state is not None:
            if not end.at_once:
                self._stats.decided(end.rule, _DECISIONS[end.state])
            return False
        rule = self._rules.get(end.rule)
        if rule is None:
            return False
        if not end.task_failed:
            self._breakers.succeeded(rule.name)
            return False
        return self._breakers.failed(rule.name, rule.breaker)

    # after a restart

    def go_on(self) -> None:
        """Do what was claimed and not begun when the last process died, and follow the rest."""
        try:
            for action_id in self._journal.interrupted:
                action = self._journal.get(action_id)
                if action.actor.via == "alert" and not action.dry_run:
                    self._do_again(action)
            since = self._clock() - WATCHED_SECONDS
            for action in reversed(self._journal.list(limit=_MOST_FOLLOWED)):
                if action.actor.via == "alert" and action.requested_at > since:
                    with self._lock:
                        self._watch.add(action.actor.name, action)
        except ActionError as error:
            logger.error("what alerts had asked for before the start is not gone on with: %s",
                         error.kind)  # fmt: skip

    def _do_again(self, old: Action) -> None:
        """Claim the alert anew for an action that was never begun; begun ones stay unknown."""
        kept: dict[str, Any] | None = old.options.get("alert")
        rule = self._rules.get(old.actor.name)
        if old.result.get("interrupted") != State.PENDING or kept is None:
            return
        new_id = str(uuid.uuid4())
        told = {**old.result, "begun_anew_as": new_id if rule and rule.enabled else None}
        self._journal.finish(old.id, State.FAILED, told, release=True)
        if rule is None or not rule.enabled:
            logger.warning("action %s is not begun: its rule is gone or disabled", old.id)
            return
        try:
            planned = self._engine.plan(_sealed(restored(old, kept["request"]), old))
        except ActionError as error:
            self._not_done(rule.name, old, error)
            return
        action = replace(planned.action, id=new_id)
        action.options["alert"] = kept
        key = AlertKey(kept["rule"], kept["fingerprint"], kept["starts_at"])
        verdict = self._journal.begin_for_alert(action, key, guards_of(rule))
        if verdict.decision == "claimed":
            self._waiting.put(Claim(rule, key, replace(planned, action=action)))


def refuse(journal: ActionJournal, action_id: str, kind: str, detail: str) -> None:
    """Write that an action which waited will not be begun. Raises JournalUnavailable."""
    journal.finish(action_id, State.REFUSED, {"problem": Refusal(kind, 409, detail).stored()})


def _sealed(request: Request, old: Action) -> Request:
    """Return the request with the tasks of the first time: the tracker may have forgotten them."""
    if request.filter is None:
        return request
    return replace(
        request,
        filter=None,
        task_ids=old.target.task_ids,
        from_state=(request.filter.state,),
        limit=None,
    )


_DECISIONS: Final[dict[State, Decision]] = {
    State.DONE: "done",
    State.PARTIAL: "partial",
    State.REFUSED: "refused",
    State.FAILED: "failed",
    State.UNKNOWN: "unknown",
}
