"""Says in the log when spans stop arriving, and when they arrive again: once each, no flood."""

import logging
from collections.abc import Callable
from typing import Final

from z4j_exporter.otlp.outcome import Failed, Outcome, Refused

logger = logging.getLogger(__name__)

#: Seconds between two warnings, where the endpoint takes one request and fails the next.
_BETWEEN_WARNINGS: Final = 60.0


class Report:
    """What was logged last, and when. ``full`` may be called from another thread."""

    def __init__(self, location: str, monotonic: Callable[[], float]) -> None:
        self._location = location
        self._monotonic = monotonic
        self._state = "ok"
        self._warned_at = float("-inf")
        self._dropped_before = 0
        self._full_told_at = float("-inf")
        self._unencodable_told = False

    def outcome(self, outcome: Outcome, dropped: int) -> None:
        """Log what is new about one request; ``dropped`` counts the spans dropped so far."""
        if isinstance(outcome, Failed):
            self._warn("failed", dropped, "do not reach %s, tried again", outcome.reason)
        elif isinstance(outcome, Refused):
            self._warn("refused", dropped, "are refused by %s", outcome.reason)
        elif outcome.rejected:
            text = f"{outcome.rejected} of a request: {outcome.message}"
            self._warn("partial", dropped, "are refused in part by %s", text)
        elif self._state != "ok":
            self._state = "ok"
            logger.info(
                "Spans reach %s again; %d were dropped meanwhile",
                self._location,
                dropped - self._dropped_before,
            )

    def full(self, max_spans: int) -> None:
        """Log that there is no room for more spans, every minute at the most."""
        now = self._monotonic()
        if now - self._full_told_at >= _BETWEEN_WARNINGS:
            self._full_told_at = now
            logger.warning(
                "Spans are dropped: %d wait for %s already (--trace-queue-spans)",
                max_spans,
                self._location,
            )

    def unencodable(self, count: int) -> None:
        """Log, once, that spans could not be encoded: a fault of ours."""
        if not self._unencodable_told:
            self._unencodable_told = True
            logger.warning("%d spans could not be encoded and are dropped (told once)", count)

    def _warn(self, state: str, dropped: int, what: str, reason: str) -> None:
        now = self._monotonic()
        if state == self._state or now - self._warned_at < _BETWEEN_WARNINGS:
            return
        if self._state == "ok":
            self._dropped_before = dropped
        self._state, self._warned_at = state, now
        logger.warning(f"Spans {what}: %s (told once)", self._location, reason)
