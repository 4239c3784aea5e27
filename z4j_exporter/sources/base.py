"""What every source is: a way to connect, and a live connection that yields messages."""

import time
from abc import ABC, abstractmethod
from typing import Any

from z4j_exporter.events.message import Framed, Message

__all__ = [
    "CONNECT_TIMEOUT_SECONDS",
    "KEEPALIVE_SECONDS",
    "KEEPALIVE_TIMEOUT_SECONDS",
    "Framed",
    "Message",
    "Session",
    "Source",
]

#: Seconds a connection attempt may take before it counts as failed.
CONNECT_TIMEOUT_SECONDS = 10.0
#: Seconds of silence after which a connection is probed (PING, AMQP heartbeat).
KEEPALIVE_SECONDS = 10.0
#: Seconds after the probe without a single byte: the connection is half-open, drop it.
KEEPALIVE_TIMEOUT_SECONDS = 10.0


class Session(ABC):
    """One live connection to a broker. Used by the reader's thread, but for ``unpack``."""

    #: Whether what is not read now can be read later for as long as one likes (a file): then the
    #: reader waits for room instead of dropping.
    can_wait = False

    @abstractmethod
    def read(self, timeout_seconds: float) -> tuple[list[Any], int]:
        """Wait up to ``timeout_seconds`` for data; return items with their size in bytes.

        The items are messages, or whatever ``unpack`` makes messages of. An empty list means that
        nothing came. Does nothing but read: no decoding, no logging. Probes a silent connection
        by itself.

        Raises SourceLostError when the connection is gone, EndOfStreamError when there will be
        no more.
        """

    def pause(self, seconds: float) -> None:
        """Let data gather for about ``seconds``, less where much has come before that."""
        time.sleep(seconds)

    def unpack(self, items: list[Any]) -> list[Message]:
        """Return the messages of items that ``read`` returned.

        Called by the applier's thread, once for each result of ``read`` and in their order, but
        for those that ``drop`` was told of.
        """
        return items

    def drop(self, items: list[Any]) -> int:
        """Take note, in the reader's thread, that these items are not kept; count messages."""
        return len(items)

    @abstractmethod
    def close(self) -> None:
        """Close the connection; never raises."""


class Source(ABC):
    """A place events come from. Immutable: holds what is needed to connect, again and again."""

    #: ``messaging.system`` of the OpenTelemetry conventions: redis, rabbitmq, …
    system: str
    #: Where it connects to, without secrets, for people to read.
    location: str

    @abstractmethod
    def connect(self) -> Session:
        """Open a connection and subscribe; events published after the return are seen.

        Raises SourceLostError (try again later) or another ExporterError (no use trying again).
        """
