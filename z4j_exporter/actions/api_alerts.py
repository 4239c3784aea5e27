"""What the API hands alerts to, and the answers that Alertmanager may get."""

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from z4j_exporter.actions.model import ActionError, Actor

#: 202: enqueued durably; 200: nothing new; 503: the journal cannot be written, send it again.
STATUSES: Final = frozenset({200, 202, 503})


@dataclass(frozen=True, slots=True)
class AlertsAnswer:
    """What came of a message of Alertmanager's."""

    status: int
    #: JSON-able: what was done with each alert.
    told: dict[str, Any] = field(default_factory=dict)


class TakesAlerts(Protocol):
    """Turns alerts into actions by rules. Called in a thread."""

    def __call__(self, actor: Actor, message: dict[str, Any]) -> AlertsAnswer:
        """Take a webhook message of version 4; ``actor`` is who posted it. Raises ActionError."""


def no_rules(actor: Actor, message: dict[str, Any]) -> AlertsAnswer:  # noqa: ARG001 - as TakesAlerts
    """Refuse: no rules are configured. Raises ActionError (404)."""
    raise ActionError(
        "no-rules", 404, "No rules for alerts are configured.", hint="See --actions-rules-file."
    )
