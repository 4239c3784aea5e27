"""Reads queues from Redis or Valkey: what is ready, by priority, what is held, what is oldest.

A queue is one list for each priority step (kombu/transport/redis.py ``_q_for_pri``): its own name
for step 0, name, separator and step for the others. Messages that a worker took and has not
acknowledged (prefetched, running with late acknowledgement, waiting for their ETA) stand in one
hash for all queues, ``unacked``.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError, SourceLostError
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.queues.redis_bindings import Bindings, encoded
from z4j_exporter.queues.redis_messages import Head, head_of
from z4j_exporter.queues.redis_scripts import LISTS_EACH, TAIL_BYTES, TAILS, Scripts
from z4j_exporter.queues.redis_unacked import count_unacked
from z4j_exporter.queues.select import QueueFilter
from z4j_exporter.sources.redis_calls import (
    Command,
    RedisCalls,
    connect_calls,
    items_in,
    number_in,
    refusal,
)
from z4j_exporter.sources.redis_servers import RedisServers
from z4j_exporter.sources.socket_input import printable

#: kombu's PRIORITY_STEPS and ``sep``.
DEFAULT_PRIORITY_STEPS: Final = (0, 3, 6, 9)
DEFAULT_SEPARATOR: Final = "\x06\x16"
#: Priority steps that an application may have; kombu itself knows priorities from 0 to 9.
_MAX_STEPS: Final = 256
#: Names of queues that a note repeats.
_NAMED: Final = 3
#: Refusals that concern the whole server, not one key.
_NOT_NOW: Final = ("LOADING", "NOAUTH", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "READONLY")


@dataclass(frozen=True)
class _Lists:
    """The lists of one queue: their keys by priority step, as a label has it."""

    name: str
    keys: Mapping[str, bytes]


class RedisQueues:
    """Reads the queues of one Redis or Valkey installation; see QueueReader.

    Of the transport options, priority_steps, sep, global_keyprefix and unacked_key are used beside
    those that lead to the server (see RedisServers). Each reading has a connection of its own: a
    new master is found at once, and no idle connection can have died meanwhile. ``clock`` is the
    clock of deadlines, ``wall`` gives epoch seconds.

    Raises BrokerUrlError, ConfigError or FileError for what cannot be used.
    """

    method = "redis"

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        options = settings.broker_transport_options
        urls = [url for url in (settings.broker_url or "").split(";") if url]
        self._servers = RedisServers(urls, options, settings.broker_tls)
        self._steps = _priority_steps(options)
        self._separator = str(options.get("sep") or DEFAULT_SEPARATOR)
        self._prefix = str(options.get("global_keyprefix") or "")
        self._unacked_key = self._prefix + str(options.get("unacked_key") or "unacked")
        self._unacked_limit = settings.unacked_scan_limit
        self._filter = QueueFilter(settings)
        self._bindings = Bindings(
            key_prefix=self._prefix,
            separator=self._separator,
            event_exchange=settings.event_exchange,
        )
        self._scripts = Scripts()
        self._clock = clock
        self._wall = wall
        self.notes: tuple[str, ...] = ()
        #: Times that the last reading asked the server and waited; connecting not counted.
        self.round_trips = 0

    def read(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        """See QueueReader.read. Besides ``names``, queues that bindings name are read."""
        try:
            calls = connect_calls(self._servers, deadline, "z4j-exporter-queues", self._clock)
            try:
                return self._read(calls, names)
            finally:
                self.round_trips = calls.round_trips
                calls.close()
        except SourceLostError as error:
            raise QueuePollError(error.message) from None

    def close(self) -> None:
        """See QueueReader.close; between readings there is no connection."""

    def _read(self, calls: RedisCalls, names: Collection[str]) -> list[QueueReading]:
        notes: list[str] = []
        self._bindings.refresh(calls)
        if self._bindings.refused.startswith(_NOT_NOW):
            raise QueuePollError(_explain(self._bindings.refused))
        found = {name for name in self._bindings.queues() if self._filter.admits(name)}
        queues = [
            _Lists(name, {str(step): self._key(name, step) for step in self._steps})
            for name in sorted({*names, *found})
            if self._separator not in name  # that is no queue, but one of its lists
        ]
        depths = self._depths(calls, queues, notes)
        heads = self._heads(calls, queues, depths, notes)
        unacked = count_unacked(
            calls,
            self._scripts,
            encoded(self._unacked_key),
            self._unacked_limit,
            self._bindings,
            notes,
        )
        if self._bindings.note:
            notes.append(self._bindings.note)
        self.notes = tuple(notes)
        return [
            QueueReading(
                name=queue.name,
                ready=depths[queue.name],
                unacked=unacked.of(queue.name),
                **_oldest(heads.get(queue.name, []), self._wall()),
            )
            for queue in queues
        ]

    def _key(self, name: str, step: int) -> bytes:
        text = self._prefix + name + (f"{self._separator}{step}" if step else "")
        return encoded(text)

    def _depths(
        self, calls: RedisCalls, queues: list[_Lists], notes: list[str]
    ) -> dict[str, dict[str, int] | None]:
        """Return how many messages are ready; None for a queue that cannot be read."""
        answers = iter(
            calls.run([("LLEN", key) for queue in queues for key in queue.keys.values()])
        )
        depths: dict[str, dict[str, int] | None] = {}
        refused: dict[str, str] = {}
        for queue in queues:
            lengths = {step: next(answers) for step in queue.keys}
            words = next(filter(None, map(refusal, lengths.values())), "")
            if words:
                refused[queue.name] = words
            depths[queue.name] = (
                None if words else {step: number_in(length) for step, length in lengths.items()}
            )
        if refused:
            words = next(iter(refused.values()))
            if len(refused) == len(queues) or words.startswith(_NOT_NOW):
                raise QueuePollError(_explain(words))
            notes.append(f"{_named(refused)} cannot be read: {_explain(words)}")
        return depths

    def _heads(
        self,
        calls: RedisCalls,
        queues: list[_Lists],
        depths: Mapping[str, Mapping[str, int] | None],
        notes: list[str],
    ) -> dict[str, list[Head]]:
        """Return the messages to be taken next, one of each list that has any."""
        lists = [
            (queue.name, key)
            for queue in queues
            for step, key in queue.keys.items()
            if (depths[queue.name] or {}).get(step)
        ]
        chunks = [lists[i : i + LISTS_EACH] for i in range(0, len(lists), LISTS_EACH)]
        looks: list[Command] = [
            (TAILS, len(chunk), *(key for _, key in chunk), TAIL_BYTES) for chunk in chunks
        ]
        heads: dict[str, list[Head]] = {}
        now = self._wall()
        words = ""
        for chunk, tails in zip(chunks, self._scripts.run(calls, looks), strict=True):
            if refusal(tails):
                words = refusal(tails)
                continue
            for (name, _), tail in zip(chunk, items_in(tails, len(chunk)), strict=True):
                if isinstance(tail, bytes):
                    heads.setdefault(name, []).append(head_of(tail, now))
                elif tail is not None:
                    words = refusal(tail)
                    heads.setdefault(name, []).append(Head())
        if words:
            notes.append(f"the oldest message is not looked at: {_explain(words)}")
        return heads


def _oldest(heads: list[Head], now: float) -> dict[str, Any]:
    """Return what a reading says of the oldest message: nothing, if one is of unknown age."""
    ids = tuple(h.task_id for h in heads if h.timestamp is None and h.task_id)
    times = [head.timestamp for head in heads if head.timestamp is not None]
    if len(ids) + len(times) < len(heads):
        return {}
    age = max(0.0, now - min(times)) if times else None
    return {"oldest_age_seconds": age, "oldest_task_ids": ids}


def _priority_steps(options: Mapping[str, Any]) -> tuple[int, ...]:
    given = options.get("priority_steps")
    if given is None:
        return DEFAULT_PRIORITY_STEPS
    steps = tuple(given) if isinstance(given, list | tuple | range) else ()
    if not 0 < len(steps) <= _MAX_STEPS or not all(type(step) is int for step in steps):
        raise ConfigError(
            "priority_steps must be a list of numbers",
            hint="For example --broker-transport-option 'priority_steps=[0, 3, 6, 9]'.",
        )
    return tuple(dict.fromkeys(steps))


def _named(names: Collection[str]) -> str:
    shown = ", ".join(repr(printable(name)) for name in sorted(names)[:_NAMED])
    more = len(names) - _NAMED
    what = "queue" if len(names) == 1 else "queues"
    return f"{what} {shown}" + (f" and {more} more" if more > 0 else "")


def _explain(words: str) -> str:
    """Say what a refusal means and what to do."""
    if words.startswith("NOPERM"):
        return (
            "the user may not: it needs +llen +scan +sscan +hlen +hscan +lindex +eval_ro and "
            f"the queues' keys, see docs/queues.md ({printable(words)})"
        )
    if words.startswith("WRONGTYPE"):
        return "the key of this name is no list"
    if words.startswith("NOAUTH"):
        return "the server asks for a password: put it, or user:password, into the broker URL"
    if words.startswith("LOADING"):
        return "the server is still loading its data"
    return f"the server says: {printable(words)}"
