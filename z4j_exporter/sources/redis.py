"""Reads events from Redis or Valkey pub/sub: which servers, which channels, and how to get in.

Channels are those of kombu (kombu/transport/redis.py ``_get_publish_topic``): the fan-out prefix
(``/{db}.`` by default), the exchange, and with ``fanout_patterns`` a slash and the routing key.
Both forms are subscribed, since one exchange uses only one of them: no setting can make us blind.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from z4j_exporter.errors import ConfigError, SourceLostError
from z4j_exporter.sources import base
from z4j_exporter.sources.base import Session, Source
from z4j_exporter.sources.redis_session import RedisSession, close_connection
from z4j_exporter.sources.redis_url import fanout_prefix, place_of, target_of
from z4j_exporter.sources.socket_input import printable

#: A server that wants another certificate may simply hang up, after the handshake in TLS 1.3.
_TLS_TROUBLE = re.compile(r"ssl|certificate|closed|reset|eof|broken pipe", re.IGNORECASE)
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
        self._targets = [target_of(url, ssl_options) for url in urls]
        self._sentinel = urls[0].lower().startswith("sentinel://")
        self._master_name = str(self._options.get("master_name") or "")
        self._client_name = str(self._options.get("client_name") or "z4j-exporter")
        if any(not c.isprintable() or c == " " for c in self._client_name):
            self._client_name = "z4j-exporter"  # Redis allows no such name
        if self._sentinel and not self._master_name:
            raise ConfigError(
                "a sentinel:// URL needs the name of the master",
                hint="Add --broker-transport-option master_name=NAME.",
            )
        self._sentinel_kwargs = _sentinel_kwargs(self._options) if self._sentinel else {}
        for target in self._targets:
            self._channels(target)  # tells of a prefix that cannot be used
        where = ";".join(place_of(target) for target in self._targets)
        if self._sentinel:
            where = where.replace("rediss://", "redis://").replace("redis://", "sentinel://")
            where += f" (master {self._master_name})"
        self.location = where

    def connect(self) -> Session:
        """See Source.connect. Every server is tried before this fails."""
        failures: list[str] = []
        for target in self._masters(failures) if self._sentinel else self._targets:
            try:
                return self._subscribe(target)
            except SourceLostError as error:
                # The source's location says where; of several servers it says not which.
                several = self._sentinel or len(self._targets) > 1
                place = f"{place_of(target)}: " if several else ""
                failures.append(place + error.message)
        raise SourceLostError("; ".join(failures))

    def __repr__(self) -> str:
        return f"RedisSource({self.location})"

    def _channels(self, target: Mapping[str, Any]) -> list[str]:
        key_prefix = str(self._options.get("global_keyprefix") or "")
        prefixes = [fanout_prefix(self._options, target["db"])]
        if self._sentinel and not self._options.get("sentinel_fanout_compat"):
            # kombu before 5.4 did not fill {db} in with Sentinel. With sentinel_fanout_compat
            # events come under both names, and one of them is enough.
            prefixes.append(fanout_prefix(self._options, None))
        return [key_prefix + p + self._exchange for p in dict.fromkeys(prefixes)]

    def _masters(self, failures: list[str]) -> Iterator[dict[str, Any]]:
        """Ask each Sentinel who the master is, and go on to the next if that leads nowhere.

        Not redis-py's Sentinel: its errors show its clients, older versions with the password.
        """
        for target in self._targets:
            place = f"sentinel {target['host']}:{target['port']}"
            client: Any = redis.Redis(
                host=target["host"], port=target["port"], **self._sentinel_kwargs
            )
            try:
                answer = client.execute_command(
                    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master_name
                )
            except redis.AuthenticationError:
                failures.append(
                    f"{place} refused the user or the password, or asks for one: Sentinel's own "
                    "are in the transport option sentinel_kwargs"
                )
                continue
            except (redis.RedisError, OSError, ValueError) as error:
                failures.append(
                    f"{place}: {_explain(error, tls=bool(self._sentinel_kwargs.get('ssl')))}"
                )
                continue
            finally:
                with suppress(Exception):  # it is being thrown away
                    client.close()
            if not answer:
                failures.append(f"{place} knows no master {self._master_name!r}")
                continue
            host, port = (v.decode() if isinstance(v, bytes) else v for v in answer)
            yield {**self._targets[0], "host": host, "port": int(port)}

    def _subscribe(self, target: Mapping[str, Any]) -> Session:
        # Pub/sub knows no databases: only the prefix has the number.
        arguments = {k: v for k, v in target.items() if k not in ("tls", "db")}
        kind: type[Any] = redis.Connection
        if "path" in target:
            kind = redis.UnixDomainSocketConnection
        elif target["tls"]:
            kind = redis.SSLConnection
        connection = kind(
            **arguments,
            protocol=2,
            socket_connect_timeout=base.CONNECT_TIMEOUT_SECONDS,
            socket_timeout=base.CONNECT_TIMEOUT_SECONDS,
        )
        channels = self._channels(target)
        try:
            connection.connect()
            session = RedisSession(connection, user=str(target.get("username") or ""))
            session.subscribe(
                channels,
                [_GLOB.sub(r"\\\1", channel) + "/*" for channel in channels],
                self._client_name,
            )
        except (redis.RedisError, hiredis.HiredisError, OSError, ValueError) as error:
            close_connection(connection)
            raise SourceLostError(_explain(error, tls=bool(target["tls"]))) from None
        except SourceLostError as error:
            close_connection(connection)
            if target["tls"] and _TLS_TROUBLE.search(error.message):
                raise SourceLostError(_tls_trouble(error.message)) from None
            raise
        return session


def _sentinel_kwargs(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the clients that ask the Sentinels."""
    given = options.get("sentinel_kwargs") or {}
    if not isinstance(given, Mapping):
        raise ConfigError(
            "sentinel_kwargs must be a mapping",
            hint='For example --broker-transport-option \'sentinel_kwargs={"password": "…"}\'.',
        )
    arguments: dict[str, Any] = {
        "socket_timeout": base.CONNECT_TIMEOUT_SECONDS,
        "socket_connect_timeout": base.CONNECT_TIMEOUT_SECONDS,
        "protocol": 2,
        # Another Sentinel is the better second try.
        "retry": Retry(NoBackoff(), 0),
        **given,
    }
    try:
        redis.Redis(host="localhost", port=0, **arguments).close()
    except (TypeError, ValueError, redis.RedisError):
        raise ConfigError(
            "sentinel_kwargs has an option that redis-py does not know",
            hint=f"It has: {', '.join(sorted(map(str, given)))[:200]}.",
        ) from None
    return arguments


def _explain(error: Exception, *, tls: bool) -> str:
    """Say what went wrong and what to check, in one sentence without secrets."""
    words = printable(str(error)).rstrip(". ") or type(error).__name__
    if isinstance(error, redis.AuthenticationError):
        # Redis's own words name neither.
        return f"the server refused the user or the password: {words}"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        doubt = ": does the port speak TLS?" if tls else ""
        return f"no answer within {base.CONNECT_TIMEOUT_SECONDS:g} s{doubt}"
    if tls and _TLS_TROUBLE.search(words):
        return _tls_trouble(words)
    return f"cannot connect: {words}"


def _tls_trouble(words: str) -> str:
    return (
        f"TLS failed: {words}: check the CA certificate (ssl_ca_certs), that the certificate is "
        "for the host in the URL (ssl_check_hostname=false accepts any), the client certificate "
        "where the server wants one (ssl_certfile, ssl_keyfile), and that the port speaks TLS"
    )
