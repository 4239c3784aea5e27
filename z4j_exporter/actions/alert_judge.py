"""Decides what a rule does about an alert, and claims it durably when it acts."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol

from z4j_exporter.actions.alert_matchers import first_unmatched
from z4j_exporter.actions.alert_payload import Alert
from z4j_exporter.actions.alert_queue import Claim, Waiting
from z4j_exporter.actions.alert_request import OutOfScopeError, check_found, request_of, stored
from z4j_exporter.actions.alert_schema import Rule
from z4j_exporter.actions.alert_stats import Decision
from z4j_exporter.actions.alert_template import UnfilledError
from z4j_exporter.actions.engine_parts import Planned
from z4j_exporter.actions.engine_request import Request
from z4j_exporter.actions.model import ActionError, Actor, State
from z4j_exporter.actions.policy import for_rule
from z4j_exporter.actions.records import ActionJournal, JournalUnavailable
from z4j_exporter.actions.records_alerts import AlertKey, Guards

logger = logging.getLogger(__name__)

#: Seconds for which it is remembered that an alert was claimed: then the journal is asked again,
#: so that it knows that the alert is still sent.
_CLAIMED_SECONDS: Final = 3600.0
#: Seconds for which an alert is not judged again when nothing was to be done about it.
_JUDGED_SECONDS: Final = 30.0
_MOST_REMEMBERED: Final = 20_000
#: Seconds of judging for one post: each may ask the tracker, and that must not wait long.
POST_SECONDS: Final = 5.0

_OF_VERDICT: dict[str, Decision] = {
    "duplicate": "duplicate",
    "breaker-open": "breaker_open",
    "cooldown": "cooldown",
    "hourly-limit": "hourly_limit",
    "in-flight-limit": "in_flight",
}
#: Limits that hold for a rule, whatever the alert.
_OF_RULE: Final = frozenset({"breaker_open", "hourly_limit", "in_flight"})
_WHY: dict[Decision, str] = {
    "duplicate": "this firing was acted on before",
    "breaker_open": "what the rule retried failed again",
    "cooldown": "the rule acted on this alert a short time ago",
    "hourly_limit": "the rule has acted often enough in an hour",
    "in_flight": "enough of the rule's actions are at work",
    "busy": "too much waits already; it is to be sent again",
}


class Plans(Protocol):
    """Permits a request and seals its targets; see engine.Engine."""

    def plan(self, request: Request) -> Planned:
        """Return what could be done. Raises ActionError."""


class Gate(Protocol):
    """Whether a rule's breaker lets it act; any thread may ask."""

    def admit(self, rule: Rule) -> Literal["closed", "open", "half-open", "waits"]:
        """Return its state; "waits": half open, and the one task has not ended yet."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was decided about an alert under a rule, and why."""

    rule: str
    alert: Alert
    decision: Decision | Literal["unmatched"]
    why: str = ""
    request: Request | None = field(default=None, repr=False)
    action_id: str | None = None


