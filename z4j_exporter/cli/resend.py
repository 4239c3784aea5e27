"""Publishes a recording into a broker, at the pace it was recorded or faster."""

import time
from collections.abc import Callable, Iterable

from z4j_exporter.events.recording import Recorded
from z4j_exporter.sources.publish import Publisher

#: Seconds. Some clocks cannot sleep for the centuries that a damaged recording may ask for.
_LONGEST_SLEEP_SECONDS = 3600.0


class Resend:
    """Publishes the lines of a recording one by one.

    ``speed`` divides the time between two events; infinity leaves none. ``shift_time`` makes the
    events look as if they were sent now: each as long before it is published as it was before it
    was received.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        speed: float = 1.0,
        shift_time: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._publisher = publisher
        self._speed = speed
        self._shift_time = shift_time
        self._monotonic = monotonic
        self._wall = wall
        self._sleep = sleep
        self._start: tuple[float, float] | None = None
        #: Lines that a broker cannot carry as they were.
        self.skipped = 0

    def send(self, lines: Iterable[Recorded]) -> None:
        """Publish each line when its time has come. Raises SourceLostError."""
        for line in lines:
            self._await(line.received_at)
            shift = self._wall() - line.received_at if self._shift_time else 0.0
            self.skipped += not self._publisher.publish(line.message, shift)

    def _await(self, received_at: float) -> None:
        if self._start is None:
            self._start = (self._monotonic(), received_at)
        began, first = self._start
        due = began + (received_at - first) / self._speed
        while (wait := due - self._monotonic()) > 0:
            self._sleep(min(wait, _LONGEST_SLEEP_SECONDS))
