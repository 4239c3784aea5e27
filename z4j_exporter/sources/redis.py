"""Reads events from Redis or Valkey pub/sub: which servers, which channels, and how to get in.

Channels are those of kombu (kombu/transport/redis.py ``_get_publish_topic``): the fan-out prefix
(``/{db}.`` by default), the exchange, and with ``fanout_patterns`` a slash and the routing key.
Both forms are subscribed, since one exchange uses only one of them: no setting can make us blind.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import hiredis

from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources.base import Session, Source
from z4j_exporter.sources.redis_servers import (
    RedisServers,
    Target,
    close_connection,
    open_connection,
    with_tls_advice,
)
from z4j_exporter.sources.redis_session import RedisSession
from z4j_exporter.sources.redis_url import fanout_prefix
from z4j_exporter.sources.socket_input import lost

_GLOB = re.compile(r"([*?\[\]\\])")


class RedisSource(Source):
    """Subscribes to the event channels of one Redis or Valkey installation.

    ``urls``: redis://, rediss://, redis+socket:// (each connection tries them in order) or
    sentinel:// (all of them, then). ``transport_options``: Celery's broker_transport_options, of
    which fanout_prefix, global_keyprefix, master_name, sentinel_kwargs and client_name are used.
    ``ssl_options``: broker_use_ssl; with Sentinel it is for the master, as in kombu, and
    sentinel_kwargs is for the Sentinels.

    Raises BrokerUrlError, ConfigError or FileError for what cannot be used.
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
        self._options = dict(transport_options or {})
        self._exchange = event_exchange
        self._client_name = str(self._options.get("client_name") or "z4j-exporter")
        if any(not c.isprintable() or c == " " for c in self._client_name):
            self._client_name = "z4j-exporter"  # Redis allows no such name
        self._servers = RedisServers(urls, self._options, ssl_options)
        for target in self._servers.targets:
            self._channels(target)  # tells of a prefix that cannot be used
        self.location = self._servers.location

    def connect(self) -> Session:
        """See Source.connect. Every server is tried before this fails."""
        return self._servers.first(self._subscribe)

    def __repr__(self) -> str:
        return f"RedisSource({self.location})"

    def _channels(self, target: Target) -> list[str]:
        key_prefix = str(self._options.get("global_keyprefix") or "")
        prefixes = [fanout_prefix(self._options, target["db"])]
        if self._servers.is_sentinel and not self._options.get("sentinel_fanout_compat"):
            # kombu before 5.4 did not fill {db} in with Sentinel. With sentinel_fanout_compat
            # events come under both names, and one of them is enough.
            prefixes.append(fanout_prefix(self._options, None))
        return [key_prefix + p + self._exchange for p in dict.fromkeys(prefixes)]

    def _subscribe(self, target: Target, timeout_seconds: float) -> Session:
        # Pub/sub knows no databases: only the prefix has the number.
        server = {name: value for name, value in target.items() if name != "db"}
        connection = open_connection(server, timeout_seconds)
        channels = self._channels(target)
        try:
            session = RedisSession(connection, user=str(target.get("username") or ""))
            session.subscribe(
                channels,
                [_GLOB.sub(r"\\\1", channel) + "/*" for channel in channels],
                self._client_name,
            )
        except SourceLostError as error:
            close_connection(connection)
            raise (with_tls_advice(error) if target["tls"] else error) from None
        except (hiredis.HiredisError, OSError, ValueError) as error:
            close_connection(connection)
            raise lost(error) from None
        return session
