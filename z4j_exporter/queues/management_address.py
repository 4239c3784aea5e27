"""Finds where RabbitMQ's management API is, and how to log in there."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from z4j_exporter.errors import ConfigError, FileError
from z4j_exporter.sources.amqp_url import Endpoint
from z4j_exporter.sources.tls_files import check_tls_file

#: The plugin's default ports (https://www.rabbitmq.com/docs/networking#ports).
_PORTS: Final = {"http": 15672, "https": 15671}
_WRITE: Final = (
    "Write http(s)://USER:PASSWORD@HOST:15672; encode / ? # @ : in them as %2F and so on."
)


@dataclass(frozen=True)
class ManagementAddress:
    """The management API of one broker, with all that is needed to ask it for a vhost's queues."""

    scheme: str
    #: As it goes on the wire: ASCII, an IPv6 address without brackets.
    host: str
    port: int
    #: What comes before /api (RabbitMQ's management.path_prefix): "" or "/…", no / at its end.
    prefix: str
    vhost: str
    user: str
    password: str = field(repr=False)
    #: None for plain HTTP.
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    #: The name that the certificate must be for, where it is not the host's.
    server_hostname: str | None = None

    @property
    def authority(self) -> str:
        """Return host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def location(self) -> str:
        """Return the URL without user and password."""
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def queues_path(self) -> str:
        """Return the path that lists the vhost's queues."""
        return f"{self.prefix}/api/queues/{quote(self.vhost, safe='')}"


def derived_addresses(
    endpoints: Sequence[Endpoint], ca_file: Path | None = None, insecure: bool = False
) -> tuple[ManagementAddress, ...]:
    """Return the address at each broker's own host: same user, same TLS files, default port.

    A broker on another port than AMQP's is left out: beside it there may be a second one on that
    host, whose management API has the default port, the same users and other queues.

    Raises FileError for a CA file that cannot be used.
    """
    return tuple(
        _derived(endpoint, ca_file, insecure)
        for endpoint in endpoints
        if endpoint.port == (5671 if endpoint.tls else 5672)
    )


def given_addresses(
    urls: str, endpoint: Endpoint, ca_file: Path | None = None, insecure: bool = False
) -> tuple[ManagementAddress, ...]:
    """Return the addresses in ``urls`` (several, for failover, are separated by semicolons).

    The vhost is the broker URL's, as are user and password where the URL has none.
    Raises ConfigError (without the URL: it may hold a password) or FileError.
    """
    single = [url.strip() for url in urls.split(";") if url.strip()]
    if not single:
        raise _wrong("is empty")
    return tuple(_given(url, endpoint, ca_file, insecure) for url in single)


def _derived(endpoint: Endpoint, ca_file: Path | None, insecure: bool) -> ManagementAddress:
    scheme = "https" if endpoint.tls else "http"
    tls, name = None, None
    if endpoint.tls:
        options = endpoint.tls
        name = options.get("server_hostname")
        # What the broker URL does not want checked need not be checked here.
        insecure = insecure or options["cert_reqs"] == ssl.CERT_NONE
        tls = _context(ca_file or options.get("ca_certs"), insecure=insecure)
        tls.check_hostname = tls.check_hostname and name is not None
        if options.get("certfile"):
            _load_client_certificate(tls, options["certfile"], options.get("keyfile"))
    return ManagementAddress(
        scheme=scheme,
        host=_wire_host(endpoint.host),
        port=_PORTS[scheme],
        prefix="",
        vhost=endpoint.vhost,
        user=endpoint.user,
        password=endpoint.password,
        tls=tls,
        server_hostname=name,
    )


def _given(url: str, endpoint: Endpoint, ca_file: Path | None, insecure: bool) -> ManagementAddress:
    if any(character <= " " or character == "\x7f" for character in url):
        raise _wrong("has a space or a control character")
    # What urllib says may quote the password, when the URL's parts are mistaken: not chained.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _wrong("has no valid host and port") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise _wrong("is not http:// or https:// with a host")
    if parts.query or parts.fragment:
        raise _wrong("has a ? or # in it")
    path = parts.path.rstrip("/").removesuffix("/api")
    return ManagementAddress(
        scheme=parts.scheme,
        host=_wire_host(unquote(parts.hostname)),
        port=port or _PORTS[parts.scheme],
        prefix=quote(path, safe="/%"),
        vhost=endpoint.vhost,
        user=unquote(parts.username) if parts.username else endpoint.user,
        password=unquote(parts.password or "") if parts.username else endpoint.password,
        tls=_context(ca_file, insecure=insecure) if parts.scheme == "https" else None,
    )


def _wire_host(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise _wrong("has a host name that cannot be looked up") from None


def _context(ca_file: Path | str | None, *, insecure: bool) -> ssl.SSLContext:
    if ca_file is not None:
        check_tls_file("rabbitmq-management-ca-file", Path(ca_file))
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except ssl.SSLError:
        raise FileError(
            f"rabbitmq-management-ca-file {str(ca_file)!r} holds no certificate",
            hint="It must be PEM text.",
        ) from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        raise FileError(f"certfile {certificate!r} and its key cannot be used") from None


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"--rabbitmq-management-url {what}", hint=_WRITE)
