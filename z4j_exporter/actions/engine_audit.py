"""Writes the engine's lines of the audit log: what was denied, asked for, and came of it."""

import logging
from dataclasses import replace
from typing import Protocol

from z4j_exporter.actions.audit import Entry
from z4j_exporter.actions.audit_chain import Head
from z4j_exporter.actions.engine_request import Request
from z4j_exporter.actions.model import Action, ActionError, Actor, Target

logger = logging.getLogger(__name__)

#: What an answer says when the outcome is not in the audit log.
NOT_AUDITED = "The audit log could not take the outcome."


class Log(Protocol):
    """Where lines go; see audit.AuditLog."""

    def append(self, entry: Entry) -> Head:
        """Write an entry, durably; raises AuditUnavailable."""


class Audit:
    """The audit log, as the engine writes it."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def denied(self, request: Request, error: ActionError, action_id: str = "") -> None:
        """Write that a request was denied. Raises AuditUnavailable."""
        target = Target(request.task_id, request.group_id, request.queue, request.task_ids)
        self._log.append(
            Entry(
                "denied",
                request.verb,
                target,
                actor=request.actor,
                action_id=action_id,
                dry_run=request.dry_run,
                outcome=error.kind,
            )
        )

    def stranger(self, error: ActionError) -> None:
        """Write that a request came from nobody who is known; a failure is only logged."""
        reason = getattr(error, "reason", error.kind)
        try:
            self._log.append(Entry("denied", "authenticate", outcome=f"{error.kind}: {reason}"))
        except ActionError:
            logger.error("a failed login is not in the audit log")

    def refused(self, action: Action, error: ActionError) -> None:
        """Write that an action that was begun may not be done. Raises AuditUnavailable."""
        self._log.append(Entry.of(action, "denied", error.kind))

    def interrupted(self, action: Action) -> None:
        """Write that the process died before an action's outcome. Raises AuditUnavailable."""
        self._log.append(Entry.of(action, "outcome", f"{action.state}: interrupted"))

    def requested(self, action: Action, arguments: bytes | None) -> None:
        """Write that an action follows: it is on the disk now. Raises AuditUnavailable."""
        self._log.append(Entry.of(action, "requested", arguments=arguments))

    def told(self, action: Action, actor: Actor, what: str) -> None:
        """Write what somebody does to a job of anybody. Raises AuditUnavailable."""
        entry = Entry.of(action, "requested", what)
        self._log.append(replace(entry, actor=actor))

    def outcome(self, action: Action, outcome: str) -> tuple[str, ...]:
        """Write what came of it; what is done is done, so that a failure is only told."""
        try:
            self._log.append(Entry.of(action, "outcome", outcome))
        except ActionError:
            # AuditLog has logged why.
            logger.error("action %s: its outcome is not in the audit log", action.id)
            return (NOT_AUDITED,)
        return ()
