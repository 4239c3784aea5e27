"""Listens to all channels of a Redis broker that look like Celery's, for as long as the doctor."""

import time
from collections import Counter
from typing import Any

import hiredis

from z4j_exporter.config import Settings
from z4j_exporter.doctor.channels import PATTERNS, PIDBOX, Naming, elsewhere, naming
from z4j_exporter.doctor.facts import ChannelFacts
from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources.redis_calls import connect_calls, refusal
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


def look_around(settings: Settings, seconds: float) -> ChannelFacts:
    """Listen for ``seconds`` and return who speaks where; Redis only.

    What a user's ACL does not allow is left out. Raises ExporterError.
    """
    ssl: Any = dict(settings.broker_ssl_options)
    enabled = bool(ssl and ssl.pop("enabled", True))
    urls = [url for url in (settings.broker_url or "").split(";") if url]
    servers = RedisServers(urls, settings.broker_transport_options, (ssl or enabled) or None)
    ours = naming(
        settings.broker_transport_options, servers.targets[0]["db"], settings.event_exchange
    )
    deadline = time.monotonic() + seconds
    events = _listen(servers, deadline)
    listeners, pidboxes = _pidboxes(servers, ours)
    return ChannelFacts(ours.channel, elsewhere(ours, events, pidboxes), listeners)


def _pidboxes(servers: RedisServers, ours: Naming) -> tuple[int | None, list[str]]:
    """Return how many workers listen for orders beside us, and the channels of all who do."""
    calls = connect_calls(servers, time.monotonic() + _ASK_SECONDS, _NAME)
    try:
        own, all_channels = calls.run(
            [
                ("PUBSUB", "NUMSUB", ours.prefix + PIDBOX),
                ("PUBSUB", "CHANNELS", f"*{PIDBOX}"),
            ]
        )
    finally:
        calls.close()
    listeners = None if refusal(own) or len(own) != 2 else int(own[1])
    if refusal(all_channels):
        return listeners, []
    return listeners, [_text(channel) for channel in all_channels[:_MAX_CHANNELS]]


def _listen(servers: RedisServers, deadline: float) -> Counter[str]:
    """Count messages by channel until the deadline."""
    heard: Counter[str] = Counter()

    def connect(target: Any, timeout_seconds: float) -> Any:
        server = {name: value for name, value in target.items() if name != "db"}
        return open_connection(server, timeout_seconds, client_name=_NAME)

    connection = servers.first(connect, within_seconds=_ASK_SECONDS)
    try:
        _count(connection._sock, deadline, heard)  # redis-py gives no public way to its socket
    except (OSError, ValueError, hiredis.HiredisError) as error:
        if not heard:
            raise lost(error) from None
    finally:
        close_connection(connection)
    return heard


def _count(sock: Any, deadline: float, heard: Counter[str]) -> None:
    sock.settimeout(_ASK_SECONDS)
    sock.sendall(hiredis.pack_command(_SUBSCRIBE))
    reader = hiredis.Reader()
    taken = 0
    while (left := deadline - time.monotonic()) > 0 and taken < _MAX_BYTES:
        sock.settimeout(left)
        try:
            piece = sock.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return
        if not piece:
            raise SourceLostError("the server closed the connection")
        taken += len(piece)
        reader.feed(piece)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                return  # the user may not subscribe to patterns: nothing is known
            if isinstance(reply, list) and len(reply) == 4 and reply[0] == b"pmessage":
                name = _text(reply[2])
                if name in heard or len(heard) < _MAX_CHANNELS:
                    heard[name] += 1


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
