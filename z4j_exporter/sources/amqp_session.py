"""A live RabbitMQ subscription: reads the socket in large pieces and answers what must be.

It takes over a socket on which py-amqp has connected, declared and subscribed. From then on
py-amqp is not used: it reads frame by frame, with two system calls and a dozen objects each.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources.amqp_frames import (
    HEARTBEAT_FRAME,
    FrameParser,
    MethodFrame,
    method_frame,
    parse_close,
)
from z4j_exporter.sources.base import Message, Session
from z4j_exporter.sources.socket_input import SocketInput, lost, printable

#: Bytes asked for at once: about a thousand messages; a reader that is behind catches up in
#: few system calls.
RECEIVE_BYTES: Final = 256 * 1024
#: Seconds that closing waits for the broker's answer.
CLOSE_TIMEOUT_SECONDS: Final = 1.0

_CONNECTION_CLOSE, _CONNECTION_CLOSE_OK = (10, 50), (10, 51)
_CHANNEL_CLOSE, _CHANNEL_CLOSE_OK = (20, 40), (20, 41)
_CHANNEL_FLOW, _CHANNEL_FLOW_OK = (20, 20), (20, 21)
_BASIC_CANCEL = (60, 30)
# reply-code 200, an empty text, no method to blame.
_GOODBYE = method_frame(0, *_CONNECTION_CLOSE, b"\x00\xc8\x00\x00\x00\x00\x00")


class AmqpSession(Session):
    """One subscription; used by one thread.

    ``received`` are bytes that were read from the socket but not used yet; ``place`` is named in
    errors. With a heartbeat of ``heartbeat_seconds`` a frame is sent in every half of it, and
    silence for two of them means that the connection is half-open (AMQP 0-9-1 specification,
    4.2.7). 0 switches both off.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        parser: FrameParser,
        heartbeat_seconds: float,
        received: bytes = b"",
        place: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sock = sock
        self._parser = parser
        self._place = place
        self._heartbeat_seconds = heartbeat_seconds
        self._received = received
        self._clock = clock
        self._input = SocketInput(sock, RECEIVE_BYTES)
        self._last_sent = self._last_received = clock()
        self._lost: SourceLostError | None = None
        self._closed = False

    def read(self, timeout_seconds: float) -> tuple[list[Message], int]:
        """See Session.read. Returns after half a heartbeat at the latest."""
        if self._lost is not None:
            raise self._lost
        messages: list[Message] = []
        size = 0
        try:
            data = self._receive(timeout_seconds)
            if data:
                size = self._parser.feed(data, messages)
            if self._parser.methods:
                methods, self._parser.methods = self._parser.methods, []
                for method in methods:
                    self._obey(method)
        except SourceLostError as lost:
            self._lost = lost
            # What came before the end counts; the next call tells of the end.
            if not messages:
                raise
        return messages, size

    def close(self) -> None:
        """Say goodbye, so that RabbitMQ logs no error and drops the queue at once."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError, ValueError):
            if self._lost is None:
                self._part()
        with contextlib.suppress(OSError):
            self._sock.close()
        self._lost = self._lost or SourceLostError("the session was closed")

    def _receive(self, timeout_seconds: float) -> bytes:
        """Return what came, b"" when nothing did."""
        if self._received:
            received, self._received = self._received, b""
            return received
        half = self._heartbeat_seconds / 2
        if half:
            timeout_seconds = min(timeout_seconds, half)
            if self._clock() + timeout_seconds - self._last_sent >= half:
                self._send(HEARTBEAT_FRAME)
        if not self._input.wait(timeout_seconds):
            self._check_silence()
            return b""
        try:
            data = self._input.take()
        except SourceLostError as error:
            raise self._gone(error.message) from None
        if data:
            self._last_received = self._clock()
        return data

    def _check_silence(self) -> None:
        silence = self._clock() - self._last_received
        if self._heartbeat_seconds and silence > 2 * self._heartbeat_seconds:
            raise self._gone(
                f"not a byte for {silence:.0f} s, though the broker must send a heartbeat every "
                f"{self._heartbeat_seconds:g} s: the connection is half-open"
            )

    def _send(self, frame: bytes) -> None:
        try:
            self._sock.sendall(frame)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return  # Nobody takes our few bytes: the silence from there will show as well.
        except (OSError, ValueError) as error:
            raise self._gone(lost(error).message) from None
        self._last_sent = self._clock()

    def _obey(self, method: MethodFrame) -> None:
        kind = (method.class_id, method.method_id)
        if kind == _CONNECTION_CLOSE:
            # The broker waits for the answer, then closes the socket.
            with contextlib.suppress(SourceLostError):
                self._send(method_frame(0, *_CONNECTION_CLOSE_OK))
            raise self._gone(_reason("the broker ended the connection", method))
        if kind == _CHANNEL_CLOSE:
            with contextlib.suppress(SourceLostError):
                self._send(method_frame(method.channel, *_CHANNEL_CLOSE_OK))
            raise self._gone(_reason("the broker closed the channel", method))
        if kind == _BASIC_CANCEL:
            raise self._gone("the broker ended the subscription: the event queue was deleted")
        if kind == _CHANNEL_FLOW:
            self._send(method_frame(method.channel, *_CHANNEL_FLOW_OK, method.arguments[:1]))
        # connection.blocked concerns those who publish. Others carry nothing for a consumer.

    def _part(self) -> None:
        self._sock.settimeout(CLOSE_TIMEOUT_SECONDS)
        self._sock.sendall(_GOODBYE)
        # Closing with bytes unread would reset the connection, and the goodbye with it.
        deadline = self._clock() + CLOSE_TIMEOUT_SECONDS
        ignored: list[Message] = []
        while self._clock() < deadline and (data := self._sock.recv(RECEIVE_BYTES)):
            ignored.clear()
            with contextlib.suppress(SourceLostError):
                self._parser.feed(data, ignored)
            if any(m[1:3] == _CONNECTION_CLOSE_OK for m in self._parser.methods):
                return

    def _gone(self, why: str) -> SourceLostError:
        return SourceLostError(f"{self._place}: {why}" if self._place else why)


def _reason(what: str, method: MethodFrame) -> str:
    code, text = parse_close(method.arguments)
    return f"{what}: {code} {printable(text)}"
