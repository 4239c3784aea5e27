"""Listens to all channels of a Redis broker that look like Celery's, for as long as the doctor."""

import time
from base64 import b64encode
from collections import Counter
from typing import Any
from uuid import uuid4

import hiredis
import msgspec

from z4j_exporter.config import Settings
from z4j_exporter.doctor.channels import PATTERNS, Naming, elsewhere, naming
from z4j_exporter.doctor.facts import ChannelFacts
from z4j_exporter.errors import SourceLostError
from z4j_exporter.fleet.inspect import control_exchange
from z4j_exporter.sources.redis_calls import connect_calls
from z4j_exporter.sources.redis_servers import RedisServers, close_connection, open_connection
from z4j_exporter.sources.socket_input import lost

#: Seconds that a connection and the questions on it may take.
_ASK_SECONDS = 5.0
#: Channels that are told apart; hostile ones must not fill the memory.
_MAX_CHANNELS = 1_000
#: Bytes of messages that are looked at: the names of the channels are all that is wanted.
_MAX_BYTES = 64 * 1024 * 1024
_RECEIVE_BYTES = 256 * 1024
_NAME = "z4j-exporter-doctor"
_SUBSCRIBE: tuple[Any, ...] = ("PSUBSCRIBE", *PATTERNS)


def look_around(settings: Settings, seconds: float, *, wake: bool) -> ChannelFacts:
    """Listen for ``seconds`` and return who speaks where; Redis only.

    ``wake`` asks all workers for a heartbeat, so that Redis tells how many were reached: a solo
    pool that is busy is, though it answers nothing. What a user's ACL does not allow is left out.
    Raises ExporterError.
    """
    urls = [url for url in (settings.broker_url or "").split(";") if url]
    servers = RedisServers(urls, settings.broker_transport_options, settings.broker_tls)
    ours = naming(
        settings.broker_transport_options, servers.targets[0]["db"], settings.event_exchange
    )
    deadline = time.monotonic() + seconds
    reached = _wake(servers, ours, control_exchange(settings)) if wake else None
    heard = _listen(servers, deadline)
    others = None if heard is None else elsewhere(ours, heard)
    return ChannelFacts(ours.channel, others or (), reached, looked=heard is not None)


def _wake(servers: RedisServers, ours: Naming, exchange: str) -> int | None:
    """Ask all workers for a heartbeat; return how many the order reached, None if refused.

    kombu throws away the number that PUBLISH returns. Workers take orders from a pattern, which
    PUBSUB NUMSUB does not count (kombu/transport/redis.py ``_subscribe``).
    """
    pidbox = f"{exchange}.pidbox"
    calls = connect_calls(servers, time.monotonic() + _ASK_SECONDS, _NAME)
    try:
        (reached,) = calls.run([("PUBLISH", ours.prefix + pidbox, _order("heartbeat", pidbox))])
    finally:
        calls.close()
    return reached if isinstance(reached, int) else None


def _order(method: str, exchange: str) -> bytes:
    """Return an order to all workers as kombu writes it (kombu/pidbox.py ``_publish``)."""
    body: dict[str, Any] = {"method": method, "arguments": {}, "destination": None}
    envelope = {
        "body": b64encode(msgspec.json.encode(body)).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"clock": 1, "expires": time.time() + _ASK_SECONDS},
        "properties": {
            "body_encoding": "base64",
            "delivery_info": {"exchange": exchange, "routing_key": ""},
            "delivery_mode": 1,
            "delivery_tag": str(uuid4()),
            "priority": 0,
        },
    }
    return msgspec.json.encode(envelope)


def _listen(servers: RedisServers, deadline: float) -> Counter[str] | None:
    """Count messages by channel until the deadline; None where the user may not look."""
    heard: Counter[str] = Counter()

    def connect(target: Any, timeout_seconds: float) -> Any:
        server = {name: value for name, value in target.items() if name != "db"}
        # Without a name: a user who may not set one would not get in.
        return open_connection(server, timeout_seconds)

    connection = servers.first(connect, within_seconds=_ASK_SECONDS)
    try:
        # redis-py gives no public way to its socket.
        allowed = _count(connection._sock, deadline, heard)
    except (OSError, ValueError, hiredis.HiredisError) as error:
        if not heard:
            raise lost(error) from None
        allowed = True
    finally:
        close_connection(connection)
    return heard if allowed else None


def _count(sock: Any, deadline: float, heard: Counter[str]) -> bool:
    """Count until the deadline; return whether the user may subscribe to the patterns."""
    sock.settimeout(_ASK_SECONDS)
    sock.sendall(hiredis.pack_command(_SUBSCRIBE))
    reader = hiredis.Reader()
    taken = 0
    while (left := deadline - time.monotonic()) > 0 and taken < _MAX_BYTES:
        sock.settimeout(left)
        try:
            piece = sock.recv(_RECEIVE_BYTES)
        except TimeoutError:
            break
        if not piece:
            raise SourceLostError("the server closed the connection")
        taken += len(piece)
        reader.feed(piece)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                return False
            if isinstance(reply, list) and len(reply) == 4 and reply[0] == b"pmessage":
                name = _text(reply[2])
                if name in heard or len(heard) < _MAX_CHANNELS:
                    heard[name] += 1
    return True


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
