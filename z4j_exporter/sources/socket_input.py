"""Takes bytes from a connected socket, encrypted or not, in pieces as large as can be had."""

import select
import socket
import ssl
import time
from typing import Final

from z4j_exporter.errors import SourceLostError

#: Seconds: on a Unix socket nothing ends a pause, and it must leave a burst little to gather.
_UNIX_PAUSE_SECONDS: Final = 0.005


class SocketInput:
    """The receiving side of a socket, which it makes non-blocking.

    Drivers have read from the socket before: at first there may be bytes in the TLS layer, which
    do not make the socket readable.
    """

    def __init__(self, sock: socket.socket, receive_bytes: int) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._receive_bytes = receive_bytes
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self.is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        #: Whether the last read stopped before the socket was empty.
        self._more = True

    def wait(self, timeout_seconds: float) -> bool:
        """Return whether there is something to take, waiting for it up to that time."""
        # What is left in a TLS layer does not make the socket readable: it is not waited for.
        return self._more or bool(self._poll.poll(max(0.0, timeout_seconds) * 1000))

    def take(self) -> bytes:
        """Return what is there, up to about ``receive_bytes``, without waiting; b"" if nothing.

        Raises SourceLostError when the connection has ended.
        """
        pieces: list[bytes] = []
        taken = 0
        try:
            # One call empties a plain socket; from TLS it returns one record, however small.
            while piece := self._socket.recv(self._receive_bytes):
                pieces.append(piece)
                taken += len(piece)
                if taken >= self._receive_bytes or not self._is_tls:
                    break
            else:
                if not pieces:
                    raise SourceLostError("the server closed the connection")
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except (OSError, ValueError) as error:
            if not pieces:  # else the next call tells
                raise lost(error) from None
        self._more = taken >= self._receive_bytes
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pause(self, seconds: float, much_bytes: int) -> None:
        """Wait for ``seconds``, but no longer than until ``much_bytes`` have come.

        The kernel counts them (SO_RCVLOWAT), on TCP only: a Unix socket would wake at the first
        byte, so that a shorter pause is slept through.
        """
        if not self.is_tcp:
            time.sleep(min(seconds, _UNIX_PAUSE_SECONDS))
            return
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, much_bytes)
            self._poll.poll(seconds * 1000)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        except OSError:
            return  # the next read tells what is wrong


def lost(error: Exception) -> SourceLostError:
    """Return the error that a socket's error means."""
    return SourceLostError(f"connection lost: {printable(str(error)) or type(error).__name__}")


def printable(text: str) -> str:
    """Return a server's or a driver's text fit for one line of a log, cut."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
