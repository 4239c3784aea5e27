"""What actions do in a Redis broker: find a message, put one, count and empty one queue.

With our own connection and never kombu's, whose client may send a command again after a timeout
(redis-py retries by itself): a task would run twice. Each call has one deadline, sends once, and
touches no message that a worker holds.
"""

import base64
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from z4j_exporter.actions.messages import Outgoing
from z4j_exporter.actions.model import ActionError
from z4j_exporter.config import Settings
from z4j_exporter.errors import SourceLostError
from z4j_exporter.queues.redis import DEFAULT_PRIORITY_STEPS, DEFAULT_SEPARATOR
from z4j_exporter.queues.redis_bindings import Bindings, encoded
from z4j_exporter.queues.redis_scripts import Scripts
from z4j_exporter.sources.redis_calls import (
    RedisCalls,
    connect_calls,
    items_in,
    number_in,
    refusal,
    step_in,
)
from z4j_exporter.sources.redis_servers import RedisServers
from z4j_exporter.sources.socket_input import printable

#: Messages of one list, and entries of the unacked hash, that are looked through for a task.
MAX_LOOKED_AT: Final = 20_000
#: Messages that one script looks at: Redis does nothing else meanwhile.
_EACH: Final = 250
#: Seconds that looking through lists may leave for what comes after it.
_SPARE_SECONDS: Final = 0.5
#: Other lists that a queue may have, if the application's priority_steps are not the exporter's:
#: AMQP's priorities (kombu/transport/redis.py takes 0 to 9).
_ALL_STEPS: Final = range(10)

