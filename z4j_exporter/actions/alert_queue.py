"""Actions that alerts have claimed and that wait for their turn: bounded, first come first served.

The journal has each as pending before it is here, so that nothing is lost with the process.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from z4j_exporter.actions.alert_schema import Rule
from z4j_exporter.actions.engine_parts import Planned
from z4j_exporter.actions.records_alerts import AlertKey

#: More alerts than this are answered with 503: Alertmanager sends them again.
MOST_WAITING: Final = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """An action that an alert has claimed under a rule."""

    rule: Rule
    key: AlertKey
    planned: Planned


class Waiting:
    """The claims that wait; any thread may call."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._claims: deque[Claim] = deque()
        self._changed = threading.Condition()
        #: What was taken last and is not settled.
        self._taken: Claim | None = None
        self._closed = False
        #: Firings whose claim was given up, for who judges them.
        self._released: set[AlertKey] = set()

    def __len__(self) -> int:
        return len(self._claims)

    def room(self) -> bool:
        """Return whether one more may wait."""
        return len(self._claims) < self._most and not self._closed

    def has(self, rule: str) -> bool:
        """Return whether something of a rule waits, or was taken and is not settled."""
        with self._changed:
            taken = [self._taken] if self._taken is not None else []
            return any(claim.rule.name == rule for claim in (*taken, *self._claims))

    def put(self, claim: Claim) -> None:
        """Add a claim at the end."""
        with self._changed:
            self._claims.append(claim)
            self._changed.notify()

    def put_back(self, claims: list[Claim]) -> None:
        """Add claims that were taken out, before all others."""
        with self._changed:
            self._claims.extendleft(reversed(claims))
            self._changed.notify()

    def take(self, timeout_seconds: float) -> Claim | None:
        """Return the next claim, None when there is none in time, or when it is closed.

        ``settled`` or ``put_back`` follows. For one thread.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._claims or self._closed, timeout_seconds)
            if not self._claims or self._closed:
                return None
            self._taken = self._claims.popleft()
            return self._taken

    def settled(self) -> None:
        """Say that what was taken does not wait any more."""
        with self._changed:
            self._taken = None

    def release(self, key: AlertKey) -> None:
        """Say that a firing has no claim any more: sent again, it is to be judged anew."""
        with self._changed:
            self._released.add(key)

    def take_released(self) -> set[AlertKey]:
        """Return the firings that were released since the last call."""
        with self._changed:
            released, self._released = self._released, set()
            return released

    def take_out(self, wanted: Callable[[Claim], bool]) -> list[Claim]:
        """Remove and return the claims that a predicate picks; they will not be taken."""
        with self._changed:
            out = [claim for claim in self._claims if wanted(claim)]
            self._claims = deque(claim for claim in self._claims if claim not in out)
            return out

    def close(self) -> None:
        """Let nothing more be taken; what waits stays pending in the journal."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
