"""Understands Redis URLs and TLS options as kombu does, and says where they lead."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from z4j_exporter.errors import BrokerUrlError, ConfigError
from z4j_exporter.sources.tls_files import check_tls_file

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
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def target_of(url: str, ssl_options: Mapping[str, Any] | bool | None) -> dict[str, Any]:
    """Turn one URL into redis-py connection arguments; ``tls`` says whether TLS is used.

    A certificate is demanded from the server unless ssl_cert_reqs says otherwise: kombu's own
    default for a bare rediss:// URL is to take any.

    Raises BrokerUrlError, ConfigError or FileError for what cannot be used.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BrokerUrlError(
            "the broker URL's host or port cannot be read",
            hint="redis://[user]:password@host:6379/0; percent-encode / @ : ? # in the password.",
        ) from None
    query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
    if "credential_provider" in query:
        raise BrokerUrlError(
            "credential_provider in the broker URL is not supported",
            hint="Give the exporter a user and a password of its own.",
        )
    target: dict[str, Any] = {}
    if parts.username:
        target["username"] = unquote(parts.username)
    if parts.password:
        target["password"] = unquote(parts.password)
    if parts.scheme == "redis+socket":
        target["path"] = unquote(parts.path)
        target["db"] = _database(query.get("virtual_host", ""))
        target["tls"] = False
        return target
    target["host"] = parts.hostname or "127.0.0.1"
    target["port"] = port or (26379 if parts.scheme.startswith("sentinel") else 6379)
    target["db"] = _database(parts.path)
    in_url = {k: v for k, v in query.items() if k.startswith("ssl_")}
    target["tls"] = parts.scheme == "rediss" or bool(ssl_options or in_url)
    if target["tls"]:
        given = dict(ssl_options) if isinstance(ssl_options, Mapping) else {}
        given = {k if k.startswith("ssl_") else f"ssl_{k}": v for k, v in given.items()}
        target.update(_tls({**given, **in_url}))
    return target


def _tls(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(_TLS_OPTIONS))
    if unknown:
        raise ConfigError(
            f"TLS option {unknown[0]!r} is not known for Redis",
            hint=f"Known are: {', '.join(_TLS_OPTIONS)}.",
        )
    wanted = given.get("ssl_cert_reqs", "required")
    if wanted is None:
        wanted = "none"  # as redis-py reads it
    tls = {k: v for k, v in given.items() if v is not None}
    if isinstance(wanted, ssl.VerifyMode):
        wanted = wanted.name
    elif isinstance(wanted, int) and wanted in tuple(ssl.VerifyMode):
        wanted = ssl.VerifyMode(wanted).name
    reqs = _CERT_REQS.get(str(wanted).lower())
    if reqs is None:
        raise ConfigError(
            f"ssl_cert_reqs {str(wanted)!r} is not known", hint="Use required, optional or none."
        )
    tls["ssl_cert_reqs"] = reqs
    hostname = tls.get("ssl_check_hostname", True)
    if isinstance(hostname, str):
        hostname = hostname.lower() not in ("0", "false", "no", "off")
    # Python checks no name on a certificate that it does not look at, and older redis-py fails.
    tls["ssl_check_hostname"] = bool(hostname) and reqs != "none"
    for name in _TLS_FILES:
        if name in tls:
            check_tls_file(name, Path(str(tls[name])))
    return tls


def _database(text: str) -> int:
    """Return the database number of a URL's path (kombu ``_prepare_virtual_host``)."""
    text = text.strip("/")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BrokerUrlError(
            "the broker URL does not end with the number of a database",  # it may hold a secret
            hint="End it with /0, /1, …; percent-encode / @ : ? # in a password.",
        )
    return int(text)


def fanout_prefix(options: Mapping[str, Any], db: int | None) -> str:
    """Return kombu's fan-out prefix: True is the default, False none, a string itself.

    ``{db}`` is filled in unless ``db`` is None. Raises ConfigError when the string cannot be.
    """
    prefix = options.get("fanout_prefix", True)
    if isinstance(prefix, str) and prefix.lower() in ("true", "false"):
        prefix = prefix.lower() == "true"
    if not prefix:
        return ""
    text = prefix if isinstance(prefix, str) else "/{db}."
    if db is None:
        return text
    try:
        return text.format(db=db)  # as kombu does
    except (LookupError, ValueError, AttributeError):
        raise ConfigError(
            f"fanout_prefix {text!r} cannot be used",
            hint="{db} stands for the database; other braces must be doubled.",
        ) from None


def place_of(target: Mapping[str, Any]) -> str:
    """Say where a target is, without its password."""
    if "path" in target:
        return f"redis+socket://{target['path']}"
    scheme = "rediss" if target.get("tls") else "redis"
    host = f"[{target['host']}]" if ":" in target["host"] else target["host"]
    return f"{scheme}://{host}:{target['port']}/{target.get('db', 0)}"
