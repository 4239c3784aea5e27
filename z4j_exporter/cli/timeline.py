"""Lets time pass for the tracker as the events tell it, not as the clock on the wall does."""

from z4j_exporter.track.cluster import Cluster

#: Seconds between two ticks, as in the running exporter.
TICK_SECONDS = 1.0
#: Ticks made for one silence; a longer one gets fewer ticks for its length.
_MAX_TICKS = 3600


class Timeline:
    """Ticks a cluster at whole steps between the moments it is moved to. Never goes back."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._next_tick: float | None = None
        #: The latest moment so far.
        self.now = 0.0

    def advance(self, moment: float, *, connected: bool = True) -> float:
        """Move on to a moment (seconds), ticking on the way, and return the present one."""
        if self._next_tick is None:
            self.now, self._next_tick = moment, moment + TICK_SECONDS
            return moment
        step = max(TICK_SECONDS, (moment - self.now) / _MAX_TICKS)
        while self._next_tick <= moment:
            self._cluster.tick(self._next_tick, connected=connected)
            self._next_tick += step
        self.now = max(self.now, moment)
        return self.now
