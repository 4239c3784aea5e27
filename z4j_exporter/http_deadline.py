"""Connections for httpcore on which all waits together end at one moment.

httpcore's own timeouts bound each read alone: an answer that drips in by the byte would hold its
reader for ever.
"""

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

import httpcore

#: What a request may end with; ValueError: an address that socket refuses (a label of 64
#: characters).
HTTP_FAILURES: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
)


class Deadline(httpcore.NetworkBackend):
    """Makes connections on which no wait goes beyond ``at``, on time.monotonic's clock."""

    def __init__(self) -> None:
        self.at = 0.0
        self._backend = httpcore.SyncBackend()

    def left(self) -> float:
        """Return the seconds that are left; raises httpcore.ReadTimeout when none are."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline is over")
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline stands for it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Try each address of the host, each with its share of the time."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception = httpcore.ConnectError("the host has no address")
        for position, (*_, address) in enumerate(found):
            try:
                stream = self._backend.connect_tcp(
                    str(address[0]),
                    port,
                    self.left() / (len(found) - position),
                    local_address,
                    socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self)
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection whose waits end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        # Not the stream's own: it gives each piece that the peer takes the whole time again.
        connection: socket.socket = self._stream.get_extra_info("socket")
        view = memoryview(buffer)
        try:
            while view:
                connection.settimeout(self._deadline.left())
                view = view[connection.send(view) :]
        except TimeoutError:
            raise httpcore.WriteTimeout("the deadline is over") from None
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
