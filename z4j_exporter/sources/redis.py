"""Reads events from Redis or Valkey pub/sub with hiredis, past redis-py's own message loop.

Channels are those of kombu (kombu/transport/redis.py ``_get_publish_topic``): the fan-out prefix
(``/{db}.`` by default), the exchange, and with ``fanout_patterns`` a slash and the routing key.
Both forms are subscribed, since one exchange uses only one of them: no setting can make us blind.
"""

import re
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import hiredis
import redis
from redis.sentinel import Sentinel

from z4j_exporter.errors import ConfigError, SourceLostError
from z4j_exporter.sources.base import (
    CONNECT_TIMEOUT_SECONDS,
    KEEPALIVE_SECONDS,
    KEEPALIVE_TIMEOUT_SECONDS,
    Message,
    Session,
    Source,
)
from z4j_exporter.sources.redis_url import fanout_prefix, place_of, target_of

#: Bytes taken from the socket at once.
_RECEIVE_BYTES = 1024 * 1024
_PING = b"*1\r\n$4\r\nPING\r\n"
_GLOB = re.compile(r"([*?\[\]\\])")


class RedisSource(Source):
    """Subscribes to the event channels of one Redis or Valkey installation.

    ``urls``: redis://, rediss://, redis+socket:// or unix://, sentinel:// (all of them, then).
    ``transport_options``: Celery's broker_transport_options, of which fanout_prefix,
    global_keyprefix, master_name, sentinel_kwargs and client_name are used. ``ssl_options``:
    broker_use_ssl. Raises BrokerUrlError or ConfigError when they cannot be understood.
    """

    system = "redis"

    def __init__(
        self,
        urls: Sequence[str],
        *,
        event_exchange: str = "celeryev",
        transport_options: Mapping[str, Any] | None = None,
        ssl_options: Mapping[str, Any] | bool | None = None,
    ) -> None:
        options = dict(transport_options or {})
        self._targets = [target_of(url, ssl_options) for url in urls]
        self._sentinel = urls[0].partition(":")[0] in ("sentinel", "sentinels")
        self._master_name = options.get("master_name")
        self._sentinel_kwargs = dict(options.get("sentinel_kwargs") or {})
        if self._sentinel and not self._master_name:
            raise ConfigError(
                "a sentinel:// URL needs the name of the master",
                hint="Add --broker-transport-option master_name=NAME.",
            )
        self._client_name = str(options.get("client_name") or "z4j-exporter")
        db = self._targets[0].get("db", 0)
        prefix = fanout_prefix(options, db)
        key_prefix = str(options.get("global_keyprefix") or "")
        self._channels = [key_prefix + prefix + event_exchange]
        if self._sentinel and not options.get("sentinel_fanout_compat"):
            # kombu before 5.4 did not fill {db} in with Sentinel.
            literal = key_prefix + fanout_prefix(options, None) + event_exchange
            self._channels += [literal] if literal not in self._channels else []
        where = ";".join(place_of(target) for target in self._targets)
        self.location = f"sentinel://{where} ({self._master_name})" if self._sentinel else where

    def connect(self) -> Session:
        """Connect to the first server that lets us, and subscribe."""
        problem = SourceLostError("no server to connect to")
        for target in self._masters() if self._sentinel else self._targets:
            try:
                return self._subscribe(target)
            except SourceLostError as error:
                problem = error
        raise problem

    def _masters(self) -> list[dict[str, Any]]:
        """Ask the sentinels who the master is."""
        first = self._targets[0]
        login: dict[str, Any] = {k: first[k] for k in ("username", "password") if k in first}
        tls: dict[str, Any] = {k: v for k, v in first.items() if k.startswith("ssl_")}
        if tls:
            tls["ssl"] = True
        sentinels = [(t["host"], t["port"]) for t in self._targets]
        timeouts: dict[str, Any] = {
            "socket_timeout": CONNECT_TIMEOUT_SECONDS,
            "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        }
        try:
            sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                sentinels, sentinel_kwargs={**timeouts, **tls, **self._sentinel_kwargs}
            )
            host, port = sentinel.discover_master(self._master_name)
        except (redis.RedisError, OSError) as error:
            raise SourceLostError(_explain(error, f"sentinels of {self._master_name}")) from None
        return [
            {
                **login,
                **{k: v for k, v in tls.items() if k != "ssl"},
                "tls": bool(tls),
                "host": host,
                "port": port,
                "db": first.get("db", 0),
            }
        ]

    def _subscribe(self, target: Mapping[str, Any]) -> Session:
        arguments = {k: v for k, v in target.items() if k != "tls"}
        arguments.pop("db", None)  # pub/sub knows no databases; only the prefix does
        kind: type[Any] = redis.Connection
        if "path" in arguments:
            kind = redis.UnixDomainSocketConnection
        elif target.get("tls"):
            kind = redis.SSLConnection
        connection = kind(
            **arguments,
            protocol=2,
            client_name=self._client_name,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=CONNECT_TIMEOUT_SECONDS,
        )
        try:
            connection.connect()
            session = RedisSession(connection)
            session.subscribe(self._channels)
        except (redis.RedisError, OSError, hiredis.HiredisError) as error:
            _close(connection)
            raise SourceLostError(_explain(error, place_of(target))) from None
        except SourceLostError:
            _close(connection)
            raise
        return session


