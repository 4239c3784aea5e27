"""kombu's bindings in Redis: which queues they name, and where a message was sent by them.

Each exchange has a set ``_kombu.binding.{exchange}``, whose members are routing key, pattern (of a
topic exchange) and queue, joined by the separator (kombu/transport/redis.py ``_queue_bind``).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from z4j_exporter.sources.redis_calls import Command, RedisCalls, refusal, step_in

#: Keys that one look walks over in search of tables; the next look goes on from there.
SCAN_EACH: Final = 5_000
SCAN_STEPS: Final = 4
#: Tables remembered, and bindings read of one table.
MAX_TABLES: Final = 10_000
MAX_BINDINGS: Final = 10_000
#: Words ``#`` of one binding that are understood: with more a match could take very long.
_MAX_ANY: Final = 3
_GLOB: Final = re.compile(r"([*?\[\]\\])")
#: Exchanges of Celery itself (and event_exchange, which is configured).
_INTERNAL: Final = re.compile(r"(?:.*\.)?(?:reply\.)?celery\.pidbox", re.DOTALL)


@dataclass(frozen=True)
class Binding:
    """One binding of a queue to an exchange."""

    routing_key: str
    pattern: str
    queue: str

    def takes(self, routing_key: str) -> bool | None:
        """Return whether it takes messages with this key; None when that cannot be said."""
        if not self.pattern:
            return self.routing_key == routing_key
        words = self.routing_key.split(".")
        if words.count("#") > _MAX_ANY or len(routing_key) > 255:
            return None
        # As kombu does (kombu/transport/virtual/exchange.py TopicExchange.key_to_pattern), from
        # the words again: a pattern of the wire could be made so that it never ends.
        parts = ({"*": r"[^.]+", "#": r".*?"}.get(word, re.escape(word)) for word in words)
        return re.fullmatch(r"\.".join(parts), routing_key, re.DOTALL) is not None


class Bindings:
    """The binding tables of one database, found little by little."""

    def __init__(self, *, key_prefix: str, separator: str, event_exchange: str) -> None:
        self._table_prefix = f"{key_prefix}_kombu.binding."
        self._separator = separator
        self._events = event_exchange
        self._cursor = b"0"
        self._found: dict[str, None] = {}
        #: By exchange; None for a table that could not be read, or not all of it.
        self._tables: dict[str, list[Binding] | None] = {}
        #: What is not known, for people.
        self.note = ""
        #: The server's words, where the last search was refused.
        self.refused = ""

    def queues(self) -> set[str]:
        """Return the queues that the tables name."""
        return {b.queue for table in self._tables.values() for b in table or () if b.queue}

    def refresh(self, calls: RedisCalls) -> None:
        """Look for tables among SCAN_STEPS * SCAN_EACH keys at most, and read all known ones."""
        self.note = self.refused = ""
        for _ in range(SCAN_STEPS):
            (answer,) = calls.run([self._scan()])
            self.refused = refusal(answer)
            if self.refused:
                self.note = (
                    "bindings are not looked for, since the server refused SCAN: "
                    "queues nobody uses may be missing"
                )
                break
            self._cursor, keys = step_in(answer)
            self._remember(keys)
            if self._cursor == b"0":
                break
        self._tables = self._read(calls, list(self._found))
        # A table goes with its last binding.
        self._found = {exchange: None for exchange, table in self._tables.items() if table != []}

    def route(
        self, calls: RedisCalls, addresses: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], frozenset[str] | None]:
        """Return to which queues (exchange, routing key) lead; None when that cannot be said."""
        wanted = {exchange for exchange, _ in addresses if exchange} - set(self._tables)
        if len(wanted) > MAX_TABLES:
            return dict.fromkeys(addresses)
        tables = {**self._tables, **self._read(calls, sorted(wanted))}
        return {address: _route(tables, *address) for address in addresses}

    def _scan(self) -> Command:
        pattern = _GLOB.sub(r"\\\1", self._table_prefix) + "*"
        return ("SCAN", self._cursor, "MATCH", pattern, "COUNT", SCAN_EACH)

    def _remember(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            exchange = _text(key)[len(self._table_prefix) :]
            if _INTERNAL.fullmatch(exchange) or exchange == self._events:
                continue
            if len(self._found) < MAX_TABLES:
                self._found[exchange] = None

    def _read(self, calls: RedisCalls, exchanges: list[str]) -> dict[str, list[Binding] | None]:
        commands: list[Command] = [
            ("SSCAN", encoded(self._table_prefix + exchange), 0, "COUNT", MAX_BINDINGS)
            for exchange in exchanges
        ]
        answers = calls.run(commands)
        return {e: self._table(a) for e, a in zip(exchanges, answers, strict=True)}

    def _table(self, answer: Any) -> list[Binding] | None:
        if refusal(answer):
            return None
        cursor, members = step_in(answer)
        if cursor != b"0":
            self.note = f"an exchange has more than {MAX_BINDINGS} bindings: not all are read"
            return None
        table = []
        for member in members:
            parts = _text(member).split(self._separator)
            if len(parts) == 3:
                table.append(Binding(*parts))
        return table


def _route(
    tables: dict[str, list[Binding] | None], exchange: str, routing_key: str
) -> frozenset[str] | None:
    if not exchange:
        return frozenset((routing_key,))  # the default exchange: the key is the queue's name
    table = tables.get(exchange)
    if table is None:
        return None
    taken = [(binding.queue, binding.takes(routing_key)) for binding in table]
    if any(takes is None for _, takes in taken):
        return None
    return frozenset(queue for queue, takes in taken if takes)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    """Return a key as Redis has it; what was no UTF-8 there is as it was."""
    # "replace": half a surrogate pair, as JSON may have it, names no key that kombu can write.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
