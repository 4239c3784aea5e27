"""Calls the sample application's tasks at a steady rate: the same every time for one seed.

``python -m z4j_exporter.demo.traffic RATE SEED`` runs until it is stopped.
"""

import heapq
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from z4j_exporter.demo.scenarios import SCENARIOS, Scenario

#: Seconds between two scenarios of the tour at the start.
_TOUR_STEP_SECONDS = 0.16


class Visit(NamedTuple):
    """When a scenario is played, in seconds since the traffic began."""

    at_seconds: float
    scenario: Scenario


def plan(rate: float, chance: Random) -> Iterator[Visit]:
    """Yield for ever what happens when: each scenario once, then a mix of ``rate`` tasks a second.

    The tour through all of them comes first, so that whoever starts the demo sees everything
    within seconds.
    """
    now = 0.0
    for scenario in chance.sample(SCENARIOS, len(SCENARIOS)):
        yield Visit(now, scenario)
        now += _TOUR_STEP_SECONDS
    weights = [scenario.weight for scenario in SCENARIOS]
    while True:
        (scenario,) = chance.choices(SCENARIOS, weights)
        yield Visit(now, scenario)
        now += chance.expovariate(1.0) * scenario.tasks / rate


class Agenda:
    """Actions to be run at a time, earliest first."""

    def __init__(self) -> None:
        self._order = itertools.count()
        self._actions: list[tuple[float, int, Callable[[], object]]] = []

    def add(self, at_seconds: float, action: Callable[[], object]) -> None:
        """Note ``action`` for ``at_seconds``."""
        heapq.heappush(self._actions, (at_seconds, next(self._order), action))

    def run_due(self, now_seconds: float) -> None:
        """Run what was due at ``now_seconds``."""
        while self._actions and self._actions[0][0] <= now_seconds:
            heapq.heappop(self._actions)[2]()

    def next_at_seconds(self) -> float | None:
        """When the next action is due; None if there is none."""
        return self._actions[0][0] if self._actions else None


def play(rate: float, seed: int) -> None:
    """Call tasks until the process is stopped."""
    chance = Random(seed)  # noqa: S311 - wanted: the same every time
    begin = time.monotonic()
    agenda = Agenda()

    def later(delay_seconds: float, action: Callable[[], object]) -> None:
        agenda.add(time.monotonic() - begin + delay_seconds, action)

    for visit in plan(rate, Random(seed)):  # noqa: S311
        agenda.add(visit.at_seconds, lambda s=visit.scenario: s.call(chance, later))  # type: ignore[misc]
        _run_until(agenda, visit.at_seconds, begin)


def _run_until(agenda: Agenda, end_seconds: float, begin: float) -> None:
    """Run the agenda's actions, each at its time, up to those of ``end_seconds``."""
    while (due := agenda.next_at_seconds()) is not None and due <= end_seconds:
        time.sleep(max(0.0, due - (time.monotonic() - begin)))
        agenda.run_due(time.monotonic() - begin)


if __name__ == "__main__":
    play(float(sys.argv[1]), int(sys.argv[2]))
