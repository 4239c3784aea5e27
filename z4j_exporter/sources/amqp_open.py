"""Opens a connection to RabbitMQ with py-amqp, for events and for queues."""

import contextlib
import socket
import struct
from typing import Final

import amqp
from amqp.exceptions import AMQPError

from z4j_exporter.sources.amqp_url import Endpoint

#: What py-amqp lets through when the broker refuses (AMQPError), the network fails (OSError), the
#: connection is cut in the middle of an answer, or the answer is not AMQP (the others;
#: MemoryError: it takes the beginning of "HTTP/1.1" for a frame of 1.3 GB).
AMQP_FAILURES: Final = (
    AMQPError,
    OSError,
    LookupError,
    AttributeError,
    ValueError,
    TypeError,
    MemoryError,
    struct.error,
)
#: Milliseconds without an acknowledgement after which a connection without heartbeats is dropped.
_SILENCE_MS: Final = 20_000


def open_connection(
    endpoint: Endpoint, *, name: str, timeout_seconds: float, heartbeat_seconds: int
) -> amqp.Connection:
    """Connect and log in; ``name`` is what RabbitMQ shows of it.

    Raises one of AMQP_FAILURES.
    """
    connection = amqp.Connection(
        host=endpoint.address,
        userid=endpoint.user,
        password=endpoint.password,
        login_method=endpoint.login_method,
        virtual_host=endpoint.vhost,
        ssl=dict(endpoint.tls) if endpoint.tls else False,
        connect_timeout=timeout_seconds,
        heartbeat=heartbeat_seconds,
        client_properties={"product": "z4j-exporter", "connection_name": name},
        socket_settings=_socket_settings(2000 * heartbeat_seconds or _SILENCE_MS),
    )
    try:
        connection.connect()
    except AMQP_FAILURES:
        discard(connection)
        raise
    return connection


def discard(connection: amqp.Connection) -> None:
    """Throw a connection away, whatever state it is in."""
    with contextlib.suppress(*AMQP_FAILURES):
        connection.collect()


def _socket_settings(silence_ms: int) -> dict[int, int]:
    # py-amqp's default drops a connection on which something is not acknowledged within a second
    # (amqp/transport.py); a network may be slower than that without being dead.
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        return {}
    return {socket.TCP_USER_TIMEOUT: silence_ms}
