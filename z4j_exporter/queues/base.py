"""What every way to read queues is."""

from collections.abc import Collection
from typing import Protocol

from z4j_exporter.errors import ExporterError
from z4j_exporter.queues.model import QueueReading


class QueuePollError(ExporterError):
    """The queues could not be read this time."""


class QueueReader(Protocol):
    """Reads the queues of one broker. Used by the poller's thread only; connects by itself."""

    #: redis, management or declare (see QueuePoll.method).
    method: str
    #: What the last reading leaves out, for people.
    notes: tuple[str, ...]

    def read(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        """Read these queues, and others the broker itself knows of.

        ``names`` are configured, seen or consumed: each of them gets a reading, an empty or absent
        queue one of 0. ``deadline`` is on time.monotonic's clock; reading must end by then.

        Raises QueuePollError when the queues cannot be read.
        """

    def close(self) -> None:
        """Close its connection; never raises."""
