"""Opens the kombu connection that events are published on, as safe as those they are read on."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from kombu.connection import Connection

from z4j_exporter.config import Settings
from z4j_exporter.errors import SourceLostError
from z4j_exporter.sources.amqp_url import parse_endpoint
from z4j_exporter.sources.base import CONNECT_TIMEOUT_SECONDS, Source
from z4j_exporter.sources.open import open_source
from z4j_exporter.sources.redis_url import target_of
from z4j_exporter.sources.transports import check_transport, scheme_of


def open_connection(settings: Settings) -> tuple[Any, str]:
    """Return a connection to the first broker of the settings that answers, and its location.

    Host, TLS and limits are worked out by the parsers of our own sources, since kombu by itself
    takes any certificate of a rediss:// URL and waits for ever for an answer.

    Raises BrokerUrlError, ConfigError or FileError for settings that cannot be used,
    SourceLostError when no broker answers.
    """
    source = open_source(settings)
    failure: Exception | None = None
    for arguments in _arguments(settings, settings.broker_url or ""):
        connection = _connection(arguments)
        try:
            connection.connect()
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            failure = error
            release(connection)
        else:
            return connection, source.location
    raise _explained(source, failure) from None


def lost(location: str, error: Exception | None) -> SourceLostError:
    """Return our error for a driver's; only its kind, as its text may hold the password."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return SourceLostError(
        f"the broker {location} cannot be published to: {reason}",
        hint="Is it running, and are user, password and TLS options right?",
    )


def _explained(source: Source, error: Exception | None) -> SourceLostError:
    """Return why there is no connection: the source of the same broker can tell better."""
    try:
        source.connect().close()
    except SourceLostError as explained:
        message = f"the broker {source.location} cannot be published to: {explained.message}"
        return SourceLostError(message, hint=explained.hint)
    except Exception:  # noqa: BLE001 - it was only asked for a better sentence
        return lost(source.location, error)
    return lost(source.location, error)


def release(connection: Any) -> None:
    """Close a connection; never raises."""
    with contextlib.suppress(Exception):
        connection.release()


def _arguments(settings: Settings, url: str) -> Iterator[dict[str, Any]]:
    """Yield what kombu's Connection takes, for each broker of a failover list."""
    options = dict(settings.broker_transport_options)
    tls = settings.broker_tls
    common = {"transport_options": options, "connect_timeout": CONNECT_TIMEOUT_SECONDS}
    kind = check_transport(url)
    singles = [single for single in url.split(";") if single]
    if kind == "amqp":
        for single in singles:
            yield {**common, **_amqp(single, tls)}
        return
    if kind == "redis":
        options.setdefault("socket_connect_timeout", CONNECT_TIMEOUT_SECONDS)
        options.setdefault("socket_timeout", CONNECT_TIMEOUT_SECONDS)
        if scheme_of(url) != "sentinel":
            for single in singles:
                yield {**common, **_redis(single, tls)}
            return
        target = target_of(singles[0], tls)
        yield {**common, "hostname": url, "ssl": _redis_tls(target)}
        return
    yield {**common, "hostname": url, "ssl": tls or False}


def _amqp(url: str, tls: Mapping[str, Any] | bool | None) -> dict[str, Any]:
    endpoint = parse_endpoint(url, tls)
    return {
        "transport": "pyamqp",
        "hostname": endpoint.host,
        "port": endpoint.port,
        "userid": endpoint.user,
        "password": endpoint.password,
        "virtual_host": endpoint.vhost,
        "login_method": endpoint.login_method,
        "ssl": dict(endpoint.tls) if endpoint.tls else False,
    }


def _redis(url: str, tls: Mapping[str, Any] | bool | None) -> dict[str, Any]:
    target = target_of(url, tls)
    if "path" in target:
        return {"hostname": url}
    return {
        "transport": "redis",
        "hostname": target["host"],
        "port": target["port"],
        "userid": target.get("username"),
        "password": target.get("password"),
        "virtual_host": str(target["db"]),
        "ssl": _redis_tls(target),
    }


def _redis_tls(target: Mapping[str, Any]) -> dict[str, Any] | bool:
    if not target["tls"]:
        return False
    return {key: value for key, value in target.items() if key.startswith("ssl_")}


def _connection(arguments: Mapping[str, Any]) -> Any:
    return Connection(**arguments)  # type: ignore[no-untyped-call]  # kombu has no types
