"""Publish a tape at a fixed rate or flat out: `python -m benchmarks.publish TAPE URL [--rate R]`.

A process of its own, so that its CPU is not the consumer's. It writes raw bytes and waits until the
broker has taken them all; then it prints one JSON line: events, seconds, late_seconds.
"""

import argparse
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import amqp

from benchmarks.wire import AMQP_CHANNEL, Tape

#: Seconds between two sends at a fixed rate; what is due in between goes out together. At 5 000
#: events a second that is about ten messages, so no consumer is spoilt with large reads.
TICK_SECONDS = 0.005
#: Bytes in one send when flat out.
FLAT_OUT_BYTES = 1 << 18
#: Longest wait for the broker to confirm that it has taken everything.
CONFIRM_SECONDS = 120.0


class Line(Protocol):
    """An open connection that takes encoded messages."""

    def send(self, data: memoryview) -> None:
        """Write `data`, blocking while the broker holds us back."""

    def finish(self) -> None:
        """Return when the broker has taken everything; raise OSError when it does not."""


class RedisLine:
    """Redis told not to answer, so that nothing but the commands crosses the socket."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=CONFIRM_SECONDS)
        self._socket.sendall(b"CLIENT REPLY OFF\r\n")

    def send(self, data: memoryview) -> None:
        """Write commands."""
        self._socket.sendall(data)

    def finish(self) -> None:
        """Switch answers on again: `+OK` comes after the last PUBLISH has been carried out."""
        self._socket.sendall(b"CLIENT REPLY ON\r\n")
        if not self._socket.recv(64).startswith(b"+OK"):
            raise OSError("Redis did not confirm the stream")
        self._socket.close()


class RabbitLine:
    """A py-amqp connection for the handshake; the frames are written past it."""

    def __init__(self, host: str, port: int, vhost: str) -> None:
        self._connection = amqp.Connection(f"{host}:{port}", virtual_host=vhost, heartbeat=0)
        self._connection.connect()
        self._channel = self._connection.channel(AMQP_CHANNEL)
        self._connection.sock.settimeout(CONFIRM_SECONDS)

    def send(self, data: memoryview) -> None:
        """Write frames."""
        self._connection.sock.sendall(data)

    def finish(self) -> None:
        """Make a call that needs an answer: the channel works through its frames in order."""
        self._channel.exchange_declare("celeryev", passive=True, type="topic")
        self._connection.close()


def open_line(url: str) -> Line:
    """Connect to `url` (redis:// or amqp://, with host and port; guest on RabbitMQ)."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port
    if parts.scheme == "redis":
        return RedisLine(host, port or 6379)
    return RabbitLine(host, port or 5672, unquote(parts.path[1:]) or "/")


def due_chunks(tape: Tape, per_tick: float) -> Iterator[tuple[int, int]]:
    """Yield (bytes, events) to send in each tick, whole messages, `per_tick` events on average."""
    size = events = total = ticks = 0
    for length, count in tape.entries():
        size += length
        events += count
        total += count
        if total >= (ticks + 1) * per_tick:
            yield size, events
            ticks = int(total / per_tick)
            size = events = 0
    if events:
        yield size, events


def publish(tape: Tape, line: Line, rate: float | None) -> dict[str, float]:
    """Send the tape; `rate` is in events per second, None means as fast as the broker takes it."""
    data = memoryview(tape.path.read_bytes())
    chunks = list(due_chunks(tape, rate * TICK_SECONDS)) if rate else []
    began = time.perf_counter()
    late = 0.0
    if rate is None:
        for at in range(0, len(data), FLAT_OUT_BYTES):
            line.send(data[at : at + FLAT_OUT_BYTES])
    position = sent = 0
    for size, events in chunks:
        assert rate is not None
        wait = began + sent / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        late = max(late, -wait)
        line.send(data[position : position + size])
        position += size
        sent += events
    line.finish()
    seconds = time.perf_counter() - began
    return {"events": tape.events, "seconds": seconds, "late_seconds": late}


def main() -> None:
    """Publish as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tape", type=Path)
    parser.add_argument("url")
    parser.add_argument("--events", type=int, required=True, help="events on the tape")
    parser.add_argument("--rate", type=float, help="events per second; flat out when not given")
    options = parser.parse_args()
    tape = Tape(options.tape, options.events)
    json.dump(publish(tape, open_line(options.url), options.rate), sys.stdout)


if __name__ == "__main__":
    main()
