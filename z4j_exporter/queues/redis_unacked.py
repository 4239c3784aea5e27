"""Counts unacknowledged messages in Redis by queue, in bounded work, or says that it cannot.

kombu keeps no note of the queue that a message came from, only of the exchange and routing key
that it was sent to: the bindings tell where that leads. Where it leads to several queues, each
has a copy, and whose copy this is cannot be said: these queues' counts are unknown.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from z4j_exporter.queues.redis_bindings import Bindings
from z4j_exporter.queues.redis_messages import routing_of
from z4j_exporter.queues.redis_scripts import UNACKED, UNACKED_EACH, Scripts
from z4j_exporter.sources.redis_calls import RedisCalls, number_in, refusal, step_in
from z4j_exporter.sources.socket_input import printable

#: The part of the time left that counting may take: it must not cost what was read before it.
_SHARE_OF_TIME: Final = 0.6
#: Steps for each that the entries need: a hash that grows meanwhile is walked on, not for ever.
_STEPS_FACTOR: Final = 4


@dataclass(frozen=True)
class Unacked:
    """Counts by queue. ``known`` is False where nothing can be said of any queue."""

    known: bool
    counts: Mapping[str, int] = field(default_factory=dict)
    ambiguous: frozenset[str] = frozenset()

    def of(self, queue: str) -> int | None:
        """Return the count of a queue; None where it is not known."""
        if not self.known or queue in self.ambiguous:
            return None
        return self.counts.get(queue, 0)


def count_unacked(
    calls: RedisCalls,
    scripts: Scripts,
    key: bytes,
    limit: int,
    bindings: Bindings,
    notes: list[str],
) -> Unacked:
    """Count the entries of the hash ``key``, if there are no more than ``limit``.

    What could not be counted is said in ``notes``. Raises SourceLostError.
    """
    if limit == 0:
        return Unacked(known=False)
    (size,) = calls.run([("HLEN", key)])
    if refusal(size):
        notes.append(f"unacked messages are not counted: {printable(refusal(size))}")
        return Unacked(known=False)
    if number_in(size) > limit:
        notes.append(
            f"unacked messages are not counted by queue: there are {size}, "
            f"and --unacked-scan-limit is {limit}"
        )
        return Unacked(known=False)
    endings = _endings(calls, scripts, key, size, notes) if size else {}
    if endings is None:
        return Unacked(known=False)
    routings = {ending: routing_of(ending) for ending in set(endings.values())}
    if None in routings.values():
        notes.append("unacked messages are not counted: there are some that kombu did not write")
        return Unacked(known=False)
    addresses = Counter(address for e in endings.values() if (address := routings[e]) is not None)
    return _by_queue(addresses, bindings.route(calls, addresses), notes)


def _endings(
    calls: RedisCalls, scripts: Scripts, key: bytes, size: int, notes: list[str]
) -> dict[bytes, bytes] | None:
    """Return the end of each entry by its delivery tag: HSCAN may give an entry twice."""
    endings: dict[bytes, bytes] = {}
    cursor = b"0"
    stop_at = calls.remaining_seconds() * (1.0 - _SHARE_OF_TIME)
    for _ in range(_STEPS_FACTOR * (size // UNACKED_EACH + 1)):
        (answer,) = scripts.run(calls, [(UNACKED, 1, key, cursor, UNACKED_EACH)])
        if refusal(answer):
            notes.append(f"unacked messages are not counted: {printable(refusal(answer))}")
            return None
        cursor, flat = step_in(answer)
        endings.update(zip(flat[::2], flat[1::2], strict=False))
        if cursor == b"0":
            return endings
        if calls.remaining_seconds() < stop_at:
            break
    notes.append("unacked messages are not counted: that would take too long")
    return None


def _by_queue(
    addresses: Mapping[tuple[str, str], int],
    routes: Mapping[tuple[str, str], frozenset[str] | None],
    notes: list[str],
) -> Unacked:
    counts: Counter[str] = Counter()
    ambiguous: set[str] = set()
    for address, count in addresses.items():
        queues = routes[address]
        if queues is None:
            notes.append("unacked messages are not counted: some exchange's bindings are not known")
            return Unacked(known=False)
        if len(queues) > 1:
            ambiguous |= queues
        for queue in queues:
            counts[queue] += count
    if ambiguous:
        notes.append(
            f"unacked messages of {len(ambiguous)} queues are not counted: "
            "they were sent to several queues at once"
        )
    return Unacked(known=True, counts=counts, ambiguous=frozenset(ambiguous))
