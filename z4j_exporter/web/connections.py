"""Open connections: their deadlines, how many there may be, and which one goes to make room."""

import asyncio
from dataclasses import dataclass
from enum import Enum

from z4j_exporter.web.stats import WebStats


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take from a listener. The defaults are for scrapes."""

    #: For the TLS handshake, from the moment the connection is accepted.
    handshake_seconds: float = 10.0
    #: For one whole request, headers and body, from the connection or the request's first byte.
    request_seconds: float = 10.0
    #: For an answer to be read, from its first byte. Longer than any sensible scrape timeout.
    response_seconds: float = 30.0
    #: Between two requests on one connection. Longer than Prometheus's default scrape interval
    #: (1 minute), so that a scrape finds its connection open.
    idle_seconds: float = 120.0
    #: Connections at one time; the next one takes the place of one that does nothing.
    open_connections: int = 512
    #: Largest request body, in bytes.
    body_bytes: int = 64 * 1024
    #: Answers that wait in memory for slow readers, all connections together, in bytes. Beyond
    #: it, the one that began first is dropped.
    unread_bytes: int = 64 * 1024 * 1024


class Phase(Enum):
    """What a connection is doing."""

    HANDSHAKE = "handshake"
    #: Receiving a request, or waiting for the first one.
    REQUEST = "request"
    #: The application works on it; the client has done its part.
    WORK = "work"
    RESPONSE = "response"
    #: Kept alive between two requests.
    IDLE = "idle"


#: Which phases may be cut off to make room, the first to go first.
_EVICTION_ORDER = (Phase.HANDSHAKE, Phase.REQUEST), (Phase.IDLE,)

#: How long an idle connection has to close in order (for TLS: to answer the farewell).
_CLOSE_SECONDS = 2.0


class Connection:
    """One client connection, from accept to loss. Belongs to the event loop's thread."""

    def __init__(self, table: "ConnectionTable", transport: asyncio.Transport) -> None:
        #: The transport to close: TCP first, TLS above it once the handshake is done.
        self.transport = transport
        self.phase = Phase.HANDSHAKE
        #: Whether a whole request has ever come over it.
        self.proven = False
        #: Bytes of the answer that the application has yet to hand to the transport.
        self.unread_bytes = 0
        #: False once it is lost or cut off.
        self.open = True
        self._tcp = transport
        self._table = table
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, phase: Phase) -> None:
        """Begin a phase, and its deadline."""
        if phase is Phase.WORK:
            self.proven = True
        self.phase = phase
        self._cancel_timer()
        if not self.open:
            return
        seconds = self._table.deadline(phase)
        if seconds is not None:
            self._timer = self._table.loop.call_later(seconds, self._expire)

    def abort(self) -> None:
        """Cut the connection off now; what was not sent is lost."""
        # Now, not when the loop gets round to telling us: the count must be right at once.
        self.lost()
        # The TCP transport, not the TLS one: a farewell waits for a peer that does not read.
        self._tcp.abort()

    def hold(self, size: int) -> None:
        """Take note of an answer that waits in memory to be read; 0 when it is done."""
        self._table.hold(self, size)

    def lost(self) -> None:
        """Take note that the connection is gone. May be called twice."""
        self.open = False
        self._cancel_timer()
        self._table.remove(self)

    def _expire(self) -> None:
        if self.phase is Phase.IDLE and not self.transport.is_closing():
            self.transport.close()
            self._timer = self._table.loop.call_later(_CLOSE_SECONDS, self.abort)
            return
        self._table.stats.add("slow_connections_closed")
        self.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class ConnectionTable:
    """The open connections of one listener, in the order they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, stats: WebStats) -> None:
        self.loop = loop
        self.limits = limits
        self.stats = stats
        # A dict keeps the order of arrival; a set does not.
        self._open: dict[Connection, None] = {}
        self._unread_bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def add(self, transport: asyncio.Transport) -> Connection | None:
        """Admit a connection, cutting off another one when there are too many.

        Returns None, with the transport aborted, when every open connection is being answered.
        """
        if len(self._open) >= self.limits.open_connections and not self._make_room():
            self.stats.add("evicted_connections")
            transport.abort()
            return None
        connection = Connection(self, transport)
        self._open[connection] = None
        self.stats.add("open_connections")
        return connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection in self._open:
            del self._open[connection]
            self.stats.add("open_connections", -1)
            self.hold(connection, 0)

    def hold(self, connection: Connection, size: int) -> None:
        """Account for an unread answer; drops the oldest ones when all are too large together."""
        self._unread_bytes += size - connection.unread_bytes
        connection.unread_bytes = size
        while size and self._unread_bytes > self.limits.unread_bytes:
            oldest = next((c for c in self._open if c.unread_bytes and c is not connection), None)
            if oldest is None:
                return  # one answer alone: it is what the listener is for
            self.stats.add("slow_connections_closed")
            oldest.abort()

    def deadline(self, phase: Phase) -> float | None:
        """Return a phase's seconds; None where only the application can be late."""
        match phase:
            case Phase.HANDSHAKE:
                return self.limits.handshake_seconds
            case Phase.REQUEST:
                return self.limits.request_seconds
            case Phase.RESPONSE:
                return self.limits.response_seconds
            case Phase.IDLE:
                return self.limits.idle_seconds
            case Phase.WORK:
                return None

    def abort_all(self) -> None:
        """Cut every connection off."""
        for connection in list(self._open):
            connection.abort()

    def _make_room(self) -> bool:
        for phases in _EVICTION_ORDER:
            # Those that never sent a whole request first: an honest client sends it at once.
            for proven in (False, True):
                for connection in self._open:
                    if connection.phase in phases and connection.proven is proven:
                        self.stats.add("evicted_connections")
                        connection.abort()
                        return True
        return False
