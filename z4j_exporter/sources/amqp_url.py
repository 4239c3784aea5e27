"""Understands AMQP broker URLs and TLS options as kombu takes them."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from z4j_exporter.errors import BrokerUrlError, ConfigError
from z4j_exporter.sources.base import CONNECT_TIMEOUT_SECONDS, KEEPALIVE_SECONDS
from z4j_exporter.sources.tls_files import check_tls_file

#: librabbitmq is a client library for the same protocol.
PLAIN_SCHEMES: Final = frozenset({"amqp", "pyamqp", "librabbitmq"})
TLS_SCHEMES: Final = frozenset({"amqps"})
LOGIN_METHODS: Final = frozenset({"PLAIN", "AMQPLAIN", "EXTERNAL"})

# Names of kombu's ``ssl`` argument, and those of RabbitMQ's own URI query parameters
# (https://www.rabbitmq.com/docs/uri-query-parameters) that mean the same.
_TLS_NAMES: Final = {
    "ca_certs": "ca_certs",
    "cacertfile": "ca_certs",
    "certfile": "certfile",
    "keyfile": "keyfile",
    "cert_reqs": "cert_reqs",
    "verify": "cert_reqs",
    "check_hostname": "check_hostname",
    "server_hostname": "server_hostname",
    "server_name_indication": "server_hostname",
    "ciphers": "ciphers",
    "ssl_version": "ssl_version",
    "tls_minimum_version": "tls_minimum_version",
    "tls_maximum_version": "tls_maximum_version",
}
_FILES: Final = ("ca_certs", "certfile", "keyfile")
_CERT_REQS: Final[Mapping[Any, ssl.VerifyMode]] = {
    "cert_required": ssl.CERT_REQUIRED,
    "required": ssl.CERT_REQUIRED,
    "verify_peer": ssl.CERT_REQUIRED,
    "true": ssl.CERT_REQUIRED,
    # For a client the two are the same: a server always shows a certificate.
    "cert_optional": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_REQUIRED,
    "cert_none": ssl.CERT_NONE,
    "none": ssl.CERT_NONE,
    "verify_none": ssl.CERT_NONE,
    "false": ssl.CERT_NONE,
}


@dataclass(frozen=True)
class Endpoint:
    """One broker of a failover list, with all that is needed to connect."""

    host: str
    port: int
    vhost: str
    user: str
    password: str = field(repr=False)
    login_method: str
    heartbeat_seconds: int
    connect_timeout_seconds: float
    #: What py-amqp takes as ``ssl``; None for plain TCP.
    tls: Mapping[str, Any] | None = field(repr=False)

    @property
    def address(self) -> str:
        """Return host and port, as py-amqp takes them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def location(self) -> str:
        """Return the URL without user and password."""
        scheme = "amqps" if self.tls else "amqp"
        return f"{scheme}://{self.address}/{quote(self.vhost, safe='')}"


