"""What every source is: a way to connect, and a live connection that yields messages."""

from abc import ABC, abstractmethod

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
    """One live connection to a broker. Used by the reader thread only."""

    @abstractmethod
    def read(self, timeout_seconds: float) -> tuple[list[Message], int]:
        """Wait up to ``timeout_seconds`` for messages; return them with their size in bytes.

        An empty list means that nothing came. Does nothing but read: no decoding, no logging.
        Probes a silent connection by itself.

        Raises SourceLostError when the connection is gone, EndOfStreamError when there will be
        no more.
        """

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
