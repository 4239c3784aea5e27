"""Describes spans by attributes: the messaging conventions of OpenTelemetry, and Celery's own.

Names: https://opentelemetry.io/docs/specs/semconv/registry/attributes/messaging/ (v1.44);
messaging.message.receive.latency (milliseconds) and .retry.count as Sentry reads them
(https://docs.sentry.io/platforms/python/tracing/instrumentation/custom-instrumentation/queues-module/).
"""

from datetime import UTC, datetime

from z4j_exporter.tracing.hooked import CapturedFacts
from z4j_exporter.tracing.ids import Operation
from z4j_exporter.tracing.model import Attributes, Value
from z4j_exporter.tracing.text import clean
from z4j_exporter.track.attempts import Attempt
from z4j_exporter.track.table import Task

#: What each operation is to a messaging system. Who discards a revoked message settles it. To wait
#: is no operation.
_OPERATION_TYPES = {"send": "send", "process": "process", "revoke": "settle"}
#: Characters of a moment in ISO 8601, with room to spare.
_MAX_MOMENT = 64
#: (operation, task, queue) remembered.
_MAX_KNOWN = 10_000


class Described:
    """Knows the attributes that are the same for all spans of a task name and queue.

    ``system`` is messaging.system; ``address`` and ``port`` are the broker's.
    """

    def __init__(self, system: str, address: str, port: int | None) -> None:
        self._is_rabbitmq = system == "rabbitmq"
        self._server: Attributes = (("messaging.system", system),)
        if address:
            self._server += (("server.address", clean(address)),)
            if port is not None:
                self._server += (("server.port", port),)
        self._known: dict[tuple[Operation, str, str], tuple[str, Attributes]] = {}

    def common(self, operation: Operation, name: str, queue: str) -> tuple[str, Attributes]:
        """Return the span's name, and the attributes that all such spans share."""
        key = (operation, name, queue)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[key] = self._describe(operation, clean(name), clean(queue))
        return known

    def captured(self, facts: CapturedFacts) -> Attributes:
        """Return the attributes of what the capture hook told of a message."""
        attributes: Attributes = ()
        if facts.group_id is not None:
            attributes += (("celery.task.group_id", clean(facts.group_id)),)
        if facts.group_index is not None:
            attributes += (("celery.task.group_index", facts.group_index),)
        if facts.priority is not None:
            attributes += (("celery.task.priority", facts.priority),)
        if facts.routing_key is not None and self._is_rabbitmq:
            # For others it only repeats the queue: kombu imitates it there.
            key = "messaging.rabbitmq.destination.routing_key"
            attributes += ((key, clean(facts.routing_key)),)
        return attributes

    def _describe(self, operation: Operation, name: str, queue: str) -> tuple[str, Attributes]:
        subject = queue if operation == "wait" else name
        attributes = self._server
        kind = _OPERATION_TYPES.get(operation)
        if kind is not None:
            attributes += (
                ("messaging.operation.name", operation),
                ("messaging.operation.type", kind),
            )
        if queue:
            attributes += (("messaging.destination.name", queue),)
        return f"{operation} {subject}".rstrip(), (*attributes, ("celery.task.name", name))


def message(task: Task, attempt: Attempt, retries: int) -> Attributes:
    """Return the attributes that all spans of an attempt share."""
    uuid = clean(task.uuid)
    root_id = uuid if task.root_id in (None, task.uuid) else clean(task.root_id or "")
    attributes: Attributes = (
        ("messaging.message.id", uuid),
        ("messaging.message.conversation_id", root_id),
        ("messaging.message.retry.count", retries),
        ("celery.task.root_id", root_id),
        ("celery.task.retries", retries),
    )
    if task.parent_id is not None:
        attributes += (("celery.task.parent_id", clean(task.parent_id)),)
    if attempt.eta is not None:
        attributes += (("celery.task.eta", _iso(attempt.eta)),)
    if attempt.notes is not None and attempt.notes.expires:
        attributes += (("celery.task.expires", clean(attempt.notes.expires, _MAX_MOMENT)),)
    return attributes


def repeats(old_id: str) -> tuple[str, Value]:
    """Return the attribute of a task that an action sent: the id of the task it repeats."""
    return ("celery.task.retry_of", clean(old_id))


def waits(attempt: Attempt) -> Attributes:
    """Return how long an attempt that started had waited: since it was sent, and in its worker.

    A redelivery has no task-sent of its own: how long it waited in the queue is not known.
    """
    started = attempt.started
    if started is None:
        return ()
    eta = attempt.eta or 0.0
    attributes: Attributes = ()
    if attempt.sent is not None:
        seconds = round(max(0.0, started - max(attempt.sent, eta)), 6)
        attributes = (
            ("messaging.message.receive.latency", round(seconds * 1000.0, 3)),
            ("celery.task.queue_wait_seconds", seconds),
        )
    if attempt.received is not None:
        seconds = round(max(0.0, started - max(attempt.received, eta)), 6)
        attributes += (("celery.task.prefetch_wait_seconds", seconds),)
    return attributes


def _iso(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # a year that datetime does not know
        return str(moment)