#: KEYS[1] is a list, ARGV a range and the id as it stands in JSON. Returns how many messages were
#: looked at and those that name it.
_FIND: Final = """\
local found = {}
local messages = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
for _, message in ipairs(messages) do
  if string.find(message, ARGV[3], 1, true) then found[#found + 1] = message end
end
return {#messages, found}
"""
#: KEYS[1] is the unacked hash, ARGV cursor, count and id. Returns the next cursor and values.
_FIND_HELD: Final = """\
local step = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = {}
for i = 2, #step[2], 2 do
  if string.find(step[2][i], ARGV[3], 1, true) then found[#found + 1] = step[2][i] end
end
return {step[1], found}
"""
#: KEYS are all lists of one queue. Counts and removes them in one step, so that the counts are of
#: what was removed; nothing is removed unless all are lists.
_PURGE: Final = """\
local counts = {}
for i, key in ipairs(KEYS) do counts[i] = redis.call('LLEN', key) end
for _, key in ipairs(KEYS) do redis.call('UNLINK', key) end
return counts
"""


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message as it stands in Redis."""

    envelope: dict[str, Any]
    #: None where a worker holds it.
    queue: str | None
    held: bool


class RedisBroker:
    """The Redis or Valkey that ``settings`` lead to; a connection for each call.

    ``clock`` is the clock of deadlines. Raises BrokerUrlError, ConfigError or FileError for what
    cannot be used.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        options = settings.broker_transport_options
        urls = [url for url in (settings.broker_url or "").split(";") if url]
        self._servers = RedisServers(urls, options, settings.broker_tls)
        steps = options.get("priority_steps") or DEFAULT_PRIORITY_STEPS
        self._steps = tuple(int(step) for step in steps)
        self._separator = str(options.get("sep") or DEFAULT_SEPARATOR)
        self._prefix = str(options.get("global_keyprefix") or "")
        self._unacked = self._prefix + str(options.get("unacked_key") or "unacked")
        self._event_exchange = settings.event_exchange
        self._clock = clock

    @property
    def location(self) -> str:
        """Where it is, without secrets."""
        return self._servers.location

    def find(self, task_id: str, queues: Iterable[str], deadline: float) -> FoundMessage | None:
        """Return the message of a task that waits in a queue, or that a worker holds.

        ``queues`` are looked through first, then those that bindings name; MAX_LOOKED_AT messages
        of each list at most. Raises ActionError (503) when the broker cannot be asked.
        """
        with _Session(self, deadline) as session:
            needle = json.dumps(task_id).encode("ascii")
            names = list(dict.fromkeys([*queues, *sorted(self._bound(session))]))
            held = self._find_held(session, needle, task_id)
            if held is not None:
                return held
            for name in names:
                for key in self._keys(name):
                    found = self._find_in(session, key, needle, task_id)
                    if found is not None:
                        return FoundMessage(found, name, held=False)
        return None

    def knows(self, queue: str, deadline: float) -> bool:
        """Whether the queue has messages, or a binding names it. Raises ActionError (503)."""
        with _Session(self, deadline) as session:
            return self._knows(session, queue)

    def route(self, exchange: str, routing_key: str, deadline: float) -> frozenset[str]:
        """Return the queues that messages sent to an exchange reach. Raises ActionError (503)."""
        with _Session(self, deadline) as session:
            bindings = self._bindings()
            address = (exchange, routing_key)
            return bindings.route(session.calls, [address])[address] or frozenset()

    def put(self, queue: str, message: Outgoing, deadline: float, *, new_queue: bool) -> None:
        """Put a message into a queue, once.

        Raises ActionError: 422 (queue-unknown) for a queue that is not there, unless ``new_queue``;
        503 when nothing was sent; 504 when it may have been.
        """
        with _Session(self, deadline) as session:
            if not new_queue and not self._knows(session, queue):
                raise queue_unknown(422)
            step = step_of(self._steps, message.properties.get("priority") or 0)
            envelope = _envelope(message, queue)
            session.acts()
            (answer,) = session.calls.run([("LPUSH", self._key(queue, step), envelope)])
            if words := refusal(answer):
                raise _refused(words)

    def count(self, queue: str, deadline: float) -> dict[str, int]:
        """Return how many messages are ready, by priority step that has any.

        Raises ActionError: 503, or 404 (queue-unknown).
        """
        with _Session(self, deadline) as session:
            counts = self._counts(session, queue)
            if not sum(counts.values()) and not self._knows(session, queue):
                raise queue_unknown(404)
            return counts

    def purge(self, queue: str, deadline: float) -> dict[str, int]:
        """Remove all that is ready in a queue, and return how many there were by priority step.

        The queue must be one that a binding names: else a list that is no queue could be removed.
        Raises ActionError: 404 (queue-unknown), 503, or 504 when it may have happened.
        """
        with _Session(self, deadline) as session:
            if queue not in self._bound(session):
                raise queue_unknown(404)
            steps = self._all_steps()
            keys = [self._key(queue, step) for step in steps]
            session.acts()
            (answer,) = session.calls.run([("EVAL", _PURGE, len(keys), *keys)])
            if words := refusal(answer):
                raise _refused(words)
            numbers = [number_in(item) for item in items_in(answer, len(keys))]
            return {str(s): n for s, n in zip(steps, numbers, strict=True) if n}

    def _counts(self, session: "_Session", queue: str) -> dict[str, int]:
        steps = self._all_steps()
        answers = session.calls.run([("LLEN", self._key(queue, step)) for step in steps])
        for answer in answers:
            if words := refusal(answer):
                raise queue_unknown(404) if words.startswith("WRONGTYPE") else _refused(words)
        return {str(s): number_in(a) for s, a in zip(steps, answers, strict=True) if a}

    def _knows(self, session: "_Session", queue: str) -> bool:
        if self._separator in queue or not queue:
            return False  # one of the lists of a queue, and no queue
        answers = session.calls.run([("LLEN", key) for key in self._keys(queue)])
        if any(refusal(answer) for answer in answers):
            return False
        return any(answers) or queue in self._bound(session)

    def _bound(self, session: "_Session") -> set[str]:
        if session.bound is None:
            bindings = self._bindings()
            bindings.refresh(session.calls)
            session.bound = bindings.queues()
        return session.bound

    def _bindings(self) -> Bindings:
        return Bindings(
            key_prefix=self._prefix, separator=self._separator, event_exchange=self._event_exchange
        )

    def _all_steps(self) -> list[int]:
        return sorted({*self._steps, *_ALL_STEPS})

    def _keys(self, queue: str) -> list[bytes]:
        return [self._key(queue, step) for step in self._all_steps()]

    def _key(self, queue: str, step: int) -> bytes:
        return encoded(self._prefix + queue + (f"{self._separator}{step}" if step else ""))

    def _find_in(
        self, session: "_Session", key: bytes, needle: bytes, task_id: str
    ) -> dict[str, Any] | None:
        for start in range(0, MAX_LOOKED_AT, _EACH):
            asked = (_FIND, 1, key, start, start + _EACH - 1, needle)
            (answer,) = session.scripts.run(session.calls, [asked])
            if refusal(answer):
                return None
            looked, found = items_in(answer, 2)
            for raw in found:
                if envelope := _of_task(raw, task_id):
                    return envelope
            if looked < _EACH or session.calls.remaining_seconds() < _SPARE_SECONDS:
                return None
        return None

    def _find_held(self, session: "_Session", needle: bytes, task_id: str) -> FoundMessage | None:
        cursor = b"0"
        for _ in range(MAX_LOOKED_AT // _EACH):
            asked = (_FIND_HELD, 1, encoded(self._unacked), cursor, _EACH, needle)
            (answer,) = session.scripts.run(session.calls, [asked])
            if refusal(answer):
                return None
            cursor, found = step_in(answer)
            for raw in found:
                if envelope := _held(raw, task_id):
                    return FoundMessage(envelope, None, held=True)
            if cursor == b"0" or session.calls.remaining_seconds() < _SPARE_SECONDS:
                return None
        return None


class _Session:
    """One connection, from connecting to closing; driver errors become ActionErrors at its end."""

    def __init__(self, broker: RedisBroker, deadline: float) -> None:
        self._broker = broker
        self._deadline = deadline
        self._acted = False
        self.scripts = Scripts()
        self.bound: set[str] | None = None
        self.calls: RedisCalls

    def acts(self) -> None:
        """Note that what is sent from here on changes something."""
        self._acted = True

    def __enter__(self) -> "_Session":
        try:
            self.calls = connect_calls(
                self._broker._servers, self._deadline, "z4j-exporter-actions", self._broker._clock
            )
        except SourceLostError as error:
            raise unreachable(error.message) from None
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.calls.close()
        if isinstance(error, SourceLostError):
            if self._acted:
                raise unknown(error.message) from None
            raise unreachable(error.message) from None


def queue_unknown(status: int) -> ActionError:
    """Return the refusal of a queue that the broker does not know."""
    return ActionError(
        "queue-unknown",
        status,
        "the broker knows no queue of this name",
        hint="A worker or a sender that uses the queue makes it known.",
    )


def unreachable(why: str) -> ActionError:
    """Return the failure of asking the broker, before anything was changed."""
    return ActionError(
        "broker-unreachable",
        503,
        f"the broker cannot be asked, nothing was done: {why}",
        hint="Is the broker running, and may the exporter's user do this?",
    )


def unknown(why: str) -> ActionError:
    """Return the failure after which it is not known whether something was changed."""
    return ActionError(
        "broker-timeout",
        504,
        f"the broker did not confirm, so it is not known whether it was done: {why}",
        hint="Look at the task or the queue before trying again.",
        unknown=True,
    )


def _refused(words: str) -> ActionError:
    return ActionError(
        "broker-refused",
        502,
        f"the broker refused, nothing was done: {printable(words)}",
        hint="The exporter's user needs +lpush +llen +eval +unlink and the queues' keys.",
    )


def step_of(steps: Sequence[int], priority: int) -> int:
    """Return the step whose list takes a priority (kombu/transport/redis.py ``priority``)."""
    clamped = max(0, min(9, priority))
    return max((step for step in steps if step <= clamped), default=max(steps))


def _envelope(message: Outgoing, queue: str) -> bytes:
    """Return a message as kombu's virtual transports write it (``prepare_message``)."""
    return json.dumps(
        {
            "body": base64.b64encode(message.body).decode("ascii"),
            "content-encoding": message.content_encoding,
            "content-type": message.content_type,
            "headers": message.headers,
            "properties": {
                **message.properties,
                "priority": message.properties.get("priority") or 0,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    ).encode("ascii")


def _of_task(raw: object, task_id: str) -> dict[str, Any] | None:
    try:
        envelope = json.loads(raw) if isinstance(raw, bytes) else None
    except (ValueError, RecursionError):
        return None
    return _checked(envelope, task_id)


def _held(raw: object, task_id: str) -> dict[str, Any] | None:
    """Return the message of an entry of the unacked hash: ``[message, exchange, routing_key]``."""
    try:
        entry = json.loads(raw) if isinstance(raw, bytes) else None
        message = entry[0] if isinstance(entry, list) and entry else None
    except (ValueError, RecursionError):
        return None
    return _checked(message, task_id)


def _checked(envelope: object, task_id: str) -> dict[str, Any] | None:
    if not isinstance(envelope, dict):
        return None
    headers = envelope.get("headers")
    # The id may stand anywhere in other messages: in arguments, or as a parent's.
    if isinstance(headers, dict) and headers.get("id") == task_id:
        return envelope
    return None
