"""The framer: bytes of any cut become whole messages, and a gap costs only what it took."""

from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.sources.redis_framer import MAX_PENDING_BYTES, RedisFramer, count_beginnings


def wire(*parts: bytes) -> bytes:
    """Encode one reply."""
    body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), body)


def message(number: int) -> bytes:
    return wire(b"pmessage", b"/0.celeryev/*", b"/0.celeryev/task.sent", b'{"n":%d}' % number)


def plain(number: int) -> bytes:
    return wire(b"message", b"/0.celeryev", b'{"n":%d}' % number)


@given(st.lists(st.integers(0, 400), max_size=20))
def test_any_cut_gives_the_same_messages(cuts: list[int]) -> None:
    data = message(1) + plain(2) + wire(b"pong", b"") + message(3)
    framer = RedisFramer()
    found = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        found += framer.messages(data[start:end])
    assert found == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    assert not framer.errors


@given(st.integers(0, 200), st.integers(0, 200))
def test_after_a_gap_the_next_whole_message_is_found(before: int, after: int) -> None:
    kept, lost, rest = message(1), message(2), message(3) + plain(4)
    stream = lost + rest
    framer = RedisFramer()
    found = framer.messages(kept + lost[: before % len(lost)])
    framer.skip()
    # The bytes between the two are gone; what follows may begin in the middle of a message.
    start = after % len(lost)
    found += framer.messages(stream[start:] if start else rest)
    assert found == [b'{"n":1}', b'{"n":3}', b'{"n":4}']
    assert not framer.errors


def test_a_gap_that_goes_on() -> None:
    framer = RedisFramer()
    framer.skip()
    assert framer.messages(b'"n":1}\r\n') == []
    assert framer.messages(message(2)) == [b'{"n":2}']


def test_messages_in_dropped_bytes_are_counted_where_they_begin() -> None:
    data = message(1) + plain(2) + wire(b"pong", b"")
    assert count_beginnings(data) == 2
    assert count_beginnings(data[1:]) == 1


def test_errors_are_kept_for_the_reader() -> None:
    framer = RedisFramer()
    assert framer.messages(message(1) + b"-ERR max clients\r\n") == [b'{"n":1}']
    assert framer.errors == ["the server says: ERR max clients"]
    assert framer.messages(b"?nonsense\r\n") == []
    assert "not Redis's protocol" in framer.errors[1]


def test_a_message_without_end_is_an_error() -> None:
    framer = RedisFramer()
    framer.messages(b"*3\r\n$7\r\nmessage\r\n$3\r\n/0.\r\n$999999999\r\n")
    for _ in range(MAX_PENDING_BYTES // (8 * 1024 * 1024) + 1):
        framer.messages(b"x" * 8 * 1024 * 1024)
    assert framer.errors
