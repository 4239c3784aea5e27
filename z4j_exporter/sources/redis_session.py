"""A live pub/sub connection to Redis or Valkey, read from its socket past redis-py's own loop.

redis-py connects, sets TLS up and logs in; through its message loop the rest would cost five
times as much.
"""

import ssl
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

import hiredis

from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources import base
from z4j_exporter.sources.base import Message, Session
from z4j_exporter.sources.redis_framer import RedisFramer, count_beginnings
from z4j_exporter.sources.redis_servers import close_connection
from z4j_exporter.sources.socket_input import SocketInput, lost, printable

#: Bytes taken from the socket before they are parsed.
RECEIVE_BYTES: Final = 1024 * 1024
#: Bytes in the socket that end a pause.
MUCH_BYTES: Final = 128 * 1024
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
        self._input = SocketInput(self._socket, RECEIVE_BYTES)
        # Used by the reader's thread until the subscription stands, then by the applier's; of
        # its errors the reader takes note.
        self._framer = RedisFramer()
        #: Whether bytes were dropped before those that are read next.
        self._gap = False
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
            raise lost(error) from None
        deadline = self._clock() + base.CONNECT_TIMEOUT_SECONDS
        answered = 0
        while answered < len(commands):
            remaining = deadline - self._clock()
            if remaining <= 0:
                raise SourceLostError("the server did not confirm the subscription in time")
            for reply in self._framer.feed(self._receive(remaining)):
                if type(reply) is list and reply[0] in (b"message", b"pmessage"):
                    self._early.append(reply[-1])
                    continue
                if isinstance(reply, hiredis.ReplyError) and answered > 0:  # 0: the name
                    raise SourceLostError(self._refusal(str(reply), channels, patterns))
                answered += 1
            self._check()

    def read(self, timeout_seconds: float) -> tuple[list[Any], int]:
        """Return bytes as they came; see Session.

        In a burst this thread must do no more than that: Redis cuts off who is 32 MB behind. The
        items are bytes, None where bytes are missing, and at first a list of messages.
        """
        self._check()
        if self._early:
            early, self._early = self._early, []
            return [early], sum(map(len, early))
        data = self._receive(timeout_seconds)
        if not data:
            return [], 0
        items = [None, data] if self._gap else [data]
        self._gap = False
        return items, len(data)

    def pause(self, seconds: float) -> None:
        """Let data gather, but not in a burst: see Session."""
        self._input.pause(seconds, MUCH_BYTES)

    def unpack(self, items: list[Any]) -> list[Message]:
        """Return the messages in these items."""
        messages: list[Message] = []
        for item in items:
            if item is None:
                self._framer.skip()
            elif isinstance(item, bytes):
                messages += self._framer.messages(item)
            else:
                messages += item
        return messages

    def drop(self, items: list[Any]) -> int:
        """Count the messages in items that are not kept, and remember that they are missing."""
        self._gap = True
        return sum(
            count_beginnings(item) if isinstance(item, bytes) else len(item or ()) for item in items
        )

    def close(self) -> None:
        """Close the connection."""
        close_connection(self._connection)

    def _receive(self, timeout_seconds: float) -> bytes:
        """Wait for bytes and return them; b"" when none came in time."""
        if not self._input.wait(timeout_seconds):
            self._probe()
            return b""
        data = self._input.take()
        if data:
            self._heard = self._clock()
        return data

    def _check(self) -> None:
        """Raise what the framer found."""
        for error in self._framer.errors:
            # A user may lack the right to PING: a refusal is an answer as well.
            if not (self._pinged is not None and error.startswith("the server says: NOPERM")):
                raise SourceLostError(printable(error))
        self._framer.errors.clear()

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
                raise lost(error) from None

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
