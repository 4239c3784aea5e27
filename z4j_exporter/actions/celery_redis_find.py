"""Finds the message of one task in Redis: in a queue's lists, or among those that workers hold.

The server looks through the messages and sends only those that name the task: a queue may hold
gigabytes. Nothing is taken out, moved or marked.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from z4j_exporter.actions.celery_redis_session import Installation, Session
from z4j_exporter.sources.redis_calls import items_in, refusal, step_in

#: Messages of one list, and entries of the unacked hash, that are looked through.
MAX_LOOKED_AT: Final = 20_000
#: Messages that one script looks at: Redis does nothing else meanwhile.
_EACH: Final = 250

#: KEYS[1] is a list, ARGV a range and the id as it stands in JSON. Returns how many messages were
#: looked at and those that name it.
_IN_LIST: Final = """\
local found = {}
local messages = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
for _, message in ipairs(messages) do
  if string.find(message, ARGV[3], 1, true) then found[#found + 1] = message end
end
return {#messages, found}
"""
#: KEYS[1] is the unacked hash, ARGV cursor, count and id. Returns the next cursor and values.
_HELD: Final = """\
local step = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = {}
for i = 2, #step[2], 2 do
  if string.find(step[2][i], ARGV[3], 1, true) then found[#found + 1] = step[2][i] end
end
return {step[1], found}
"""


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message as it stands in Redis."""

    envelope: dict[str, Any]
    #: None where a worker holds it.
    queue: str | None


def find_message(
    session: Session, place: Installation, task_id: str, queues: Iterable[str]
) -> FoundMessage | None:
    """Return the message of a task, None where it is not found among MAX_LOOKED_AT of each list.

    Raises SourceLostError.
    """
    # Messages are JSON in ASCII (kombu/utils/json.py ``dumps``).
    needle = json.dumps(task_id).encode("ascii")
    held = _find_held(session, place, needle, task_id)
    if held is not None:
        return FoundMessage(held, None)
    for queue in dict.fromkeys(queues):
        for key in place.keys(queue):
            found = _find_in_list(session, key, needle, task_id)
            if found is not None:
                return FoundMessage(found, queue)
    return None


def _find_in_list(
    session: Session, key: bytes, needle: bytes, task_id: str
) -> dict[str, Any] | None:
    for start in range(0, MAX_LOOKED_AT, _EACH):
        asked = (_IN_LIST, 1, key, start, start + _EACH - 1, needle)
        (answer,) = session.scripts.run(session.calls, [asked])
        if refusal(answer):
            return None
        looked, found = items_in(answer, 2)
        for raw in found:
            envelope: Any = _parsed(raw)
            if isinstance(envelope, dict) and _is_of(envelope, task_id):
                return envelope
        if looked < _EACH or not session.has_time():
            return None
    return None


def _find_held(
    session: Session, place: Installation, needle: bytes, task_id: str
) -> dict[str, Any] | None:
    cursor = b"0"
    for _ in range(MAX_LOOKED_AT // _EACH):
        asked = (_HELD, 1, place.unacked, cursor, _EACH, needle)
        (answer,) = session.scripts.run(session.calls, [asked])
        if refusal(answer):
            return None
        cursor, found = step_in(answer)
        for raw in found:
            # [message, exchange, routing key] (kombu/transport/redis.py ``QoS.append``).
            entry = _parsed(raw)
            envelope: Any = entry[0] if isinstance(entry, list) and entry else None
            if isinstance(envelope, dict) and _is_of(envelope, task_id):
                return envelope
        if cursor == b"0" or not session.has_time():
            return None
    return None


def _parsed(raw: object) -> Any:
    try:
        return json.loads(raw) if isinstance(raw, bytes) else None
    except (ValueError, RecursionError):
        return None


def _is_of(envelope: dict[str, Any], task_id: str) -> bool:
    # The id may stand anywhere in other messages: in arguments, or as a parent's.
    headers = envelope.get("headers")
    return isinstance(headers, dict) and headers.get("id") == task_id
