"""What is read out of Redis's answers: heads of lists, unacked entries, bindings; and settings."""

import json
import socket
from typing import Any

import hiredis
import pytest

from z4j_exporter.config import Settings
from z4j_exporter.errors import BrokerUrlError, ConfigError, SourceLostError
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.open import open_queue_reader
from z4j_exporter.queues.rabbitmq import RabbitQueues
from z4j_exporter.queues.redis import RedisQueues
from z4j_exporter.queues.redis_bindings import Binding, Bindings
from z4j_exporter.queues.redis_messages import Head, head_of, routing_of
from z4j_exporter.queues.redis_scripts import TAIL_BYTES, TAILS
from z4j_exporter.queues.redis_unacked import Unacked
from z4j_exporter.sources import redis_calls
from z4j_exporter.sources.redis_calls import RedisCalls, refusal

NOW = 1_790_000_000.0


def message(body: str = "", **properties: Any) -> bytes:
    """Return a message as kombu writes it: the properties come last."""
    parts = {"body": body, "headers": {"id": "in-headers"}, "properties": properties}
    return json.dumps(parts).encode()


# -- heads ---------------------------------------------------------------------------------


def test_a_head_is_read_from_the_end() -> None:
    whole = message("x" * 10_000, correlation_id="a-b", delivery_info={"exchange": ""})
    assert head_of(whole[-TAIL_BYTES:], NOW) == Head("a-b")
    assert head_of(message(), NOW) == Head("in-headers")
    assert head_of(message("x" * 10_000)[-TAIL_BYTES:], NOW) == Head()


def test_text_that_looks_like_properties_does_not_deceive() -> None:
    tricky = '"properties": {"correlation_id": "wrong"}'
    assert head_of(message(tricky, correlation_id="right", note=tricky), NOW) == Head("right")
    assert head_of(message(tricky), NOW) == Head("in-headers")


@pytest.mark.parametrize(
    "tail",
    [
        b"", b"\xff\x00", b"{}", b"[]", b"1", b'{"properties": [1]}', b'"properties":',
        b'"properties": {"correlation_id": "cut', b"[" * 4000, b'{"properties": ' * 200,
        b'{"properties": {"correlation_id": 7, "timestamp": "x"}, "headers": [1]}',
        b'{"properties": {"correlation_id": ""}, "headers": {"id": {}}}',
        b'{"properties": {"correlation_id": "' + b"x" * 300 + b'"}}',
    ],
)  # fmt: skip
def test_a_head_that_says_nothing(tail: bytes) -> None:
    assert head_of(tail, NOW) == Head()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOW - 5, NOW - 5), (int(NOW), NOW), (NOW * 1000, None), (-1, None), (0, None),
        (True, None), ("1790000000", None), (None, None), (10**400, None), (float("nan"), None),
        (float("inf"), None), ({}, None),
    ],
)  # fmt: skip
def test_a_timestamp_must_be_a_time(value: Any, expected: float | None) -> None:
    assert head_of(message(timestamp=value), NOW).timestamp == expected


# -- unacknowledged ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (b'"", "celery"', ("", "celery")),
        (b'"x", null', ("x", "")),
        (b'null, "a\\"}, \\u00fc"', ("", 'a"}, ü')),
        (b"", None),
        (b'"", "a", "b"', None),
        (b'{}, "a"', None),
        (b'"', None),
        (b"\xff", None),
        (b"[" * 9000, None),
    ],
)
def test_where_an_unacked_message_was_sent(ending: bytes, expected: tuple[str, str] | None) -> None:
    assert routing_of(ending) == expected


def test_what_is_not_known_of_unacked_is_none() -> None:
    some = Unacked(known=True, counts={"a": 2, "b": 1}, ambiguous=frozenset({"b"}))
    assert [some.of(name) for name in "abc"] == [2, None, 0]
    assert Unacked(known=False).of("a") is None


