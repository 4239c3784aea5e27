"""Asks a management API over HTTP: every wait ends at the deadline, every answer has a bound.

On httpcore rather than httpx: there a timeout bounds each read alone, and an answer that drips
in by the byte holds a poll for ever. Redirects and proxies are not followed: the request carries
the broker's password.
"""

import base64
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore

from z4j_exporter.http_deadline import HTTP_FAILURES, Deadline
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.management_address import ManagementAddress
from z4j_exporter.sources.socket_input import printable

#: Seconds after which an idle connection is not used again: RabbitMQ closes it after 60.
_KEEPALIVE_SECONDS: Final = 45.0


class ManagementHttp:
    """Connections to one management API; kept open between the polls."""

    def __init__(self, address: ManagementAddress) -> None:
        self.address = address
        login = f"{address.user}:{address.password}".encode()
        self._headers = [
            (b"Host", address.authority.encode()),
            (b"Authorization", b"Basic " + base64.b64encode(login)),
            (b"Accept", b"application/json"),
            (b"User-Agent", b"z4j-exporter"),
        ]
        self._deadline = Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=address.tls,
            max_connections=1,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=self._deadline,
        )

    def get(self, target: str, *, max_bytes: int, deadline: float) -> tuple[int, bytes]:
        """Return status and body of a GET; ``deadline`` is on time.monotonic's clock.

        Raises QueuePollError when there is no complete answer by then, or one that is too large.
        """
        self._deadline.at = deadline
        url = httpcore.URL(
            scheme=self.address.scheme.encode(),
            host=self.address.host.encode(),
            port=self.address.port,
            target=target.encode(),
        )
        extensions: dict[str, Any] = {}
        if self.address.server_hostname:
            extensions["sni_hostname"] = self.address.server_hostname
        try:
            with self._pool.stream(
                "GET", url, headers=self._headers, extensions=extensions
            ) as answer:
                return answer.status, self._body(answer.iter_stream(), max_bytes)
        except HTTP_FAILURES as error:
            raise QueuePollError(self._explain(error)) from None

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _body(self, chunks: Iterable[bytes], max_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise QueuePollError(
                    f"the answer of {self.address.location} is larger than {max_bytes} bytes: "
                    "check that rabbitmq_management_url leads to RabbitMQ"
                )
            pieces.append(chunk)
        return b"".join(pieces)

    def _explain(self, error: Exception) -> str:
        where = self.address.location
        words = printable(str(error)) or type(error).__name__
        # httpcore wraps what the socket raised.
        if any(isinstance(argument, ssl.SSLError) for argument in error.args):
            return (
                f"TLS with {where} failed: {words}: check rabbitmq_management_ca_file, that the "
                "certificate is for this host, and that the port speaks TLS"
            )
        if isinstance(error, httpcore.TimeoutException):
            return (
                f"{where} did not answer in time: check that the broker is well and that no "
                "firewall is between, or give it longer (queue_poll_timeout)"
            )
        if isinstance(error, httpcore.ConnectError):
            return (
                f"cannot connect to {where}: {words}: check that the broker is up, that its "
                "management plugin is on (rabbitmq-plugins enable rabbitmq_management), and "
                "rabbitmq_management_url"
            )
        return (
            f"{where} gave no HTTP answer: {words}: check that rabbitmq_management_url leads to "
            "RabbitMQ's management API"
        )
