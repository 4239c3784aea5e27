"""What rules decided, counted for the metrics."""

import threading
from collections import Counter
from typing import Literal

Decision = Literal[
    # of an alert
    "no_rule",
    "unusable",
    # of a rule and an alert that it matches
    "matched",
    "unfilled",
    "out_of_scope",
    "duplicate",
    "breaker_open",
    "cooldown",
    "hourly_limit",
    "in_flight",
    "forbidden",
    "nothing",
    "refused",
    "busy",
    "dry_run",
    "queued",
    "resolved",
    # of an action, when its turn has come
    "done",
    "partial",
    "failed",
    "unknown",
]


class AlertStats:
    """Counters since the process started; any thread may count and read."""

    def __init__(self) -> None:
        #: Decisions by rule; the rule is "" where none matches.
        self.alert_rules_total: Counter[tuple[str, str]] = Counter()
        #: Alerts that were left out of a post.
        self.truncated_alerts_total = 0
        #: Posts by the status of their answer.
        self.notifications_total: Counter[int] = Counter()
        self._lock = threading.Lock()

    def decided(self, rule: str, decision: Decision, count: int = 1) -> None:
        """Count a decision."""
        with self._lock:
            self.alert_rules_total[rule, decision] += count

    def posted(self, status: int) -> None:
        """Count a post that was answered."""
        with self._lock:
            self.notifications_total[status] += 1

    def truncated(self, count: int) -> None:
        """Count alerts that were left out."""
        with self._lock:
            self.truncated_alerts_total += count

    def counted(self) -> dict[tuple[str, str], int]:
        """Return a copy of the decisions."""
        with self._lock:
            return dict(self.alert_rules_total)

    def posts(self) -> dict[int, int]:
        """Return a copy of the posts by status."""
        with self._lock:
            return dict(self.notifications_total)
