"""HTTP/1.1 on one connection: uvicorn's protocol, with deadlines and limits around it."""

import asyncio
import logging
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from z4j_exporter.web.asgi import App, Message, Receive, Scope, Send, header, send_text
from z4j_exporter.web.connections import Connection, Limits, Phase
from z4j_exporter.web.stats import WebStats

#: Bodies are handed to the transport in pieces of this size, in bytes, each when the one before
#: it has mostly left: a slow reader then costs one copy of its answer, not two.
PIECE_BYTES = 64 * 1024

_LOGGER = logging.getLogger("z4j_exporter.web.http")
_LOGGER.setLevel(logging.ERROR)


class DeadlineProtocol(H11Protocol):
    """uvicorn's h11 protocol that tells its `Connection` in which phase it is."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        connection: Connection,
        limits: Limits,
        stats: WebStats,
    ) -> None:
        super().__init__(config, state, app_state={})
        # Anybody can make uvicorn warn of a malformed request: those are counted, not logged.
        self.logger = _LOGGER
        self.access_log = False
        self.connection = connection
        self.limits = limits
        self.stats = stats
        self._inner: App = self.app
        self.app = self._answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Begin; the request's deadline runs from here."""
        self.connection.transport = transport
        # TLS transports would take 512 KiB for each slow reader.
        transport.set_write_buffer_limits(high=PIECE_BYTES)
        self.connection.enter(Phase.REQUEST)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.connection.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; only the first of a request sets its deadline, a drip does not move it."""
        if self.transport.is_closing():
            return  # what comes after the last answer is of no interest
        if self.connection.phase is Phase.IDLE:
            self.connection.enter(Phase.REQUEST)
        super().data_received(data)
        if self._between_requests() and self.connection.phase is Phase.REQUEST:
            # The rest of a body that the application did not want to read.
            self.connection.enter(Phase.IDLE)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self.stats.add("malformed_requests")
        if self.cycle is not None and not self.cycle.response_complete:
            # Nonsense in the body of a request that is being answered: a second answer cannot be.
            self.cycle.disconnected = True
            self.connection.abort()
            return
        self.connection.enter(Phase.RESPONSE)
        super().send_400_response(msg)
        self._read_to_the_end()

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        # uvicorn's own timer closes in order, which a peer that does not read never lets end.
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            self._read_to_the_end()
            return
        self.connection.enter(Phase.IDLE if self._between_requests() else Phase.REQUEST)

    def _read_to_the_end(self) -> None:
        """Read again, if reading was paused, so that closing comes to its end.

        asyncio's TLS that is told of the client's farewell while reading is paused closes only
        once somebody reads again, and forgets that it was told to close (sslproto.eof_received).
        """
        self.flow.resume_reading()

    def _between_requests(self) -> bool:
        answered = self.cycle is not None and self.cycle.response_complete
        return answered and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(self, scope["path"], receive, send)
        if self.conn.their_state is not h11.SEND_BODY:
            self.connection.enter(Phase.WORK)
        # Only what the TLS context has verified is told here (ssl.SSLSocket.getpeercert).
        certificate = self.transport.get_extra_info("peercert")
        if certificate:
            scope["state"]["peer_certificate"] = certificate
        if _declared_length(scope) > self.limits.body_bytes:
            await send_text(
                exchange.send,
                413,
                "The request body is too large.\n",
                headers=[(b"connection", b"close")],
            )
            return
        try:
            await self._inner(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            # Only the listener's stop cancels, when the connection is gone: nobody is to be told,
            # and uvicorn would log a traceback.
            return
        finally:
            self.connection.hold(0)


class _Exchange:
    """One request and its answer: what passes between the application and the client."""

    def __init__(self, protocol: DeadlineProtocol, path: str, receive: Receive, send: Send) -> None:
        self._connection = protocol.connection
        self._limits = protocol.limits
        self._stats = protocol.stats
        self._path = path
        self._receive = receive
        self._send = send
        self._received_bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request":
            return message
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self._limits.body_bytes:
            self._connection.abort()
            return {"type": "http.disconnect"}
        if not message.get("more_body", False) and self._connection.phase is Phase.REQUEST:
            self._connection.enter(Phase.WORK)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._connection.enter(Phase.RESPONSE)
            self._stats.count_request(self._path, message["status"])
        body: bytes = message.get("body", b"")
        if len(body) <= PIECE_BYTES:
            await self._send(message)
            return
        self._connection.hold(len(body))
        for start in range(0, len(body), PIECE_BYTES):
            end = start + PIECE_BYTES
            more = end < len(body) or bool(message.get("more_body", False))
            await self._send({**message, "body": body[start:end], "more_body": more})


def _declared_length(scope: Scope) -> int:
    """Return the body's announced size in bytes; h11 has refused what is no number."""
    value: Any = header(scope, b"content-length")
    return int(value) if value else 0
