"""Says how an attempt ended: state, status, and what it failed of."""

from typing import NamedTuple

from z4j_exporter.tracing.failure import error_type, exception_event
from z4j_exporter.tracing.model import Attributes, SpanEvent
from z4j_exporter.track.attempts import Attempt, Notes

#: Celery's states, and one of ours: what replace() ends has none. task-cancelled marks the task
#: for a retry (celery/worker/request.py ``_announce_cancelled``).
_STATES = {
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "retried": "RETRY",
    "rejected": "REJECTED",
    "revoked": "REVOKED",
    "cancelled": "RETRY",
    "replaced": "REPLACED",
}
_STATE_ATTRIBUTES = {end: ("celery.task.state", state) for end, state in _STATES.items()}
#: Nobody saw it end: lost with its worker, given up, ignored (no event tells Ignore).
_UNSEEN: Attributes = (("celery.task.end_seen", False),)


class Outcome(NamedTuple):
    """What a span says of an end. ``error`` is the status ERROR; else it is UNSET."""

    attributes: Attributes
    error: bool = False
    status_message: str = ""
    events: tuple[SpanEvent, ...] = ()


def outcome(attempt: Attempt, notes: Notes, end_ns: int, *, retry_error: bool) -> Outcome:
    """Return what the span of an attempt's run says of its end.

    ``retry_error`` makes an attempt that is retried an error, though its task goes on.
    """
    end = attempt.end or ""
    state = _STATE_ATTRIBUTES.get(end)
    attributes = _UNSEEN if state is None else (state,)
    if end in ("failed", "retried"):
        return _failure(attributes, notes, end_ns, error=end == "failed" or retry_error)
    if end == "lost":
        kind = notes.detail or "worker_lost"
        said = "its worker is gone" if kind == "worker_lost" else "no end came for too long"
        return Outcome((*attributes, ("error.type", kind)), True, said)
    if end == "revoked":
        attributes += revocation(notes)
        if notes.detail == "terminated":
            return Outcome((*attributes, ("error.type", "terminated")), True, "terminated")
    # requeued, a message is delivered again; else it is gone, or a dead letter.
    if end == "rejected" and notes.detail != "true":
        return Outcome((*attributes, ("error.type", "rejected")), True, "rejected")
    return Outcome(attributes)


def revocation(notes: Notes) -> Attributes:
    """Return why it was revoked: terminated, expired, or just revoked."""
    return (("celery.task.revoke_reason", notes.detail or "revoked"),)


def _failure(attributes: Attributes, notes: Notes, end_ns: int, *, error: bool) -> Outcome:
    told = exception_event(notes, end_ns)
    event, status = told if told is not None else (None, error_type(notes.detail))
    events = () if event is None else (event,)
    if not error:
        return Outcome(attributes, events=events)
    return Outcome((*attributes, ("error.type", error_type(notes.detail))), True, status, events)
