"""The Redis session on a socket pair, with a made clock: bytes in, messages out."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources.base import KEEPALIVE_SECONDS, KEEPALIVE_TIMEOUT_SECONDS, Message
from z4j_exporter.sources.redis_framer import MAX_PENDING_BYTES, RedisFramer
from z4j_exporter.sources.redis_session import RECEIVE_BYTES, RedisSession
from z4j_exporter.sources.socket_input import printable


def bulk(*items: bytes) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(b"$%d\r\n%s\r\n" % (len(i), i) for i in items)


def pmessage(payload: bytes) -> bytes:
    return bulk(b"pmessage", b"/0.celeryev/*", b"/0.celeryev/task.sent", payload)


def message(payload: bytes) -> bytes:
    return bulk(b"message", b"/0.celeryev", payload)


class Connection:
    """What the session uses of redis-py's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def disconnect(self) -> None:
        self._sock.close()


class Pair:
    """A session and the server's end of its socket."""

    def __init__(self) -> None:
        ours, self.server = socket.socketpair()
        self.now = 100.0
        self.session = RedisSession(Connection(ours), user="reader", clock=lambda: self.now)

    def read(self) -> list[Message]:
        items, size = self.session.read(0.0)
        assert (size > 0) == bool(items)
        return self.session.unpack(items)

    def sent(self) -> bytes:
        self.server.setblocking(False)
        try:
            return self.server.recv(100_000)
        except BlockingIOError:
            return b""


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.session.close()
    made.server.close()


def test_both_kinds_of_message_come_in_order(pair: Pair) -> None:
    pair.server.sendall(message(b"a") + pmessage(b"b") + message(b"") + pmessage(b"\r\n*1"))
    assert pair.read() == [b"a", b"b", b"", b"\r\n*1"]
    assert pair.read() == []


def test_a_message_in_two_parts_comes_with_the_second(pair: Pair) -> None:
    whole = pmessage(b"x" * 1000)
    pair.server.sendall(pmessage(b"a") + whole[:500])
    assert pair.read() == [b"a"]
    pair.server.sendall(whole[500:])
    assert pair.read() == [b"x" * 1000]


def test_other_replies_are_left_out(pair: Pair) -> None:
    pair.server.sendall(bulk(b"pong", b"") + b"+OK\r\n" + b":5\r\n" + b"$-1\r\n" + message(b"a"))
    assert pair.read() == [b"a"]


# -- silence ---------------------------------------------------------------------------------------


def test_a_silent_server_is_asked_and_its_answer_counts(pair: Pair) -> None:
    pair.read()
    pair.now += KEEPALIVE_SECONDS - 0.1
    pair.read()
    assert pair.sent() == b""
    for _ in range(3):
        pair.now += KEEPALIVE_SECONDS
        assert pair.read() == []
        assert pair.sent() == b"*1\r\n$4\r\nPING\r\n"
        pair.read()
        assert pair.sent() == b"", "once is enough"
        pair.server.sendall(bulk(b"pong", b""))
        pair.now += KEEPALIVE_TIMEOUT_SECONDS - 1
        assert pair.read() == []


def test_no_answer_is_the_end(pair: Pair) -> None:
    pair.read()
    pair.now += KEEPALIVE_SECONDS
    pair.read()
    pair.now += KEEPALIVE_TIMEOUT_SECONDS - 0.1
    pair.read()
    pair.now += 0.1
    with pytest.raises(SourceLostError, match="no answer to PING within 10 s"):
        pair.read()


def test_any_byte_is_an_answer(pair: Pair) -> None:
    pair.read()
    pair.now += KEEPALIVE_SECONDS
    pair.read()
    pair.server.sendall(b"*")
    pair.now += KEEPALIVE_TIMEOUT_SECONDS
    assert pair.read() == []


def test_a_refused_ping_is_an_answer(pair: Pair) -> None:
    pair.read()
    pair.now += KEEPALIVE_SECONDS
    pair.read()
    pair.server.sendall(b"-NOPERM this user has no permissions to run the 'ping' command\r\n")
    for _ in range(3):
        pair.now += 0.1
        assert pair.read() == []


