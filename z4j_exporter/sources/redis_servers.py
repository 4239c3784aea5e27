"""Opens connections to one Redis or Valkey installation: TCP, TLS, Unix socket, Sentinel."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from z4j_exporter.errors import ConfigError, SourceLostError
from z4j_exporter.sources import base
from z4j_exporter.sources.redis_url import place_of, target_of
from z4j_exporter.sources.socket_input import printable

#: A server that wants another certificate may simply hang up, after the handshake in TLS 1.3.
_TLS_TROUBLE = re.compile(r"ssl|certificate|closed|reset|eof|broken pipe", re.IGNORECASE)
#: Seconds: less than this is no time to connect in.
_LEAST_SECONDS = 0.01

Opened = TypeVar("Opened")
#: redis-py connection arguments, and ``tls`` (see redis_url.target_of).
Target = Mapping[str, Any]


class RedisServers:
    """The servers of one installation, as kombu is told of them.

    ``urls``: redis://, rediss://, redis+socket:// (tried in order) or sentinel:// (all of them,
    then). ``options``: Celery's broker_transport_options, of which master_name and
    sentinel_kwargs are used. ``ssl_options``: broker_use_ssl; with Sentinel it is for the master,
    as in kombu, and sentinel_kwargs is for the Sentinels.

    Raises BrokerUrlError, ConfigError or FileError for what cannot be used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        options: Mapping[str, Any],
        ssl_options: Mapping[str, Any] | bool | None,
    ) -> None:
        #: One for each URL.
        self.targets = [target_of(url, ssl_options) for url in urls]
        self.is_sentinel = urls[0].lower().startswith("sentinel://")
        self._master_name = str(options.get("master_name") or "")
        if self.is_sentinel and not self._master_name:
            raise ConfigError(
                "a sentinel:// URL needs the name of the master",
                hint="Add --broker-transport-option master_name=NAME.",
            )
        self._sentinel_kwargs = _sentinel_kwargs(options) if self.is_sentinel else {}
        where = ";".join(place_of(target) for target in self.targets)
        if self.is_sentinel:
            where = where.replace("rediss://", "redis://").replace("redis://", "sentinel://")
            where += f" (master {self._master_name})"
        #: Where they are, without secrets, for people to read.
        self.location = where

    def first(
        self,
        use: Callable[[Target, float], Opened],
        *,
        within_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Opened:
        """Call ``use(target, timeout_seconds)`` for each server until it does not fail.

        Each server gets base.CONNECT_TIMEOUT_SECONDS; with ``within_seconds`` all of them
        share that time, so that the first which hangs leaves some to the next.

        Raises SourceLostError with what was wrong with each.
        """
        shares = _Shares(within_seconds, len(self.targets) * (2 if self.is_sentinel else 1), clock)
        failures: list[str] = []
        for target in self._masters(failures, shares) if self.is_sentinel else self.targets:
            try:
                return use(target, shares.next())
            except SourceLostError as error:
                # The location says where; of several servers it says not which.
                several = self.is_sentinel or len(self.targets) > 1
                place = f"{place_of(target)}: " if several else ""
                failures.append(place + error.message)
        raise SourceLostError("; ".join(failures))

    def _masters(self, failures: list[str], shares: "_Shares") -> Iterator[dict[str, Any]]:
        """Ask each Sentinel who the master is, and go on to the next if that leads nowhere.

        Not redis-py's Sentinel: its errors show its clients, older versions with the password.
        """
        for target in self.targets:
            place = f"sentinel {target['host']}:{target['port']}"
            timeout = shares.next()
            kwargs = dict(self._sentinel_kwargs)
            for name in ("socket_timeout", "socket_connect_timeout"):
                kwargs[name] = min(timeout, kwargs[name] or timeout)
            client: Any = redis.Redis(host=target["host"], port=target["port"], **kwargs)
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
                failures.append(f"{place}: {_explain(error, timeout, tls=bool(kwargs.get('ssl')))}")
                continue
            finally:
                with suppress(Exception):  # it is being thrown away
                    client.close()
            if not answer:
                failures.append(f"{place} knows no master {self._master_name!r}")
                continue
            host, port = (v.decode() if isinstance(v, bytes) else v for v in answer)
            yield {**self.targets[0], "host": host, "port": int(port)}


class _Shares:
    """Divides a time among the attempts that may be made in it."""

    def __init__(
        self, within_seconds: float | None, attempts: int, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._deadline = None if within_seconds is None else clock() + within_seconds
        self._attempts = attempts

    def next(self) -> float:
        """Return the seconds that the next attempt has."""
        if self._deadline is None:
            return base.CONNECT_TIMEOUT_SECONDS
        share = (self._deadline - self._clock()) / max(1, self._attempts)
        self._attempts -= 1
        return min(base.CONNECT_TIMEOUT_SECONDS, max(_LEAST_SECONDS, share))


def open_connection(target: Target, timeout_seconds: float, **more: Any) -> Any:
    """Return redis-py's connection to a server, connected and logged in.

    ``more`` are redis-py's further arguments. Raises SourceLostError when it cannot be had.
    """
    kind: type[Any] = redis.Connection
    if "path" in target:
        kind = redis.UnixDomainSocketConnection
    elif target["tls"]:
        kind = redis.SSLConnection
    connection = kind(
        **{k: v for k, v in target.items() if k != "tls"},
        protocol=2,
        socket_connect_timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        **more,
    )
    try:
        connection.connect()
    except (redis.RedisError, hiredis.HiredisError, OSError, ValueError) as error:
        close_connection(connection)
        raise SourceLostError(_explain(error, timeout_seconds, tls=bool(target["tls"]))) from None
    return connection


def close_connection(connection: Any) -> None:
    """Close a connection of redis-py's, whatever state it is in."""
    with suppress(Exception):  # it is being thrown away
        connection.disconnect()


def with_tls_advice(error: SourceLostError) -> SourceLostError:
    """Return the error, with what to check where a TLS server may have hung up for a reason."""
    if _TLS_TROUBLE.search(error.message):
        return SourceLostError(_tls_trouble(error.message))
    return error


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
    for name in ("socket_timeout", "socket_connect_timeout"):
        if not isinstance(arguments[name], int | float | None):
            raise ConfigError(f"sentinel_kwargs: {name} must be a number of seconds")
    return arguments


def _explain(error: Exception, timeout_seconds: float, *, tls: bool) -> str:
    """Say what went wrong and what to check, in one sentence without secrets."""
    words = printable(str(error)).rstrip(". ") or type(error).__name__
    if isinstance(error, redis.AuthenticationError):
        # Redis's own words name neither.
        return f"the server refused the user or the password: {words}"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        doubt = ": does the port speak TLS?" if tls else ""
        return f"no answer within {timeout_seconds:.3g} s{doubt}"
    if tls and _TLS_TROUBLE.search(words):
        return _tls_trouble(words)
    return f"cannot connect: {words}"


def _tls_trouble(words: str) -> str:
    return (
        f"TLS failed: {words}: check the CA certificate (ssl_ca_certs), that the certificate is "
        "for the host in the URL (ssl_check_hostname=false accepts any), the client certificate "
        "where the server wants one (ssl_certfile, ssl_keyfile), and that the port speaks TLS"
    )
