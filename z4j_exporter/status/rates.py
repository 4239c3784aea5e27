"""Looks at counters every few seconds, for what happened in each interval since."""

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from z4j_exporter.web.status import Rate

#: Seconds between two looks, and intervals that are remembered: a quarter of an hour.
INTERVAL_SECONDS = 15.0
POINTS = 60


class Counts(NamedTuple):
    """What a look finds; all of it grows."""

    started: int
    succeeded: int
    failed: int
    retried: int


class Reading(NamedTuple):
    """The counters of one moment, and whether they can be trusted."""

    counts: Counts
    #: Observations of the lag, by bucket.
    lags: tuple[int, ...]
    #: Whether events are heard.
    heard: bool
    #: A number that changes whenever events may have been missed.
    breaks: int
    #: Whether there will be no more events: a recording has ended.
    over: bool = False


class _Sample(NamedTuple):
    at: float
    wall: float
    reading: Reading


class Sampler:
    """The latest POINTS intervals. ``read`` must be quick.

    One thread calls ``tick``, any the rest.
    """

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._samples: deque[_Sample] = deque(maxlen=POINTS + 1)

    def tick(self, now: float, wall: float) -> bool:
        """Look, if it is time; return whether an interval has ended.

        ``now`` is a clock that never goes back, ``wall`` the same moment in epoch seconds.
        """
        last = self._samples[-1] if self._samples else None
        if last is not None and now - last.at < INTERVAL_SECONDS:
            return False
        reading = self._read()
        if last is None and not reading.heard:
            return False  # the first interval begins when there is something to hear
        if last is not None and reading.over and reading.counts == last.reading.counts:
            return False
        self._samples.append(_Sample(now, wall, reading))
        return last is not None

    def rates(self) -> list[Rate]:
        """Return what happened in each interval, the oldest first."""
        return [_rate(a, b) for a, b in pairwise(self._samples.copy())]

    def lags(self) -> list[int]:
        """Return how many lags of each bucket were observed within the time that is remembered."""
        now = self._read().lags
        samples = self._samples.copy()
        since = samples[0].reading.lags if len(samples) > POINTS else (0,) * len(now)
        return [b - a for a, b in zip(since, now, strict=True)]


def _rate(begin: _Sample, end: _Sample) -> Rate:
    a, b = begin.reading, end.reading
    seconds = end.at - begin.at
    if not a.heard or not b.heard or a.breaks != b.breaks:
        return Rate(end.wall, seconds, None, None, None, None)
    # An end that was told twice is taken back when that is seen, maybe in the next interval.
    grown = (max(0, y - x) for x, y in zip(a.counts, b.counts, strict=True))
    return Rate(end.wall, seconds, *grown)