class RedisSession(Session):
    """A connection in subscribed state, read past redis-py."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        # redis-py gives no public way to its socket; everything up to here (TLS, login, names)
        # is better done by it, and everything after costs five times as much through it.
        self._socket = connection._sock
        self._replies = hiredis.Reader()
        self._timeout: float | None = None
        self._heard = monotonic()
        self._pinged: float | None = None

    def subscribe(self, channels: Sequence[str]) -> None:
        """Subscribe to each channel itself and to everything below it."""
        commands: list[tuple[Any, ...]] = [("SUBSCRIBE", c) for c in channels]
        commands += [("PSUBSCRIBE", _GLOB.sub(r"\\\1", c) + "/*") for c in channels]
        for command in commands:
            self._socket.sendall(hiredis.pack_command(command))
        deadline = monotonic() + CONNECT_TIMEOUT_SECONDS
        confirmed = 0
        self._early: list[Message] = []
        while confirmed < len(commands):
            if monotonic() > deadline:
                raise SourceLostError("the server did not confirm the subscription in time")
            for reply in self._receive(1.0):
                if reply[0] in (b"subscribe", b"psubscribe"):
                    confirmed += 1
                elif reply[0] in (b"message", b"pmessage"):
                    self._early.append(reply[-1])

    def read(self, timeout_seconds: float) -> tuple[list[Message], int]:
        """Return the payloads that came; see Session."""
        if self._early:
            early, self._early = self._early, []
            return early, sum(map(len, early))
        messages: list[Message] = [
            reply[-1]
            for reply in self._receive(timeout_seconds)
            if reply[0] == b"pmessage" or reply[0] == b"message"
        ]
        return messages, sum(map(len, messages))

    def close(self) -> None:
        """Close the connection."""
        _close(self._connection)

    def _receive(self, timeout_seconds: float) -> list[list[bytes]]:
        if timeout_seconds != self._timeout:
            self._timeout = timeout_seconds
            self._socket.settimeout(timeout_seconds)
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except (TimeoutError, ssl.SSLWantReadError):
            self._probe()
            return []
        except OSError as error:
            raise SourceLostError(f"connection lost: {_reason(error)}") from None
        if not data:
            raise SourceLostError("the server closed the connection")
        self._heard = monotonic()
        self._pinged = None
        replies: list[list[bytes]] = []
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not False:
                if type(reply) is list and reply:
                    replies.append(reply)
                elif isinstance(reply, hiredis.ReplyError):
                    raise SourceLostError(f"the server says: {str(reply)[:200]}")
        except hiredis.ProtocolError as error:
            raise SourceLostError(f"not Redis's protocol: {error}") from None
        return replies

    def _probe(self) -> None:
        """Ask a silent server whether it is there: a half-open connection stays silent for ever."""
        now = monotonic()
        if self._pinged is not None:
            if now - self._pinged >= KEEPALIVE_TIMEOUT_SECONDS:
                raise SourceLostError(f"no answer to PING for {KEEPALIVE_TIMEOUT_SECONDS:.0f} s")
        elif now - self._heard >= KEEPALIVE_SECONDS:
            self._pinged = now
            try:
                self._socket.sendall(_PING)
            except OSError as error:
                raise SourceLostError(f"connection lost: {_reason(error)}") from None


def _explain(error: Exception, where: str) -> str:
    """Say what went wrong and what to check, in one sentence without secrets."""
    if isinstance(error, redis.AuthenticationError):
        return f"{where} refused the user or the password"
    if isinstance(error, redis.exceptions.NoPermissionError):
        return f"{where}: the user may not subscribe (its ACL needs &* or the event channels)"
    return f"cannot connect to {where}: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """Return an error's own words, cut; drivers put no passwords into them."""
    return str(error)[:200] or type(error).__name__


def _close(connection: Any) -> None:
    with suppress(Exception):  # it is being thrown away
        connection.disconnect()