@pytest.mark.parametrize(
    ("binding", "key", "expected"),
    [
        ("a.b", "a.b", True), ("a.b", "a.c", False), ("a.*", "a.b", True), ("a.*", "a.b.c", False),
        ("#", "anything.at.all", True), ("a.#", "a.b.c", True), ("*.b", "a.b", True),
        ("a+.b", "aa.b", False), ("a.#", "x" * 300, None), ("#.#.#.#", "a", None),
    ],
)  # fmt: skip
def test_a_topic_binding_takes_what_kombu_says(binding: str, key: str, expected: bool) -> None:
    assert Binding(binding, "^kombu's pattern$", "q").takes(key) is expected


def test_a_direct_binding_takes_its_key_alone() -> None:
    assert Binding("a.*", "", "q").takes("a.*")
    assert not Binding("a.*", "", "q").takes("a.b")


# -- questions and answers -----------------------------------------------------------------


class Calls:
    """Answers questions from a dictionary by their first two words."""

    def __init__(self, answers: dict[tuple[Any, ...], Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[Any, ...]] = []

    def run(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        self.asked += commands
        return [self.answers.get(command[:2], [b"0", []]) for command in commands]


#: One message in the queue "a".
SOME_REDIS: dict[tuple[Any, ...], Any] = {
    ("LLEN", b"a"): 1,
    **{("LLEN", b"a\x06\x16%d" % step): 0 for step in (3, 6, 9)},
    ("EVAL_RO", TAILS): [message(correlation_id="x")],
    ("HLEN", b"unacked"): 0,
}


def test_a_large_keyspace_is_searched_bit_by_bit() -> None:
    bindings = Bindings(key_prefix="p:", separator="|", event_exchange="celeryev")
    scans = {
        ("SCAN", b"0"): [b"5", [b"p:_kombu.binding.a", b"p:_kombu.binding.celeryev"]],
        ("SCAN", b"5"): [b"6", []],
        ("SCAN", b"6"): [b"7", []],
        ("SCAN", b"7"): [b"8", []],
        ("SCAN", b"8"): [b"0", [b"p:_kombu.binding.b", b"p:_kombu.binding.w1.celery.pidbox"]],
        ("SSCAN", b"p:_kombu.binding.a"): [b"0", [b"a||q1", b"not a binding", b"b||q2"]],
        ("SSCAN", b"p:_kombu.binding.b"): [b"9", [b"b||q3"]],
    }
    calls: Any = Calls(scans)
    bindings.refresh(calls)
    assert [c[1] for c in calls.asked if c[0] == "SCAN"] == [b"0", b"5", b"6", b"7"]
    assert bindings.queues() == {"q1", "q2"}
    bindings.refresh(calls)
    assert [c[1] for c in calls.asked if c[0] == "SCAN"][4:] == [b"8"]
    assert bindings.queues() == {"q1", "q2"}
    assert "bindings: not all are read" in bindings.note
    routes = bindings.route(calls, [("", "x"), ("a", "b"), ("b", "b"), ("gone", "b")])
    assert routes == {
        ("", "x"): {"x"},
        ("a", "b"): {"q2"},
        ("b", "b"): None,  # not all of its bindings are known
        ("gone", "b"): frozenset(),
    }


@pytest.mark.parametrize("words", ["LOADING Redis is loading", "NOAUTH x", "MASTERDOWN x"])
def test_a_server_that_answers_nothing_fails_the_look(words: str) -> None:
    calls: Any = Calls({("SCAN", b"0"): hiredis.ReplyError(words)})
    with pytest.raises(QueuePollError):
        RedisQueues(Settings(broker_url="redis://localhost"))._read(calls, [])


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (("SCAN", b"0"), b"OK"),
        (("SCAN", b"0"), [b"0", [7]]),
        (("SCAN", b"0"), [0, []]),
        (("LLEN", b"a"), b"1"),
        (("LLEN", b"a"), -1),
        (("HLEN", b"unacked"), [b"0", []]),
    ],
)
def test_a_server_that_is_no_redis_fails_the_look(question: tuple[Any, ...], answer: Any) -> None:
    calls: Any = Calls({**SOME_REDIS, question: answer})
    with pytest.raises(SourceLostError, match="not answer as Redis"):
        RedisQueues(Settings(broker_url="redis://localhost"))._read(calls, ["a"])


