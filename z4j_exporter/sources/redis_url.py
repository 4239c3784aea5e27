"""Understands Redis URLs and TLS options as kombu does, and says where they lead."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from z4j_exporter.errors import BrokerUrlError, ConfigError

_CERT_REQS = {
    "none": "none", "cert_none": "none", "ssl.cert_none": "none",
    "optional": "optional", "cert_optional": "optional", "ssl.cert_optional": "optional",
    "required": "required", "cert_required": "required", "ssl.cert_required": "required",
}  # fmt: skip
#: TLS settings that redis-py knows, by the name broker_use_ssl and URLs give them.
_TLS_OPTIONS = (
    "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_certfile", "ssl_keyfile",
    "ssl_password", "ssl_check_hostname", "ssl_ciphers",
)  # fmt: skip


def target_of(url: str, ssl_options: Mapping[str, Any] | bool | None) -> dict[str, Any]:
    """Turn one URL into redis-py connection arguments; ``tls`` says whether TLS is used."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BrokerUrlError(
            "the broker URL's host or port cannot be read",
            hint="redis://[user]:password@host:6379/0; percent-encode / @ : ? # in the password.",
        ) from None
    query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
    target: dict[str, Any] = {}
    if parts.username:
        target["username"] = unquote(parts.username)
    if parts.password:
        target["password"] = unquote(parts.password)
    if parts.scheme in ("redis+socket", "unix", "valkey+socket"):
        target["path"] = unquote(parts.path)
        target["db"] = _database(query.get("virtual_host") or query.get("db") or "")
        target["tls"] = False
        return target
    target["host"] = parts.hostname or "127.0.0.1"
    target["port"] = port or (26379 if parts.scheme.startswith("sentinel") else 6379)
    target["db"] = _database(query.get("virtual_host") or query.get("db") or parts.path)
    target["tls"] = parts.scheme in ("rediss", "valkeys", "sentinels") or bool(ssl_options)
    if target["tls"]:
        given = dict(ssl_options) if isinstance(ssl_options, Mapping) else {}
        given = {k if k.startswith("ssl_") else f"ssl_{k}": v for k, v in given.items()}
        given.update({k: v for k, v in query.items() if k.startswith("ssl_")})
        target.update(_tls(given))
    return target


def _tls(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(_TLS_OPTIONS))
    if unknown:
        raise ConfigError(
            f"TLS option {unknown[0]!r} is not known for Redis",
            hint=f"Known are: {', '.join(_TLS_OPTIONS)}.",
        )
    tls = {k: v for k, v in given.items() if v is not None}
    wanted = tls.get("ssl_cert_reqs", "required")
    if isinstance(wanted, ssl.VerifyMode):
        wanted = wanted.name
    elif isinstance(wanted, int):
        wanted = ssl.VerifyMode(wanted).name
    reqs = _CERT_REQS.get(str(wanted).lower())
    if reqs is None:
        raise ConfigError(
            f"ssl_cert_reqs {str(wanted)!r} is not known", hint="Use required, optional or none."
        )
    tls["ssl_cert_reqs"] = reqs
    hostname = tls.get("ssl_check_hostname", reqs != "none")
    if isinstance(hostname, str):
        hostname = hostname.lower() in ("1", "true", "yes", "on")
    tls["ssl_check_hostname"] = hostname
    return tls


def _database(text: str) -> int:
    """Return the database number of a URL's path (kombu ``_prepare_virtual_host``)."""
    text = text.strip("/")
    if not text:
        return 0
    if not text.isdigit():
        raise BrokerUrlError(
            f"Redis databases have numbers, the broker URL names {text[:40]!r}",
            hint="End the URL with /0, /1, …",
        )
    return int(text)


def fanout_prefix(options: Mapping[str, Any], db: int | None) -> str:
    """Return kombu's fan-out prefix: True is the default, False none, a string itself."""
    prefix = options.get("fanout_prefix", True)
    if isinstance(prefix, str) and prefix.lower() in ("true", "false"):
        prefix = prefix.lower() == "true"
    if not prefix:
        return ""
    text = prefix if isinstance(prefix, str) else "/{db}."
    return text if db is None else text.replace("{db}", str(db))


def place_of(target: Mapping[str, Any]) -> str:
    """Say where a target is, without its password."""
    if "path" in target:
        return f"redis+socket://{target['path']}"
    scheme = "rediss" if target.get("tls") else "redis"
    host = f"[{target['host']}]" if ":" in target["host"] else target["host"]
    return f"{scheme}://{host}:{target['port']}/{target.get('db', 0)}"
