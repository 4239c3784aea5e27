"""Finds what a retry of ours was sent with, where nobody else can tell: it is in the old task.

The exporter has no capture hook in itself, and a worker forgets a task that has ended. But the
journal has which task was sent again, how, and from which source.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from z4j_exporter.actions.engine_parts import Performs
from z4j_exporter.actions.engine_tasks import TaskFacts
from z4j_exporter.actions.messages import RETRY_COUNT, retry_count
from z4j_exporter.actions.model import Payload
from z4j_exporter.actions.payload import Seen
from z4j_exporter.actions.records_items import Sent

#: Seconds that are left for a task at the least, however long the others took.
_LEAST_SECONDS: Final = 0.5
#: What a retry may have been sent with in place of what the task had.
_CHOSEN: Final = ("priority", "time_limit", "soft_time_limit")


class SentAs(Protocol):
    """How retries of ours were sent; see records_items.Items."""

    def sent_as(self, new_id: str) -> Sent | None:
        """Return how a task was sent, for certain; None when it was not us."""


class Repeated:
    """The payloads of retries of ours. ``facts_of``: what is remembered of a task."""

    def __init__(
        self, performer: Performs, facts_of: Callable[[str], TaskFacts | None], links: SentAs
    ) -> None:
        self._performer = performer
        self._facts_of = facts_of
        self._links = links

    def find(self, facts: TaskFacts, *, unverified: bool, deadline: float) -> Payload | None:
        """Return what a retry of ours was sent with, from those who know the task it repeats.

        None where it was not ours, and where a caller said what to send: that is kept nowhere, nor
        need it be what the first task had. ``deadline`` is monotonic. Raises ActionError.
        """
        sent = self._links.sent_as(facts.task_id)
        if sent is None or sent.detail.get("source") in (None, "caller"):
            return None
        old = self._facts_of(sent.task_id) or TaskFacts(sent.task_id)
        found = self._performer.find(
            old.task_id,
            seen=Seen(old.name, old.queue),
            queues=[old.queue] if old.queue else [],
            unverified=unverified,
            others=[lambda: self.find(old, unverified=unverified, deadline=deadline)],
            timeout_seconds=max(_LEAST_SECONDS, deadline - time.monotonic()),
        )
        if {facts.name or found.name, sent.detail.get("task")} != {found.name}:
            return None
        return _as_sent(found, sent)


def _as_sent(found: Payload, sent: Sent) -> Payload:
    """Return the old task's payload as the retry had it: where it went, and what was chosen."""
    chosen: dict[str, Any] = sent.options.get("sending") or {}
    changes = {name: chosen[name] for name in _CHOSEN if chosen.get(name) is not None}
    return replace(
        found,
        queue=sent.detail.get("queue") or found.queue,
        # As the retry's own message says it: others may have sent the first one again before.
        headers={**found.headers, RETRY_COUNT: retry_count(found) + 1},
        of_task=found.of_task or sent.task_id,
        **changes,
    )
