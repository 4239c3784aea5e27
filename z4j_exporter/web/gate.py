"""Accepts one connection: finds room for it, does the TLS handshake, hands it to HTTP."""

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from z4j_exporter.web.connections import Connection, ConnectionTable, Phase

_LOGGER = logging.getLogger("z4j_exporter.web")

#: How long a client may take to answer TLS's farewell, in seconds (asyncio's default is 30).
_TLS_SHUTDOWN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """How new connections are encrypted, and which clients may have them."""

    context: ssl.SSLContext
    #: Names a client's certificate must have one of; None for any that the context verifies.
    allowed_sans: frozenset[str] | None = None


class TlsProvider(Protocol):
    """Says how the next connection is encrypted; called in the event loop, for each."""

    def tls(self) -> TlsPolicy | None:
        """Return the policy of this moment, or None for plain HTTP."""


class Gate(asyncio.Protocol):
    """Stands before HTTP on a new connection.

    The handshake is started here, after accept, and not by the server that listens: so each
    connection takes the certificates of its moment, the older ones keep theirs, and a client
    that says nothing is already counted among the open connections.
    """

    def __init__(
        self,
        table: ConnectionTable,
        tls: TlsProvider | None,
        make_http: Callable[[Connection], asyncio.Protocol],
    ) -> None:
        self._table = table
        self._tls = tls
        self._make_http = make_http
        self._connection: Connection | None = None
        self._early = bytearray()
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows asyncio's type
        self._connection = self._table.add(transport)
        if self._connection is None:
            return
        policy = self._tls.tls() if self._tls else None
        if policy is None:
            self._hand_over(self._connection, transport)
            return
        # Nothing may be read before start_tls has put itself in our place.
        transport.pause_reading()
        self._handshake = self._table.loop.create_task(self._shake_hands(self._connection, policy))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection."""
        if self._connection is not None:
            self._connection.lost()

    def data_received(self, data: bytes) -> None:
        """Keep what arrives between the handshake's end and the handing over."""
        self._early += data

    async def _shake_hands(self, connection: Connection, policy: TlsPolicy) -> None:
        # Our deadline ends what is slow; asyncio's own, a little later, is not waited for.
        connection.enter(Phase.HANDSHAKE)
        seconds = self._table.limits.handshake_seconds + 1
        try:
            transport = await self._table.loop.start_tls(
                connection.transport,
                self,
                policy.context,
                server_side=True,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS,
            )
        except OSError as exc:  # ssl.SSLError is one
            self._refuse(connection, f"TLS handshake failed: {exc}")
            return
        # start_tls returns no transport when the client left at the last moment.
        if transport is None or transport.is_closing():
            self._refuse(connection, "the client left during the TLS handshake")
            return
        if not _allowed(transport.get_extra_info("peercert"), policy.allowed_sans):
            self._refuse(connection, "the client's certificate has none of the client_allowed_sans")
            return
        self._hand_over(connection, transport)

    def _hand_over(self, connection: Connection, transport: asyncio.Transport) -> None:
        http = self._make_http(connection)
        transport.set_protocol(http)
        http.connection_made(transport)
        if self._early:
            http.data_received(bytes(self._early))
            self._early.clear()

    def _refuse(self, connection: Connection, reason: str) -> None:
        if not connection.open:
            return  # it was we who closed it, and that is counted
        peer = connection.transport.get_extra_info("peername")
        _LOGGER.debug("refused a connection from %s: %s", peer, reason)
        self._table.stats.add("tls_handshake_failures")
        connection.abort()


def _allowed(certificate: dict[str, object] | None, allowed: frozenset[str] | None) -> bool:
    if allowed is None:
        return True
    return not allowed.isdisjoint(_alternative_names(certificate))


def _alternative_names(certificate: dict[str, object] | None) -> set[str]:
    """Return the DNS names, addresses, e-mails and URIs of a certificate (getpeercert's form)."""
    entries = (certificate or {}).get("subjectAltName", ())
    names = set()
    for kind, value in entries:  # type: ignore[attr-defined]  # a tuple of pairs, says ssl's manual
        if kind == "IP Address":
            # OpenSSL writes IPv6 in full and in capitals; Go, whose files we read, does not.
            names.add(str(ipaddress.ip_address(value.strip())))
        elif kind in ("DNS", "email", "URI"):
            names.add(value)
    return names
