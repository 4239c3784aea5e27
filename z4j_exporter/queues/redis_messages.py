"""Reads what a message in Redis tells of itself from its end: its task's id and its age."""

import json
import math
from dataclasses import dataclass
from typing import Any, Final

from z4j_exporter.queues.redis_scripts import TAIL_BYTES

#: Characters of a task's id; Celery's have 36.
_MAX_ID_LENGTH: Final = 255
#: Seconds by which a message's clock may be ahead: a time beyond that is none.
_MAX_AHEAD_SECONDS: Final = 86_400.0
_PROPERTIES: Final = b'"properties":'
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True)
class Head:
    """The message to be taken next from a list; None for what it does not tell."""

    task_id: str | None = None
    #: Epoch seconds: the AMQP property ``timestamp``, which Celery does not set by itself.
    timestamp: float | None = None


def head_of(tail: bytes, now: float) -> Head:
    """Read the last TAIL_BYTES of a message, or all of a shorter one.

    kombu writes a message's ``properties`` last, after body and headers
    (kombu/transport/virtual/base.py ``prepare_message``), and Celery puts the task's id there as
    ``correlation_id`` (celery/app/amqp.py ``as_task_v2``). ``now``: epoch seconds.
    """
    properties = _properties(tail)
    task_id = properties.get("correlation_id")
    if not task_id and len(tail) < TAIL_BYTES:
        headers = _object(tail, 0).get("headers")
        task_id = headers.get("id") if isinstance(headers, dict) else None
    if not isinstance(task_id, str) or not 0 < len(task_id) <= _MAX_ID_LENGTH:
        task_id = None
    return Head(task_id, _timestamp(properties.get("timestamp"), now))


def routing_of(ending: bytes) -> tuple[str, str] | None:
    """Return exchange and routing key of an unacked message, None when they cannot be read."""
    try:
        parts = json.loads(b"[" + ending + b"]")
    except (ValueError, RecursionError):
        return None
    if len(parts) != 2 or not all(part is None or isinstance(part, str) for part in parts):
        return None
    return parts[0] or "", parts[1] or ""


def _properties(tail: bytes) -> dict[str, Any]:
    # Inside a string the quotes would have backslashes: this is a key, and the last of its name.
    start = tail.rfind(_PROPERTIES)
    return {} if start < 0 else _object(tail, start + len(_PROPERTIES))


def _object(text: bytes, start: int) -> dict[str, Any]:
    try:
        value, _ = _DECODER.raw_decode(text[start:].decode("utf-8", "replace").lstrip())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _timestamp(value: Any, now: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    if not math.isfinite(seconds) or not 0 < seconds <= now + _MAX_AHEAD_SECONDS:
        return None
    return seconds
