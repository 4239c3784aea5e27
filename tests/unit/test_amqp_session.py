"""The AMQP session on a socket pair, with a clock that only the test moves."""

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.certs import certificates
from tests.unit.test_amqp_frames import CHANNEL, FRAME_MAX, deliver, json, message, short
from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources.amqp_frames import (
    HEARTBEAT_FRAME,
    FrameParser,
    method_frame,
)
from z4j_exporter.sources.amqp_session import AmqpSession

HEARTBEAT_SECONDS = 10.0
#: Real seconds; the sockets are local, so that an empty read takes no longer.
MOMENT = 0.001


@dataclass
class Link:
    """A session, the broker's end of its socket, and the clock."""

    broker: socket.socket
    client: socket.socket
    now: float = 1000.0
    heartbeat_seconds: float = HEARTBEAT_SECONDS

    def session(self, received: bytes = b"") -> AmqpSession:
        parser = FrameParser(channel=CHANNEL, frame_max=FRAME_MAX, max_message_bytes=1 << 20)
        return AmqpSession(
            self.client,
            place="amqp://broker:5672/%2F",
            parser=parser,
            heartbeat_seconds=self.heartbeat_seconds,
            received=received,
            clock=lambda: self.now,
        )

    def sent(self) -> bytes:
        """Return what the session has sent since the last call."""
        self.broker.settimeout(MOMENT)
        try:
            return self.broker.recv(65536)
        except TimeoutError:
            return b""


@pytest.fixture
def link() -> Iterator[Link]:
    broker, client = socket.socketpair()
    yield Link(broker, client)
    broker.close()
    client.close()


def close_method(class_id: int, method_id: int, channel: int, code: int, text: bytes) -> bytes:
    arguments = code.to_bytes(2, "big") + short(text) + b"\0\0\0\0"
    return method_frame(channel, class_id, method_id, arguments)


def test_bytes_read_before_the_takeover_come_first(link: Link) -> None:
    first = message(b"first")
    session = link.session(received=first[:20])
    link.broker.sendall(first[20:] + message(b"second"))
    assert session.read(MOMENT) == ([], 0)
    messages, size = session.read(MOMENT)
    assert messages == [json(b"first"), json(b"second")]
    assert size > len(b"firstsecond")


def test_what_the_tls_layer_has_decrypted_before_the_takeover_is_not_waited_for(
    link: Link,
) -> None:
    certs = certificates()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certs.server_certificate, certs.server_key)
    client_context = ssl.create_default_context(cafile=str(certs.ca))
    secured: list[ssl.SSLSocket] = []
    handshake = threading.Thread(
        target=lambda: secured.append(server_context.wrap_socket(link.broker, server_side=True)),
        name="handshake",
        daemon=True,
    )
    handshake.start()
    client = client_context.wrap_socket(link.client, server_hostname="localhost")
    handshake.join(10)
    (broker,) = secured
    link.broker, link.client = broker, client

    broker.sendall(message(b"first") + message(b"second"))
    session = link.session(received=client.recv(1))
    messages = session.read(MOMENT)[0] + session.read(MOMENT)[0]
    assert messages == [json(b"first"), json(b"second")]

    for number in range(100):
        broker.sendall(message(b"%d" % number))
    assert session.read(MOMENT)[0] == [json(b"%d" % number) for number in range(100)]
    broker.sendall(method_frame(0, 10, 51))
    session.close()


def test_an_empty_read_is_no_error(link: Link) -> None:
    assert link.session().read(MOMENT) == ([], 0)
    assert link.session().read(0) == ([], 0)


def test_a_heartbeat_is_sent_in_every_half_interval(link: Link) -> None:
    session = link.session()
    session.read(MOMENT)
    assert link.sent() == b""
    link.now += HEARTBEAT_SECONDS / 2
    link.broker.sendall(HEARTBEAT_FRAME)
    session.read(MOMENT)
    assert link.sent() == HEARTBEAT_FRAME
    session.read(MOMENT)
    assert link.sent() == b""


def test_a_heartbeat_is_sent_in_the_middle_of_a_flood(link: Link) -> None:
    session = link.session()
    link.now += HEARTBEAT_SECONDS / 2
    link.broker.sendall(message(b"x") * 10)
    assert len(session.read(MOMENT)[0]) == 10
    assert link.sent() == HEARTBEAT_FRAME