def parse_endpoint(
    url: str,
    tls: Mapping[str, Any] | bool | None = None,
    login_method: str | None = None,
) -> Endpoint:
    """Return the endpoint of one URL.

    ``tls`` and ``login_method`` are Celery's ``broker_use_ssl`` and ``broker_login_method``.

    Options in the URL come before those in ``tls``. TLS is checked in full unless the options
    say otherwise: certificate and host name (py-amqp alone leaves the host name unchecked).

    Raises BrokerUrlError for a URL that cannot be understood, FileError for a certificate that
    cannot be read, ConfigError for a TLS option that does not exist. None of them has the
    password in it.
    """
    parts, port = _split(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    in_query = query.pop("auth_mechanism", None)
    login_method = (query.pop("login_method", in_query) or login_method or "PLAIN").upper()
    if login_method not in LOGIN_METHODS:
        raise BrokerUrlError(
            f"the login method {login_method!r} is not supported",
            hint=f"Use one of {', '.join(sorted(LOGIN_METHODS))}.",
        )
    heartbeat = _number(query, "heartbeat", KEEPALIVE_SECONDS)
    timeout = _number(query, "connect_timeout", CONNECT_TIMEOUT_SECONDS, "connection_timeout")
    in_url = {name: query.pop(name) for name in list(query) if _tls_name(name)}
    if query:
        raise BrokerUrlError(
            f"the broker URL has an unknown option {min(query)!r}",
            hint="Known: heartbeat, connect_timeout, login_method, ssl_ca_certs, ssl_certfile, "
            "ssl_keyfile, ssl_cert_reqs, ssl_check_hostname.",
        )
    host = unquote(parts.hostname or "") or "localhost"
    encrypted = parts.scheme in TLS_SCHEMES or bool(tls) or tls == {}
    if in_url and not encrypted:
        raise BrokerUrlError(
            "the broker URL has TLS options but no TLS", hint="Write amqps:// instead of amqp://."
        )
    options = {**(tls if isinstance(tls, Mapping) else {}), **in_url}
    return Endpoint(
        host=host,
        port=port or (5671 if encrypted else 5672),
        # As kombu: no path and "/" alone are the default vhost, which is named "/".
        vhost=unquote(parts.path.removeprefix("/")) or "/",
        user=unquote(parts.username or "") or "guest",
        password=unquote(parts.password or "") or "guest",
        login_method=login_method,
        heartbeat_seconds=max(1, round(heartbeat)),
        connect_timeout_seconds=timeout,
        tls=_tls_options(options, host) if encrypted else None,
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    hint = "Write amqp://USER:PASSWORD@HOST:5672/VHOST; encode / ? # @ : in them as %2F and so on."
    if any(character <= " " or character == "\x7f" for character in url):
        raise BrokerUrlError("the broker URL has a space or a control character", hint=hint)
    # What urllib says may quote the password, when the URL's parts are mistaken: not chained.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BrokerUrlError("the broker URL has no valid host and port", hint=hint) from None
    if parts.scheme not in PLAIN_SCHEMES | TLS_SCHEMES or not url[len(parts.scheme) :].startswith(
        "://"
    ):
        raise BrokerUrlError("the broker URL does not begin with amqp:// or amqps://", hint=hint)
    if port == 0:
        raise BrokerUrlError("the broker URL has the port 0", hint=hint)
    if parts.fragment:
        raise BrokerUrlError("the broker URL has a # in it", hint=hint)
    return parts, port


def _number(query: dict[str, str], name: str, default: float, alias: str = "") -> float:
    text = query.pop(name, None) or query.pop(alias, None)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    # AMQP sends the heartbeat in 16 bits.
    if not 0 < value <= 65535:
        raise BrokerUrlError(f"{name} in the broker URL is not a number of seconds above 0")
    return value


def _tls_name(name: str) -> str | None:
    # kombu/utils/url.py parse_url: in a URL the names begin with ssl_, as they do for Redis.
    return _TLS_NAMES.get(name) or _TLS_NAMES.get(name.removeprefix("ssl_"))


def _tls_options(given: Mapping[str, Any], host: str) -> Mapping[str, Any]:
    options: dict[str, Any] = {}
    for name, value in given.items():
        known = _tls_name(name)
        if known is None:
            raise ConfigError(
                f"the TLS option {name!r} is not known",
                hint=f"Known: {', '.join(sorted(set(_TLS_NAMES.values())))}.",
            )
        if value is not None:
            options[known] = value
    for name in _FILES:
        if name in options:
            check_tls_file(name, Path(options[name]))
            options[name] = str(options[name])
    verify = _verify_mode(options.get("cert_reqs", ssl.CERT_REQUIRED))
    check_hostname = str(options.pop("check_hostname", True)).lower() not in ("false", "0", "no")
    options["cert_reqs"] = verify
    if verify == ssl.CERT_NONE or not check_hostname:
        # py-amqp checks the host name exactly when it is told one.
        options.pop("server_hostname", None)
    else:
        options.setdefault("server_hostname", host)
    return MappingProxyType(options)


def _verify_mode(value: Any) -> ssl.VerifyMode:
    if isinstance(value, int) and not isinstance(value, bool):
        return ssl.CERT_NONE if value == ssl.CERT_NONE else ssl.CERT_REQUIRED
    mode = _CERT_REQS.get(str(value).lower())
    if mode is None:
        raise ConfigError(
            f"cert_reqs has the unknown value {str(value)!r}", hint="Write required or none."
        )
    return mode
