"""Remembers the latest failures and the slowest runs, as the tracker tells of them."""

from collections import Counter, deque
from collections.abc import Mapping
from heapq import heappop, heappush, nlargest
from itertools import chain, count

from z4j_exporter.track.transitions import Emit, TaskTransition, Transition

#: Failures remembered.
FAILURES = 20
#: Slowest runs of each slot of time, and of all of them.
SLOWEST = 10
#: Slots of time over which the slowest are looked for.
SLOTS = 60
#: Kinds of transitions that close an attempt.
_ENDS = (
    "succeeded", "failed", "retried", "rejected", "revoked", "cancelled", "lost", "unseen",
)  # fmt: skip
_SELDOM = frozenset(_ENDS) - {"succeeded"}
#: Those that no event tells.
_CONCLUDED = frozenset({"lost", "unseen"})


class Recent:
    """Sees every transition, so it does as little as it can. The applier's thread calls all of it.

    Bounded: FAILURES, and SLOWEST for each of SLOTS.
    """

    def __init__(self) -> None:
        #: Ends that no event tells, and those that were told twice (subtracted), by kind.
        self._beside: Counter[str] = Counter()
        self._failures: deque[TaskTransition] = deque(maxlen=FAILURES)
        self._slots: deque[list[tuple[float, int, TaskTransition]]] = deque([[]], maxlen=SLOTS)
        # What a run must take more of, to be one of the slowest of this slot.
        self._least = -1.0
        self._serial = count()

    def following(self, emit: Emit) -> Emit:
        """Return an emit that shows ends here, after the sinks have had them."""
        seldom, take = _SELDOM, self._take

        def follow(transition: Transition) -> None:
            emit(transition)
            kind = transition.kind
            if kind == "succeeded":
                runtime = transition.runtime  # type: ignore[union-attr]  # no worker has succeeded
                if runtime is not None and runtime > self._least:
                    take(transition)  # type: ignore[arg-type]  # as above
            elif kind in seldom:
                take(transition)  # type: ignore[arg-type]  # as above

        return follow

    def rotate(self) -> None:
        """Begin a new slot; the oldest is forgotten."""
        self._slots.append([])
        self._least = -1.0

    def ends(self, events: Mapping[str, int]) -> dict[str, int]:
        """Return how many attempts ended, by how; ``events`` counts the events by type.

        A second telling of one end is not counted, and what the tracker concludes is.
        """
        return {kind: events.get(f"task-{kind}", 0) + self._beside[kind] for kind in _ENDS}

    def failures(self) -> list[TaskTransition]:
        """Return the latest failures, the newest first."""
        return list(reversed(self._failures))

    def slowest(self) -> list[TaskTransition]:
        """Return the attempts that ran longest, the longest first."""
        every = chain.from_iterable(self._slots)
        return [step for _, _, step in nlargest(SLOWEST, every, key=lambda entry: entry[:2])]

    def _take(self, end: TaskTransition) -> None:
        kind = end.kind
        if end.repeat:
            self._beside[kind] -= 1
            return
        if kind in _CONCLUDED:
            self._beside[kind] += 1
        if kind != "succeeded" and _is_failure(end):
            self._failures.append(end)
        if end.runtime is not None and end.runtime > self._least:
            self._add(end.runtime, end)

    def _add(self, runtime: float, end: TaskTransition) -> None:
        slot = self._slots[-1]
        heappush(slot, (runtime, next(self._serial), end))
        if len(slot) > SLOWEST:
            heappop(slot)
        if len(slot) == SLOWEST:
            self._least = slot[0][0]


def _is_failure(end: TaskTransition) -> bool:
    """Return whether work was left undone by mistake; a rejection that goes back is none."""
    return end.kind in ("failed", "lost") or (end.kind == "rejected" and end.detail != "true")
