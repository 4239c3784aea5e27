"""The benchmark's bytes are what kombu would have written; its tape keeps their bounds."""

import json
from pathlib import Path
from typing import Any

import pytest
from amqp.method_framing import frame_handler
from amqp.serialization import loads
from celery import Celery
from celery.events.event import event_exchange
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.transport.pyamqp import Channel as PyamqpChannel

from benchmarks.publish import due_chunks
from benchmarks.stream import Message, Shape, messages
from benchmarks.wire import amqp_encoder, redis_command, redis_envelope, write_tape

SHAPE = Shape(events=500, start=1_700_000_000.0)


@pytest.fixture(scope="module")
def stream() -> list[Message]:
    return list(messages(SHAPE))


def _kombu_envelope(message: Message) -> dict[str, Any]:
    """Let Celery's dispatcher publish the same event on a virtual transport, and look at it."""
    app = Celery(broker="memory://", set_as_current=False)
    with Connection("memory://") as connection:  # type: ignore[no-untyped-call]  # kombu has no types
        channel = connection.default_channel
        queue: Any = Queue  # kombu has no types
        queue("bench", event_exchange, routing_key="#", auto_delete=True)(channel).declare()
        dispatcher = app.events.Dispatcher(connection, hostname=message.sender)
        dispatcher._publish(message.body, dispatcher.producer, message.routing_key)
        raw: dict[str, Any] = channel._get("bench")
        return raw


@pytest.mark.parametrize("key", ["task.sent", "task.multi", "worker.heartbeat"])
def test_the_redis_envelope_is_kombus(stream: list[Message], key: str) -> None:
    message = next(m for m in stream if m.routing_key == key)
    ours, theirs = json.loads(redis_envelope(message)), _kombu_envelope(message)
    for envelope in (ours, theirs):
        assert len(envelope["properties"].pop("delivery_tag")) == 36
    assert ours == theirs
    assert list(ours) == list(theirs)
    assert list(ours["properties"]) == list(theirs["properties"])


def test_the_redis_command_publishes_on_the_channel_of_database_0(stream: list[Message]) -> None:
    message = next(m for m in stream if m.routing_key == "task.multi")
    parts = redis_command(message).split(b"\r\n")
    assert parts[:3] == [b"*3", b"$7", b"PUBLISH"]
    assert parts[4] == b"/0.celeryev/task.multi"
    assert parts[5] == b"$%d" % len(parts[6])
    assert parts[6] == redis_envelope(message)


def _decoded(frames: bytes) -> tuple[bytes, Any]:
    """Read frames as py-amqp's client would; return the method's arguments and the message."""

    class _Connection:
        bytes_recv = 0

    read: list[tuple[bytes, Any]] = []

    def on_message(channel: int, method: Any, arguments: bytes, message: Any) -> None:
        # A server's side of basic.publish looks to the framing like a basic.deliver.
        read.append((arguments, message))

    on_frame = frame_handler(_Connection(), on_message, content_methods=[(60, 40)])
    at = 0
    while at < len(frames):
        size = int.from_bytes(frames[at + 3 : at + 7], "big")
        on_frame((frames[at], 1, frames[at + 7 : at + 7 + size]))
        assert frames[at + 7 + size] == 0xCE
        at += 8 + size
    assert len(read) == 1
    return read[0]


@pytest.mark.parametrize("key", ["task.sent", "task.multi", "worker.heartbeat"])
def test_the_amqp_frames_carry_what_kombu_gives_to_py_amqp(stream: list[Message], key: str) -> None:
    message = next(m for m in stream if m.routing_key == key)
    arguments, decoded = _decoded(amqp_encoder()(message))
    assert loads("Bssbb", arguments, 4)[0][1:3] == ["celeryev", key]
    assert json.loads(bytes(decoded.body)) == message.body
    theirs = PyamqpChannel.prepare_message(  # type: ignore[no-untyped-call]  # kombu has no types
        object.__new__(PyamqpChannel),
        json.dumps(message.body),
        priority=0,
        content_type="application/json",
        content_encoding="utf-8",
        headers={"hostname": message.sender},
        properties={"delivery_mode": 1},
    )
    assert decoded.properties == theirs.properties


def test_a_tape_holds_each_message_with_its_length_and_events(
    stream: list[Message], tmp_path: Path
) -> None:
    tape = write_tape(tmp_path / "s.tape", stream, redis_command)
    data = tape.path.read_bytes()
    assert tape.events == 500
    assert tape.worker_events == sum(m.routing_key.startswith("worker.") for m in stream)
    at = 0
    for message, (size, events) in zip(stream, tape.entries(), strict=True):
        assert data[at : at + size] == redis_command(message)
        assert events == message.events
        at += size
    assert at == len(data)


@pytest.mark.parametrize("per_tick", [0.5, 25.0, 400.0, 10_000.0])
def test_what_is_due_adds_up_and_keeps_the_pace(
    stream: list[Message], tmp_path: Path, per_tick: float
) -> None:
    tape = write_tape(tmp_path / "s.tape", stream, redis_command)
    chunks = list(due_chunks(tape, per_tick))
    assert sum(size for size, _ in chunks) == tape.path.stat().st_size
    assert sum(events for _, events in chunks) == 500
    # A list of six may overshoot a tick by five events at most.
    assert all(events <= per_tick + 6 for _, events in chunks)
