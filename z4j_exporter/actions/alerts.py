"""Takes what Alertmanager posts, and lets rules turn alerts into actions: each firing acts once.

The answer says how Alertmanager should go on: 202 when something new was enqueued durably, 200 when
there was nothing new, 503 when it should send all of it again. Nothing else: it gives up on any
other status. What was enqueued is done by a thread of its own (alert_work).
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from z4j_exporter.actions.alert_judge import Judge, Judged
from z4j_exporter.actions.alert_payload import Alert, Notification, parse
from z4j_exporter.actions.alert_queue import MOST_WAITING, Claim, Waiting
from z4j_exporter.actions.alert_schema import Rule
from z4j_exporter.actions.alert_stats import AlertStats
from z4j_exporter.actions.alert_watch import Facts
from z4j_exporter.actions.alert_work import Engine, Work, refuse
from z4j_exporter.actions.api_alerts import AlertsAnswer
from z4j_exporter.actions.model import ActionError, Actor
from z4j_exporter.actions.records import ActionJournal

logger = logging.getLogger(__name__)

#: Seconds that a post waits for the one before it.
_TURN_SECONDS: Final = 10.0


class AlertActions:
    """The rules at work; any thread may call. ``start`` after the engine's, ``stop`` before it."""

    def __init__(
        self,
        rules: Sequence[Rule],
        engine: Engine,
        journal: ActionJournal,
        tasks: Facts,
        *,
        most_waiting: int = MOST_WAITING,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stats = AlertStats()
        self._rules = tuple(rules)
        self._journal = journal
        self._waiting = Waiting(most_waiting)
        self.work = Work(
            rules,
            engine,
            journal,
            tasks,
            self._waiting,
            self.stats,
            clock=clock,
            monotonic=monotonic,
        )
        self._judge = Judge(engine, journal, self.work, self._waiting, monotonic=monotonic)
        #: One post at a time: peers of Alertmanager post the same at the same moment.
        self._turn = threading.Lock()

    def start(self) -> None:
        """Begin to do what alerts ask for."""
        self.work.start()

    def stop(self, timeout_seconds: float) -> None:
        """Stop after what is being done; the rest is done after the next start."""
        self.work.stop(timeout_seconds)

    @property
    def waiting(self) -> int:
        """How many actions wait for their turn."""
        return len(self._waiting)

    def __call__(self, actor: Actor, message: Mapping[str, Any]) -> AlertsAnswer:
        """Take a webhook message; ``actor`` is who posted it.

        Raises ActionError: 400 for what is no such message, 503 when it is to be sent again.
        """
        try:
            judged = self.receive(actor, parse(message))
            answer = _answer(judged)
        except ActionError as error:
            self.stats.posted(error.status)
            raise
        self.stats.posted(answer.status)
        return answer

    def receive(self, actor: Actor, notification: Notification) -> list[Judged]:
        """Judge all alerts, and enqueue what they cause. Raises JournalUnavailable."""
        if notification.truncated:
            logger.warning("%d alerts were left out of a post", notification.truncated)
            self.stats.truncated(notification.truncated)
        if notification.unusable:
            logger.warning("%d alerts of a post cannot be used", notification.unusable)
            self.stats.decided("", "unusable", notification.unusable)
        if not self._turn.acquire(timeout=_TURN_SECONDS):
            raise _again("Alerts that were sent before are still being looked at.")
        try:
            self._judge.begin_post()
            return [one for alert in notification.alerts for one in self._each(actor, alert)]
        finally:
            self._turn.release()

    def _each(self, actor: Actor, alert: Alert) -> list[Judged]:
        if alert.status == "resolved":
            return self._resolved(alert)
        judged = []
        for rule in self._rules:
            one = self._judge.judge(rule, alert, actor)
            judged.append(one)
            if one.decision != "unmatched":
                self.stats.decided(rule.name, "matched")
                self.stats.decided(rule.name, one.decision)
                logger.info("rule %s, alert %s: %s", rule.name, alert.fingerprint, one.decision)
        if all(one.decision == "unmatched" for one in judged):
            self.stats.decided("", "no_rule")
        return judged

    def _resolved(self, alert: Alert) -> list[Judged]:
        """Take back what waits for an alert that has resolved; what was begun goes on."""

        def is_over(claim: Claim) -> bool:
            key = claim.key
            return key.fingerprint == alert.fingerprint and float(key.starts_at) <= alert.started

        claims = self._waiting.take_out(is_over)
        try:
            for claim in list(claims):
                action_id = claim.planned.action.id
                refuse(self._journal, action_id, "alert-resolved", "The alert has resolved.")
                claims.remove(claim)
                self.stats.decided(claim.rule.name, "resolved")
        except ActionError:
            self._waiting.put_back(claims)
            raise
        return []


def _answer(judged: Sequence[Judged]) -> AlertsAnswer:
    decisions = Counter(str(one.decision) for one in judged if one.decision != "unmatched")
    if decisions["busy"]:
        raise _again("Not all alerts could be looked at; what was enqueued is not done twice.")
    status = 202 if decisions["queued"] or decisions["dry_run"] else 200
    actions = [one.action_id for one in judged if one.decision in ("queued", "dry_run")]
    return AlertsAnswer(status, {"decisions": dict(decisions), "actions": actions})


def _again(detail: str) -> ActionError:
    return ActionError("alerts-busy", 503, detail, hint="Alertmanager sends them again.")