def test_silence_for_two_intervals_means_half_open(link: Link) -> None:
    session = link.session()
    link.now += 2 * HEARTBEAT_SECONDS
    session.read(MOMENT)
    link.now += 1
    with pytest.raises(SourceLostError, match="half-open"):
        session.read(MOMENT)


def test_bytes_that_waited_while_this_process_was_paused_are_read_not_doubted(link: Link) -> None:
    session = link.session()
    link.broker.sendall(message(b"late"))
    link.now += 100 * HEARTBEAT_SECONDS
    assert session.read(MOMENT)[0] == [json(b"late")]
    assert session.read(MOMENT) == ([], 0)


def test_without_a_heartbeat_silence_is_borne(link: Link) -> None:
    link.heartbeat_seconds = 0
    session = link.session()
    link.now += 100_000
    assert session.read(MOMENT) == ([], 0)
    assert link.sent() == b""


def test_the_end_of_the_stream(link: Link) -> None:
    session = link.session()
    link.broker.close()
    with pytest.raises(SourceLostError, match="closed the connection"):
        session.read(MOMENT)
    with pytest.raises(SourceLostError, match="closed the connection"):
        session.read(MOMENT)


def test_connection_close_is_answered_and_ends_the_session(link: Link) -> None:
    session = link.session()
    link.broker.sendall(
        message(b"last") + close_method(10, 50, 0, 320, b"CONNECTION_FORCED - \x1b[31mbye")
    )
    assert session.read(MOMENT)[0] == [json(b"last")], "what came before the end counts"
    with pytest.raises(SourceLostError, match="320 CONNECTION_FORCED") as lost:
        session.read(MOMENT)
    assert "\x1b" not in lost.value.message
    assert "amqp://broker:5672/%2F" in lost.value.message
    assert link.sent() == method_frame(0, 10, 51)


def test_channel_close_is_answered_and_ends_the_session(link: Link) -> None:
    session = link.session()
    link.broker.sendall(close_method(20, 40, CHANNEL, 404, b"NOT_FOUND"))
    with pytest.raises(SourceLostError, match="closed the channel: 404 NOT_FOUND"):
        session.read(MOMENT)
    assert link.sent() == method_frame(CHANNEL, 20, 41)


def test_cancel_by_the_broker_ends_the_session(link: Link) -> None:
    session = link.session()
    link.broker.sendall(method_frame(CHANNEL, 60, 30, short(b"ctag") + b"\x01"))
    with pytest.raises(SourceLostError, match="queue was deleted"):
        session.read(MOMENT)


def test_flow_is_answered_and_blocked_is_borne(link: Link) -> None:
    session = link.session()
    link.broker.sendall(
        method_frame(CHANNEL, 20, 20, b"\x01")
        + method_frame(0, 10, 60, short(b"low on memory"))
        + method_frame(0, 10, 61)
        + message(b"still here")
    )
    assert session.read(MOMENT)[0] == [json(b"still here")]
    assert link.sent() == method_frame(CHANNEL, 20, 21, b"\x01")


def test_garbage_after_a_message_is_told_by_the_next_read(link: Link) -> None:
    session = link.session()
    link.broker.sendall(message(b"good") + deliver() + deliver())
    assert session.read(MOMENT)[0] == [json(b"good")]
    with pytest.raises(SourceLostError, match="not AMQP"):
        session.read(MOMENT)


def test_close_says_goodbye_waits_for_the_answer_and_never_raises(link: Link) -> None:
    session = link.session()
    link.broker.sendall(message(b"unread") + method_frame(0, 10, 51))
    session.close()
    assert link.sent()[7:11] == b"\x00\x0a\x00\x32", "connection.close"
    session.close()
    with pytest.raises(SourceLostError, match="was closed"):
        session.read(MOMENT)


def test_close_of_a_lost_session_does_not_wait(link: Link) -> None:
    session = link.session()
    link.broker.close()
    with pytest.raises(SourceLostError):
        session.read(MOMENT)
    session.close()
    assert link.client.fileno() == -1
