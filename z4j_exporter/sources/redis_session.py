"""A live pub/sub connection to Redis or Valkey: reads with hiredis, past redis-py's own loop.

redis-py connects, sets TLS up and logs in; through its message loop the rest would cost five
times as much.
"""

import select
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import hiredis

from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources import base
from z4j_exporter.sources.base import Message, Session

#: Bytes taken from the socket before they are parsed.
RECEIVE_BYTES: Final = 1024 * 1024
#: Bytes of one message that are kept in memory; Redis itself cuts a subscriber off that is sent
#: more than 32 MiB (client-output-buffer-limit), unless it was told otherwise.
MAX_PENDING_BYTES: Final = 64 * 1024 * 1024
_PING: Final = hiredis.pack_command(("PING",))


class RedisSession(Session):
    """A connection in subscribed state.

    ``connection`` is redis-py's, connected; ``user`` is its ACL user, for what errors say.
    """

    def __init__(
        self, connection: Any, *, user: str = "", clock: Callable[[], float] = monotonic
    ) -> None:
        self._connection = connection
        self._user = user or "default"
        self._clock = clock
        # redis-py gives no public way to its socket.
        self._socket = connection._sock
        self._is_tls = isinstance(self._socket, ssl.SSLSocket)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        #: Whether the last read stopped before the socket was empty. At first it may not be:
        #: a TLS layer can hold bytes that do not make the socket readable.
        self._more = True
        self._replies = hiredis.Reader()
        self._pending_bytes = 0
        self._early: list[Message] = []
        self._heard = clock()
        self._pinged: float | None = None

    def subscribe(self, channels: Sequence[str], patterns: Sequence[str], name: str) -> None:
        """Subscribe, and give the connection a name (CLIENT LIST shows it) where that is allowed.

        Raises SourceLostError when the server refuses or does not answer in time.
        """
        commands: list[tuple[Any, ...]] = [("CLIENT", "SETNAME", name)]
        commands += [("SUBSCRIBE", channel) for channel in channels]
        commands += [("PSUBSCRIBE", pattern) for pattern in patterns]
        try:
            self._socket.sendall(b"".join(hiredis.pack_command(command) for command in commands))
        except OSError as error:
            raise _lost(error) from None
        deadline = self._clock() + base.CONNECT_TIMEOUT_SECONDS
        answered = 0
        while answered < len(commands):
            remaining = deadline - self._clock()
            if remaining <= 0:
                raise SourceLostError("the server did not confirm the subscription in time")
            for reply in self._parse(self._receive(remaining)):
                if type(reply) is list and reply[0] in (b"message", b"pmessage"):
                    self._early.append(reply[-1])
                    continue
                if isinstance(reply, hiredis.ReplyError) and answered > 0:  # 0: the name
                    raise SourceLostError(self._refusal(str(reply), channels, patterns))
                answered += 1

    def read(self, timeout_seconds: float) -> tuple[list[Message], int]:
        """Return the payloads that came; see Session."""
        if self._early:
            early, self._early = self._early, []
            return early, sum(map(len, early))
        messages: list[Message] = []
        for reply in self._parse(self._receive(timeout_seconds)):
            if type(reply) is list:
                kind = reply[0]
                if kind == b"pmessage" or kind == b"message":
                    messages.append(reply[-1])
            elif isinstance(reply, hiredis.ReplyError) and not self._is_pong(reply):
                raise SourceLostError(f"the server says: {printable(str(reply))}")
        return messages, sum(map(len, messages))

    def close(self) -> None:
        """Close the connection."""
        close_connection(self._connection)

    def _receive(self, timeout_seconds: float) -> bytes:
        """Wait for bytes and return them; b"" when none came in time."""
        # What is left in a TLS layer does not make the socket readable: it is not waited for.
        if not self._more and not self._poll.poll(timeout_seconds * 1000):
            self._probe()
            return b""
        data = self._drain()
        if data:
            self._heard = self._clock()
        return data

    def _drain(self) -> bytes:
        """Take what there is, up to about RECEIVE_BYTES, without waiting."""
        pieces: list[bytes] = []
        taken = 0
        try:
            # One call empties a plain socket; from TLS it returns one record, however small.
            while piece := self._socket.recv(RECEIVE_BYTES):
                pieces.append(piece)
                taken += len(piece)
                if taken >= RECEIVE_BYTES or not self._is_tls:
                    break
            else:
                if not pieces:
                    raise SourceLostError("the server closed the connection")
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError as error:
            if not pieces:  # else the next read tells
                raise _lost(error) from None
        self._more = taken >= RECEIVE_BYTES
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _parse(self, data: bytes) -> list[Any]:
        if not data:
            return []
        replies: list[Any] = []
        next_reply = self._replies.gets
        try:
            self._replies.feed(data)
            while (reply := next_reply()) is not False:
                replies.append(reply)
        except hiredis.ProtocolError as error:
            raise SourceLostError(f"not Redis's protocol: {printable(str(error))}") from None
        self._pending_bytes = 0 if replies else self._pending_bytes + len(data)
        if self._pending_bytes > MAX_PENDING_BYTES:
            raise SourceLostError(f"a message of more than {MAX_PENDING_BYTES} bytes came")
        return replies

    def _is_pong(self, reply: Exception) -> bool:
        """Tell whether an error is the answer to our PING: a user may lack the right to it."""
        return self._pinged is not None and str(reply).startswith("NOPERM")

    def _probe(self) -> None:
        """Ask a silent server whether it is there: a half-open connection stays silent for ever."""
        now = self._clock()
        if self._pinged is not None and self._pinged > self._heard:
            if now - self._pinged >= base.KEEPALIVE_TIMEOUT_SECONDS:
                raise SourceLostError(
                    f"no answer to PING within {base.KEEPALIVE_TIMEOUT_SECONDS:g} s"
                )
        elif now - self._heard >= base.KEEPALIVE_SECONDS:
            self._pinged = now
            try:
                self._socket.sendall(_PING)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return  # nobody takes our few bytes: the silence from there will show as well
            except OSError as error:
                raise _lost(error) from None

    def _refusal(self, words: str, channels: Sequence[str], patterns: Sequence[str]) -> str:
        """Say what a user needs who was not let in."""
        if words.startswith("NOPERM"):
            needed = " ".join(f"&{name}" for name in (*channels, *patterns))
            return (
                f"user {self._user!r} may not subscribe: it needs the commands +subscribe "
                f"+psubscribe +ping and the channels {needed} (ACL SETUSER)"
            )
        if words.startswith("NOAUTH"):
            return "the server asks for a password: put it, or user:password, into the broker URL"
        return f"the server refused to subscribe: {printable(words)}"


def close_connection(connection: Any) -> None:
    """Close a connection of redis-py's, whatever state it is in."""
    with suppress(Exception):  # it is being thrown away
        connection.disconnect()


def printable(text: str) -> str:
    """Return a server's or a driver's text fit for one line of a log, cut."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _lost(error: OSError) -> SourceLostError:
    return SourceLostError(f"connection lost: {printable(str(error)) or type(error).__name__}")
