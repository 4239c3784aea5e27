"""Takes an OTLP endpoint apart; what it says may hold a password and is never shown whole."""

import base64
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from z4j_exporter.errors import ConfigError

_HTTP_PORTS: Final = {"http": 80, "https": 443}
#: Other forms of a gRPC target (https://github.com/grpc/grpc/blob/master/doc/naming.md).
_GRPC_SCHEMES: Final = ("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:")


@dataclass(frozen=True)
class Address:
    """An endpoint."""

    tls: bool
    #: As it goes on the wire, an IPv6 address without brackets; for gRPC the whole target.
    host: str
    #: 0 for gRPC.
    port: int = 0
    #: Path and query of the request (HTTP).
    path: str = field(default="", repr=False)
    #: As it may be shown: without user, password and query.
    location: str = ""
    #: Made of the URL's user and password, else "".
    authorization: str = field(default="", repr=False)


def http_address(name: str, url: str, append: str) -> Address:
    """Return the address of http(s)://host:port/path, with ``append`` at the end of its path.

    Raises ConfigError that names the option or variable ``name``.
    """
    scheme, _, _ = url.partition("://")
    if scheme.lower() not in _HTTP_PORTS:
        raise ConfigError(
            f"{name} is not http:// or https:// with a host",
            hint="For example http://localhost:4318; another form needs the protocol grpc.",
        )
    host, port, path, query, authorization = _parts(name, url)
    if append:
        path = f"{path}{append}" if path.endswith("/") else f"{path}/{append}"
    path = quote(path or "/", safe="/%:@!$&'()*+,;=~-._")
    port = port or _HTTP_PORTS[scheme.lower()]
    return Address(
        tls=scheme.lower() == "https",
        host=host,
        port=port,
        path=f"{path}?{quote(query, safe='/%:@!$&()*+,;=?~-._')}" if query else path,
        location=f"{scheme.lower()}://{authority(host, port)}{path}",
        authorization=authorization,
    )


def grpc_address(name: str, url: str, *, insecure: bool) -> Address:
    """Return the address of http(s)://host:port, or of a target that gRPC knows.

    ``insecure`` decides where the scheme does not. Raises ConfigError that names ``name``.
    """
    _check_printable(name, url)
    scheme, _, rest = url.partition("://")
    if url.startswith(_GRPC_SCHEMES):
        return Address(tls=not insecure, host=url, location=url)
    if not rest:
        tls, url = not insecure, f"//{url}"
    elif scheme.lower() in _HTTP_PORTS:
        tls = scheme.lower() == "https"
    else:
        raise ConfigError(
            f"{name} is not http:// or https:// with a host",
            hint="For example http://localhost:4317.",
        )
    host, port, _, _, authorization = _parts(name, url)
    target = authority(host, port or (443 if tls else 80))
    return Address(
        tls=tls,
        host=target,
        location=f"{'https' if tls else 'http'}://{target}",
        authorization=authorization,
    )


def authority(host: str, port: int) -> str:
    """Return host and port as one word."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parts(name: str, url: str) -> tuple[str, int, str, str, str]:
    _check_printable(name, url)
    # What urllib says may quote the password, when the URL's parts are mistaken: not chained.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:  # UnicodeError is one
        raise ConfigError(f"{name} has no valid host and port") from None
    if not host or port == 0:
        raise ConfigError(f"{name} has no valid host and port")
    authorization = ""
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = "Basic " + base64.b64encode(login).decode()
    return host, port or 0, parts.path, parts.query, authorization


def _check_printable(name: str, url: str) -> None:
    if any(character <= " " or character == "\x7f" for character in url):
        raise ConfigError(f"{name} has a space or a control character")
