"""What actions do in a Redis broker: find a message, put one, count and empty one queue.

Each call sends what changes something once, and touches no message that a worker holds.
"""

import base64
import json
import time
from collections.abc import Callable, Iterable
from typing import Final
from uuid import uuid4

from z4j_exporter.actions.celery_errors import queue_unknown, refused
from z4j_exporter.actions.celery_redis_find import FoundMessage, find_message
from z4j_exporter.actions.celery_redis_session import Installation, Session
from z4j_exporter.actions.messages import Outgoing
from z4j_exporter.actions.model import ActionError
from z4j_exporter.config import Settings
from z4j_exporter.sources.redis_calls import items_in, number_in, refusal
from z4j_exporter.sources.socket_input import printable

#: KEYS are all lists of one queue. Counts and removes them in one step, so that the counts are of
#: what was removed; nothing is removed unless all are lists.
_PURGE: Final = """\
local counts = {}
for i, key in ipairs(KEYS) do counts[i] = redis.call('LLEN', key) end
for _, key in ipairs(KEYS) do redis.call('UNLINK', key) end
return counts
"""


class RedisBroker:
    """The Redis or Valkey that ``settings`` lead to; a connection for each call.

    Deadlines are on ``clock``. Raises BrokerUrlError, ConfigError or FileError for what cannot be
    used.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = Installation(settings, clock=clock)

    def find(self, task_id: str, queues: Iterable[str], deadline: float) -> FoundMessage | None:
        """Return the message of a task that waits in a queue, or that a worker holds.

        ``queues`` are looked through first, then those that bindings name. Raises ActionError
        (503) when the broker cannot be asked.
        """
        with Session(self._place, deadline) as session:
            names = [*queues, *sorted(session.bound())]
            return find_message(session, self._place, task_id, names)

    def route(self, exchange: str, routing_key: str, deadline: float) -> frozenset[str]:
        """Return the queues that messages sent to an exchange reach. Raises ActionError (503)."""
        with Session(self._place, deadline) as session:
            address = (exchange, routing_key)
            routes = self._place.bindings().route(session.calls, [address])
            return routes[address] or frozenset()

    def put(self, queue: str, message: Outgoing, deadline: float, *, new_queue: bool) -> None:
        """Put a message into a queue, once.

        Raises ActionError: 422 (queue-unknown) for a queue that is not there, unless ``new_queue``;
        502 or 503 when nothing was sent; 504 when it may have been.
        """
        with Session(self._place, deadline) as session:
            if not (new_queue and self._place.can_name(queue)) and not session.knows(queue):
                raise queue_unknown(422)
            key = self._place.key(queue, self._place.step(message.properties.get("priority") or 0))
            session.acts()
            (answer,) = session.calls.run([("LPUSH", key, _envelope(message, queue))])
            if words := refusal(answer):
                raise _refused(words, "+lpush")

    def count(self, queue: str, deadline: float) -> dict[str, int]:
        """Return how many messages are ready, by priority step that has any.

        Raises ActionError: 404 (queue-unknown), 502, 503.
        """
        with Session(self._place, deadline) as session:
            if not session.knows(queue):
                raise queue_unknown(404)
            answers = session.calls.run([("LLEN", key) for key in self._place.keys(queue)])
            if words := next(filter(None, map(refusal, answers)), ""):
                raise _refused(words, "+llen")
            return self._by_step([number_in(answer) for answer in answers])

    def purge(self, queue: str, deadline: float) -> dict[str, int]:
        """Remove all that is ready in a queue, and return how many there were by priority step.

        A list that is no queue, but data of the application's, is not touched. Raises
        ActionError: 404 (queue-unknown), 502, 503, or 504 when it may have happened.
        """
        with Session(self._place, deadline) as session:
            if not session.knows(queue):
                raise queue_unknown(404)
            keys = self._place.keys(queue)
            session.acts()
            (answer,) = session.calls.run([("EVAL", _PURGE, len(keys), *keys)])
            if words := refusal(answer):
                raise _refused(words, "+eval +llen +unlink")
            return self._by_step([number_in(item) for item in items_in(answer, len(keys))])

    def _by_step(self, numbers: list[int]) -> dict[str, int]:
        return {str(s): n for s, n in zip(self._place.steps, numbers, strict=True) if n}


def _refused(words: str, rights: str) -> ActionError:
    if words.startswith("WRONGTYPE"):
        return queue_unknown(404)
    return refused(
        printable(words), f"The exporter's user needs {rights} and the queue's keys (~name*)."
    )


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