def test_a_list_that_emptied_meanwhile_has_no_oldest_message() -> None:
    calls: Any = Calls({**SOME_REDIS, ("EVAL_RO", TAILS): [None]})
    (reading,) = RedisQueues(Settings(broker_url="redis://localhost"))._read(calls, ["a"])
    assert reading.ready == {"0": 1, "3": 0, "6": 0, "9": 0}
    assert reading.oldest_task_ids == ()
    assert reading.unacked == 0


class Connection:
    """What RedisCalls uses of redis-py's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def disconnect(self) -> None:
        self._sock.close()


class Pair:
    """Questions, and the server's end of their socket."""

    def __init__(self, deadline: float = 5.0) -> None:
        ours, self.server = socket.socketpair()
        self.now = 0.0
        self.calls = RedisCalls(
            Connection(ours), deadline, client_name="me", clock=lambda: self.now
        )


def test_answers_come_in_order_and_the_greeting_is_not_one() -> None:
    pair = Pair()
    pair.server.sendall(b"-NOPERM no name\r\n:1\r\n-WRONGTYPE x\r\n$-1\r\n")
    one, wrong, none = pair.calls.run([("LLEN", "a"), ("LLEN", b"\xff"), ("LINDEX", "a", -1)])
    assert one == 1
    assert refusal(wrong) == "WRONGTYPE x"
    assert refusal(one) == refusal(none) == ""
    sent = pair.server.recv(10_000)
    assert sent.startswith(b"*3\r\n$6\r\nCLIENT\r\n")
    assert pair.calls.run([]) == []
    pair.server.sendall(b":2\r\n")
    assert pair.calls.run([("LLEN", "a")]) == [2]
    assert pair.calls.round_trips == 2
    pair.calls.close()


def test_the_deadline_holds_whatever_comes() -> None:
    pair = Pair(deadline=0.05)
    pair.server.sendall(b":1\r\n")  # the greeting's
    with pytest.raises(SourceLostError, match="no answer in time"):
        pair.calls.run([("PING",)])
    pair = Pair(deadline=5.0)
    pair.now = 5.0
    with pytest.raises(SourceLostError, match="no answer in time"):
        pair.calls.run([("PING",)])


@pytest.mark.parametrize(
    ("sent", "said"), [(b"garbage\r\n", "connection lost"), (b"$99999999999\r\n", "lost|closed")]
)
def test_garbage_ends_the_connection(sent: bytes, said: str) -> None:
    pair = Pair()
    pair.server.sendall(sent)
    pair.server.shutdown(socket.SHUT_WR)
    with pytest.raises(SourceLostError, match=said):
        pair.calls.run([("PING",)])


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_calls, "MAX_REPLY_BYTES", 100)
    pair = Pair()
    pair.server.sendall(b"$200\r\n" + b"x" * 200)
    with pytest.raises(SourceLostError, match="too large"):
        pair.calls.run([("PING",)])


# -- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[], "0,3", [0, "3"], [True], list(range(300)), {"a": 1}, 3])
def test_priority_steps_must_be_numbers(steps: Any) -> None:
    with pytest.raises(ConfigError, match="priority_steps"):
        RedisQueues(
            Settings(
                broker_url="redis://localhost", broker_transport_options={"priority_steps": steps}
            )
        )


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"broker_url": "redis://localhost"}, RedisQueues),
        ({"broker_url": "rediss://a;rediss://b"}, RedisQueues),
        ({"broker_url": "amqp://localhost"}, RabbitQueues),
        ({"broker_url": "redis://localhost", "queue_poll_interval": 0}, None),
        ({"broker_url": "filesystem://"}, None),
        ({"broker_url": "redis://localhost", "recording": "x.jsonl"}, None),
        ({}, None),
    ],
)
def test_the_transport_chooses_the_reader(settings: dict[str, Any], kind: type | None) -> None:
    reader = open_queue_reader(Settings.model_validate(settings))
    assert type(reader) is (kind or type(None))


def test_a_transport_without_events_is_refused() -> None:
    with pytest.raises(BrokerUrlError):
        open_queue_reader(Settings(broker_url="sqs://"))