class Judge:
    """Judges alert after alert; for one thread at a time."""

    def __init__(
        self,
        plans: Plans,
        journal: ActionJournal,
        gate: Gate,
        waiting: Waiting,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plans = plans
        self._journal = journal
        self._gate = gate
        self._waiting = waiting
        self._monotonic = monotonic
        #: What was decided lately, and until when that holds.
        self._lately: OrderedDict[tuple[AlertKey, bool], tuple[Decision, float]] = OrderedDict()
        #: Rules at a limit, and when this post's time is over.
        self._limits: dict[str, Decision] = {}
        self._deadline = 0.0

    def begin_post(self) -> None:
        """Forget what held for one post, and the claims that were given up since."""
        self._limits = {}
        for key in self._waiting.take_released():
            for dry_run in (False, True):
                self._lately.pop((key, dry_run), None)
        self._deadline = self._monotonic() + POST_SECONDS

    def judge(self, rule: Rule, alert: Alert, poster: Actor) -> Judged:
        """Decide about an alert that fires. Raises JournalUnavailable: nothing was claimed."""
        missed = first_unmatched(rule.matchers, alert.labels)
        if missed is not None:
            return Judged(rule.name, alert, "unmatched", str(missed))
        try:
            request = request_of(rule, alert, for_rule(poster, rule.name))
        except UnfilledError as error:
            return Judged(rule.name, alert, "unfilled", str(error))
        except OutOfScopeError as error:
            return Judged(rule.name, alert, "out_of_scope", str(error))
        decision, why, claimed = self._decide(rule, alert, request)
        return Judged(rule.name, alert, decision, why or _WHY.get(decision, ""), request, claimed)

    def _decide(
        self, rule: Rule, alert: Alert, request: Request
    ) -> tuple[Decision, str, str | None]:
        key = AlertKey(rule.name, alert.fingerprint, alert.starts_at)
        known = self._remembered(key, request)
        if known is not None:
            return known, "", None
        if rule.enabled and (former := self._acted_before(rule, key)):
            return self._remember(key, request, "duplicate", _CLAIMED_SECONDS), "", former
        if rule.name in self._limits:
            return self._limits[rule.name], "", None
        if not self._waiting.room() or self._monotonic() > self._deadline:
            return "busy", "", None
        breaker = self._gate.admit(rule) if rule.enabled else "closed"
        if breaker in ("open", "waits"):
            return self._limited(rule, "breaker_open"), "", None
        if breaker == "half-open":
            request = replace(request, limit=1)
        try:
            planned = self._plans.plan(request)
            if planned.facts is not None:
                check_found(rule, planned.facts.name, planned.facts.queue)
        except OutOfScopeError as error:
            return self._remember(key, request, "out_of_scope"), str(error), None
        except ActionError as error:
            return self._not_planned(key, request, error)
        return self._claim(rule, key, planned)

    def _acted_before(self, rule: Rule, key: AlertKey) -> str | None:
        """Return the action that a firing has already, without a look at the tasks of now."""
        action_id = self._journal.alerts.latest(key.rule, key.fingerprint)
        if action_id is None:
            return None
        try:
            action = self._journal.get(action_id)
        except JournalUnavailable:
            raise
        except ActionError:
            return None  # pruned
        if (action.options.get("alert") or {}).get("starts_at") != key.starts_at:
            return None
        # The claim is there already, so that nothing is begun: the journal sees that the alert is
        # still sent, and keeps the claim.
        verdict = self._journal.begin_for_alert(
            replace(action, state=State.PENDING), key, guards_of(rule)
        )
        return verdict.action_id

    def _claim(
        self, rule: Rule, key: AlertKey, planned: Planned
    ) -> tuple[Decision, str, str | None]:
        action, request = planned.action, planned.request
        action.options["alert"] = {
            "rule": key.rule,
            "fingerprint": key.fingerprint,
            "starts_at": key.starts_at,
            "request": stored(request),
        }
        verdict = self._journal.begin_for_alert(action, key, guards_of(rule))
        if verdict.decision == "claimed":
            self._waiting.put(Claim(rule, key, planned))
            self._remember(key, request, "duplicate", _CLAIMED_SECONDS)
            return ("queued" if rule.enabled else "dry_run"), _told(planned), action.id
        decision = _OF_VERDICT[verdict.decision]
        if decision in _OF_RULE:
            return self._limited(rule, decision), "", None
        lasts = _CLAIMED_SECONDS if decision == "duplicate" else _JUDGED_SECONDS
        return self._remember(key, request, decision, lasts), "", verdict.action_id

    def _not_planned(
        self, key: AlertKey, request: Request, error: ActionError
    ) -> tuple[Decision, str, str | None]:
        if error.status >= 500:
            return "busy", error.detail, None
        decision: Decision = "refused"
        if error.kind == "nothing-matches":
            decision = "nothing"
        elif error.status == 403:
            decision = "forbidden"
        return self._remember(key, request, decision), error.detail, None

    def _limited(self, rule: Rule, decision: Decision) -> Decision:
        self._limits[rule.name] = decision
        return decision

    def _remembered(self, key: AlertKey, request: Request) -> Decision | None:
        known = self._lately.get((key, request.dry_run))
        return known[0] if known is not None and self._monotonic() < known[1] else None

    def _remember(
        self, key: AlertKey, request: Request, decision: Decision, lasts: float = _JUDGED_SECONDS
    ) -> Decision:
        self._lately[key, request.dry_run] = decision, self._monotonic() + lasts
        self._lately.move_to_end((key, request.dry_run))
        while len(self._lately) > _MOST_REMEMBERED:
            self._lately.popitem(last=False)
        return decision


def guards_of(rule: Rule) -> Guards:
    """Return a rule's limits as the journal takes them."""
    return Guards(rule.cooldown, rule.max_per_hour, rule.max_in_flight)


def _told(planned: Planned) -> str:
    told: dict[str, Any] = planned.told
    if "total" not in told:
        return ""
    more = ", and more that fit" if told.get("truncated") else ""
    return f"{told['total']} tasks{more}"
