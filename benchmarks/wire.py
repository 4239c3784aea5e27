"""The stream as the very bytes that go to the broker, encoded before any clock starts.

Redis gets `PUBLISH` commands whose payload is kombu's envelope, RabbitMQ `basic.publish` frames;
both as kombu 5.7 with redis-py and py-amqp would write them.
"""

import base64
import json
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

from amqp.basic_message import Message as AmqpMessage
from amqp.serialization import dumps

from benchmarks.stream import Message

Broker = Literal["redis", "rabbitmq"]
Encoder = Callable[[Message], bytes]

#: AMQP channel that the frames are written for; the publisher must have opened it.
AMQP_CHANNEL = 1
_FRAME_END = b"\xce"
_BASIC = 60
_PUBLISH = 40


def redis_command(message: Message) -> bytes:
    """Return the RESP command that publishes `message` on database 0."""
    channel = f"/0.celeryev/{message.routing_key}".encode()
    payload = redis_envelope(message)
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(channel),
        channel,
        len(payload),
        payload,
    )


def redis_envelope(message: Message) -> bytes:
    """Return kombu's JSON envelope around `message`, keys in kombu's order."""
    body = json.dumps(message.body).encode()
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"hostname": message.sender},
        "properties": {
            "delivery_mode": 1,
            "delivery_info": {"exchange": "celeryev", "routing_key": message.routing_key},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(UUID(bytes=body[-16:].rjust(16, b"0"), version=4)),
        },
    }
    return json.dumps(envelope).encode()


def amqp_encoder() -> Encoder:
    """Return an encoder to AMQP frames; it keeps what does not change between messages."""
    methods: dict[str, bytes] = {}
    properties: dict[str, bytes] = {}

    def encode(message: Message) -> bytes:
        key, sender = message.routing_key, message.sender
        if key not in methods:
            arguments = dumps("Bssbb", (0, "celeryev", key, False, False))
            methods[key] = _frame(1, struct.pack(">HH", _BASIC, _PUBLISH) + arguments)
        if sender not in properties:
            properties[sender] = AmqpMessage(
                "",
                priority=0,
                content_type="application/json",
                content_encoding="utf-8",
                application_headers={"hostname": sender},
                delivery_mode=1,
            )._serialize_properties()
        body = json.dumps(message.body).encode()
        header = struct.pack(">HHQ", _BASIC, 0, len(body)) + properties[sender]
        return methods[key] + _frame(2, header) + _frame(3, body)

    return encode


def encoder(broker: Broker) -> Encoder:
    """Return the encoder for `broker`."""
    return redis_command if broker == "redis" else amqp_encoder()


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, AMQP_CHANNEL, len(payload)) + payload + _FRAME_END


@dataclass(frozen=True, slots=True)
class Tape:
    """Encoded messages in a file, with the length and the event count of each beside it."""

    path: Path
    events: int
    worker_events: int = 0

    @property
    def index_path(self) -> Path:
        """Where the lengths and counts lie."""
        return self.path.with_suffix(".index")

    def entries(self) -> Iterator[tuple[int, int]]:
        """Yield (bytes, events) of each message."""
        numbers = array("I")
        numbers.frombytes(self.index_path.read_bytes())
        return zip(numbers[::2], numbers[1::2], strict=True)


def write_tape(path: Path, stream: Iterable[Message], encode: Encoder) -> Tape:
    """Encode `stream` into `path` and return what was written."""
    index = array("I")
    events = worker_events = 0
    with path.open("wb") as file:
        for message in stream:
            data = encode(message)
            file.write(data)
            index.extend((len(data), message.events))
            events += message.events
            worker_events += message.routing_key.startswith("worker.")
    tape = Tape(path, events, worker_events)
    tape.index_path.write_bytes(index.tobytes())
    return tape
