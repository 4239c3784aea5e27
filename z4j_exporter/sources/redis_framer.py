"""Cuts the bytes of a Redis pub/sub connection into messages."""

from typing import Any, Final

import hiredis

from z4j_exporter.events.message import Message

#: Bytes given to hiredis at once: it moves what is left of them at every reply, so that a MiB
#: at once costs ten times as much as the same in pieces of this size.
_PIECE_BYTES: Final = 16 * 1024
#: Bytes of one message that are kept in memory; Redis itself cuts a subscriber off that is sent
#: more than 32 MiB (client-output-buffer-limit), unless it was told otherwise.
MAX_PENDING_BYTES: Final = 64 * 1024 * 1024
#: How a message begins on the wire. Payloads are JSON: they hold no bare CR LF.
_BEGINNING: Final = (b"*4\r\n$8\r\npmessage\r\n", b"*3\r\n$7\r\nmessage\r\n")


class RedisFramer:
    """Feed it what came from the socket, in order; it keeps what is not complete yet."""

    def __init__(self) -> None:
        self._replies = hiredis.Reader()
        self._pending_bytes = 0
        self._out_of_step = False
        #: Replies of the server that are errors, and what is wrong with the bytes: for the reader.
        self.errors: list[str] = []

    def feed(self, data: bytes) -> list[Any]:
        """Return the replies that are complete now."""
        if self._out_of_step:
            data = self._from_a_beginning(data)
        replies: list[Any] = []
        next_reply = self._replies.gets
        view = memoryview(data)
        try:
            for start in range(0, len(data), _PIECE_BYTES):
                self._replies.feed(view[start : start + _PIECE_BYTES])  # type: ignore[arg-type]  # its stub forgets buffers
                while (reply := next_reply()) is not False:
                    replies.append(reply)
        except hiredis.ProtocolError as error:
            self.errors.append(f"not Redis's protocol: {error}")
        self._pending_bytes = 0 if replies else self._pending_bytes + len(data)
        if self._pending_bytes > MAX_PENDING_BYTES:
            self.errors.append(f"a message of more than {MAX_PENDING_BYTES} bytes came")
        return replies

    def messages(self, data: bytes) -> list[Message]:
        """Return the payloads that are complete now; errors go to ``errors``."""
        messages: list[Message] = []
        for reply in self.feed(data):
            if type(reply) is list:
                kind = reply[0]
                if kind == b"pmessage" or kind == b"message":
                    messages.append(reply[-1])
            elif isinstance(reply, hiredis.ReplyError):
                self.errors.append(f"the server says: {reply}")
        return messages

    def skip(self) -> None:
        """Note that bytes are missing here: go on with the next message that begins."""
        self._replies = hiredis.Reader()
        self._pending_bytes = 0
        self._out_of_step = True

    def _from_a_beginning(self, data: bytes) -> bytes:
        starts = [at for mark in _BEGINNING if (at := data.find(mark)) >= 0]
        if not starts:
            return b""
        self._out_of_step = False
        return data[min(starts) :]


def count_beginnings(data: bytes) -> int:
    """Return how many messages begin in these bytes."""
    return sum(data.count(mark) for mark in _BEGINNING)
