"""Turns a rule and an alert into the request that the engine gets, or says why not. Pure."""

import re
from typing import Any, Final

from z4j_exporter.actions.alert_payload import Alert
from z4j_exporter.actions.alert_schema import (
    BulkRetryAction,
    CancelAction,
    RetryAction,
    Rule,
)
from z4j_exporter.actions.alert_template import Template, UnfilledError
from z4j_exporter.actions.engine_request import Filter, Request
from z4j_exporter.actions.model import Action, Actor, Verb
from z4j_exporter.actions.scopes import within

#: Celery's ids are UUIDs; whoever chooses others keeps to these characters.
_TASK_ID: Final = re.compile(r"[A-Za-z0-9._:@-]{1,256}")


class OutOfScopeError(ValueError):
    """What labels name is not among the rule's tasks or queues."""


def request_of(rule: Rule, alert: Alert, actor: Actor) -> Request:
    """Return what a rule asks for. Raises UnfilledError and OutOfScopeError."""
    action, labels = rule.action, alert.labels
    if isinstance(action, BulkRetryAction):
        queue = action.queue.fill(labels) if action.queue is not None else None
        if not action.task.is_glob:  # else the schema allowed no scope
            _in_scope(action.task.fill(labels), rule.tasks, "task")
        if queue is not None:
            _in_scope(queue, rule.queues, "queue")
        chosen = Filter(
            task=action.task.fill_glob(labels),
            queue=queue,
            state=action.state,
            exception=action.exception.fill(labels) if action.exception is not None else None,
            since=alert.started - action.since,
        )
        return Request(
            Verb.BULK_RETRY, actor, filter=chosen, limit=action.max, dry_run=not rule.enabled
        )
    task_id = _task_id(action.task_id, alert)
    if isinstance(action, RetryAction):
        return Request(
            Verb.RETRY,
            actor,
            task_id=task_id,
            from_state=(action.state,),
            dry_run=not rule.enabled,
        )
    assert isinstance(action, CancelAction)  # noqa: S101 - the last of the three
    return Request(Verb.CANCEL, actor, task_id=task_id, dry_run=not rule.enabled)


def check_found(rule: Rule, task_name: str | None, queue: str | None) -> None:
    """Check the rule's scope for a task that its id found. Raises OutOfScopeError."""
    _in_scope(task_name, rule.tasks, "task")
    _in_scope(queue, rule.queues, "queue")


def stored(request: Request) -> dict[str, Any]:
    """Return a request JSON-able, for a journal that outlives the process."""
    chosen = request.filter
    return {
        "verb": request.verb.value,
        "task_id": request.task_id,
        "from_state": list(request.from_state),
        "limit": request.limit,
        "filter": chosen and {name: getattr(chosen, name) for name in chosen.__slots__},
    }


def restored(action: Action, kept: dict[str, Any]) -> Request:
    """Return the request of an action that was stored with it."""
    chosen = kept["filter"]
    return Request(
        Verb(kept["verb"]),
        action.actor,
        task_id=kept["task_id"],
        from_state=tuple(kept["from_state"]),
        limit=kept["limit"],
        filter=Filter(**chosen) if chosen else None,
        dry_run=action.dry_run,
    )


def shown(request: Request) -> dict[str, Any]:
    """Return the filled parameters, for people: without what is not set."""
    kept = stored(request)
    flat = {**kept, **(kept.pop("filter") or {})}
    flat.pop("filter", None)
    return {name: value for name, value in flat.items() if value not in (None, [])}


def _task_id(template: Template, alert: Alert) -> str:
    task_id = template.fill(alert.labels)
    if not _TASK_ID.fullmatch(task_id):
        raise UnfilledError("what the labels give is no task's id")
    return task_id


def _in_scope(name: str | None, scope: tuple[str, ...], what: str) -> None:
    if not within(name, scope):
        raise OutOfScopeError(
            f"the {what} is not among the rule's {what}s"
            if name is not None
            else f"the {what} is not known, and the rule may act on some {what}s only"
        )
