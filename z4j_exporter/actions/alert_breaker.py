"""Stops a rule when what it retried fails again, and lets it try once after a time.

An open breaker is in the journal, and stays open over restarts. After its time the rule is half
open: it may act on one task alone, and how that ends decides. How many failures there were, and
that a rule is half open, is forgotten at a restart: it begins closed then.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from z4j_exporter.actions.alert_schema import BreakerSettings, Rule
from z4j_exporter.actions.records_alerts import Breaker

logger = logging.getLogger(__name__)

State = Literal["closed", "open", "half-open"]


class Stored(Protocol):
    """Open breakers, durably; see records_alerts.Alerts. Methods raise JournalUnavailable."""

    def open_breaker(self, rule: str, reason: str) -> None:
        """Stop a rule."""

    def close_breaker(self, rule: str) -> bool:
        """Let a rule act again."""

    def breakers(self) -> dict[str, Breaker]:
        """Return the rules that are stopped."""


class Breakers:
    """The breakers of all rules; for one thread at a time. ``clock`` is epoch seconds."""

    def __init__(self, stored: Stored, clock: Callable[[], float] = time.time) -> None:
        self._stored = stored
        self._clock = clock
        #: Failures one after the other, by rule.
        self._failures: dict[str, int] = {}
        #: Rules that may act on one task, or have.
        self._half_open: set[str] = set()
        #: Rules whose breaker is not closed, as far as was last looked. Replaced, never changed:
        #: a scrape reads it in another thread, and must not wait for a lock or the disk.
        self.states: Mapping[str, State] = dict.fromkeys(stored.breakers(), "open")

    def admit(self, rule: Rule) -> State:
        """Return the state for a rule that would act now; open becomes half open in time."""
        found = self._stored.breakers().get(rule.name)
        if found is None:
            return self._told(rule.name, "half-open" if rule.name in self._half_open else "closed")
        # A clock that was set back must not keep a rule stopped for longer.
        if 0 <= self._clock() - found.opened_at < rule.breaker.half_open_after:
            return self._told(rule.name, "open")
        self._stored.close_breaker(rule.name)
        self._half_open.add(rule.name)
        logger.warning("rule %s: the breaker is half open: it may act on one task", rule.name)
        return self._told(rule.name, "half-open")

    def succeeded(self, rule: str) -> None:
        """Take in that a task which a rule retried has succeeded."""
        self._failures.pop(rule, None)
        if rule in self._half_open:
            self._half_open.discard(rule)
            self._told(rule, "closed")
            logger.warning("rule %s: the breaker is closed: the retried task succeeded", rule)

    def failed(self, rule: str, settings: BreakerSettings) -> bool:
        """Take in that a retried task has failed again; return whether that opened the breaker."""
        self._failures[rule] = count = self._failures.get(rule, 0) + 1
        if count < settings.failures and rule not in self._half_open:
            return False
        self._stored.open_breaker(rule, f"{count} retried tasks failed again")
        self._failures.pop(rule, None)
        self._half_open.discard(rule)
        self._told(rule, "open")
        logger.warning("rule %s: the breaker is open: %d retried tasks failed again", rule, count)
        return True

    def _told(self, rule: str, state: State) -> State:
        if self.states.get(rule, "closed") != state:
            self.states = {**self.states, rule: state}
        return state