# -- ends ------------------------------------------------------------------------------------------


def read_until_lost(pair: Pair) -> str:
    """Read until the end is told; what the framer finds is told by the read after."""
    for _ in range(3):
        try:
            pair.read()
        except SourceLostError as lost:
            return lost.message
    raise AssertionError("the session goes on")


def test_a_closed_connection(pair: Pair) -> None:
    pair.server.sendall(message(b"last"))
    pair.server.close()
    assert pair.read() == [b"last"], "what came before the end counts"
    assert read_until_lost(pair) == "the server closed the connection"


def test_an_error_of_the_server(pair: Pair) -> None:
    pair.server.sendall(b"-ERR going \x1b[31maway\r\n")
    assert read_until_lost(pair) == "the server says: ERR going ?[31maway"


def test_what_is_not_redis(pair: Pair) -> None:
    pair.server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert read_until_lost(pair).startswith("not Redis's protocol: ")


def test_closing_twice_and_without_a_connection(pair: Pair) -> None:
    pair.session.close()
    pair.session.close()


def test_text_of_a_server_is_made_fit_for_a_line() -> None:
    assert printable("a\nb\x00c\u2028") == "a?b?c?"
    assert len(printable("x" * 9999)) == 200


# -- the framer ------------------------------------------------------------------------------------


payloads = st.lists(st.binary(max_size=60), max_size=8)


@given(payloads, st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_however_the_bytes_are_cut(given_: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pmessage(p) if n % 2 else message(p) for n, p in enumerate(given_))
    framer = RedisFramer()
    found: list[Message] = []
    at = 0
    while at < len(stream):
        step = cuts[at % len(cuts)]
        found += framer.messages(stream[at : at + step])
        at += step
    assert found == given_
    assert framer.errors == []


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_an_error_but_never_raise(data: bytes) -> None:
    framer = RedisFramer()
    framer.messages(data)
    framer.messages(data)
    assert all(isinstance(error, str) for error in framer.errors)


def test_after_a_gap_it_goes_on_with_the_next_beginning() -> None:
    for make in (message, pmessage):
        framer = RedisFramer()
        assert framer.messages(make(b"a") + make(b"half")[:20]) == [b"a"]
        framer.skip()
        assert framer.messages(b"rest of something\r\n") == []
        assert framer.messages(b"rest\r\n" + make(b"b") + make(b"c")) == [b"b", b"c"]
        assert framer.errors == []


def test_dropped_bytes_leave_a_gap(pair: Pair) -> None:
    whole = pmessage(b"x" * 100)
    pair.server.sendall(pmessage(b"a") + whole[:50])
    assert pair.read() == [b"a"]
    pair.server.sendall(whole[50:] + pmessage(b"b") + message(b"c") + whole[:50])
    items, _ = pair.session.read(0.0)
    assert pair.session.drop(items) == 3, "the messages that begin there"
    pair.server.sendall(whole[50:] + pmessage(b"d"))
    assert pair.read() == [b"d"]
    pair.server.sendall(pmessage(b"e"))
    assert pair.read() == [b"e"]


def test_a_message_without_end_is_given_up() -> None:
    framer = RedisFramer()
    framer.messages(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$999999999\r\n")
    piece = b"x" * (8 * RECEIVE_BYTES)
    for _ in range(MAX_PENDING_BYTES // len(piece)):
        framer.messages(piece)
    framer.messages(b"x")
    assert framer.errors
    assert "bytes" in framer.errors[0]


def test_items_are_what_the_applier_unpacks(pair: Pair) -> None:
    """The reader's thread makes no messages: that is the applier's work."""
    pair.server.sendall(message(b"a") * 3)
    items, size = pair.session.read(0.0)
    assert size == 3 * len(message(b"a"))
    assert all(isinstance(item, bytes) for item in items)
    unpacked: list[Any] = pair.session.unpack(items)
    assert unpacked == [b"a"] * 3
