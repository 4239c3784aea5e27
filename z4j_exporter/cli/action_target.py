"""Where the API of the actions is, and the token and certificates that it is asked with."""

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from z4j_exporter.actions.tokens import PREFIX, is_whole
from z4j_exporter.config import ENVIRONMENT_PREFIX
from z4j_exporter.errors import ConfigError, FileError

DEFAULT_URL: Final = "http://127.0.0.1:9809"
URL_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}ACTIONS_URL"
TOKEN_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}ACTIONS_TOKEN"
#: Not ..._TOKEN_FILE: that one is the exporter's own file of hashes.
TOKEN_FILE_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}ACTIONS_BEARER_TOKEN_FILE"

#: Characters of a file that may hold a token; a token of ours has 53.
_MOST_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class Address:
    """Where an exporter serves its actions."""

    scheme: str
    host: str
    port: int
    #: What stands before /v1: "" unless it is behind a proxy.
    path: str

    @property
    def authority(self) -> str:
        """Host and port as one word."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """All of it."""
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask, and as who."""

    address: Address
    token: str | None = field(repr=False)
    tls: ssl.SSLContext | None


def target_of(
    url: str,
    *,
    token_file: Path | None = None,
    ca_file: Path | None = None,
    certificate: tuple[Path, Path] | None = None,
    insecure: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Target:
    """Return whom to ask. Raises ConfigError and FileError; neither repeats the token.

    ``certificate`` is a client's certificate and its key. ``insecure``: send the token over a
    network without TLS.
    """
    address = parse_url(url)
    encrypted = address.scheme == "https"
    if not encrypted and (ca_file or certificate):
        raise ConfigError("certificates go with a --url that begins with https://")
    token = _token(token_file, environment)
    if token is None and certificate is None:
        raise ConfigError(
            "there is no token to ask with",
            hint=f"--token-file FILE or {TOKEN_VARIABLE} has it; `z4j-exporter token new` makes"
            " one. A client certificate (--client-certificate) can stand for it.",
        )
    if token is not None and not (encrypted or insecure or _is_loopback(address.host)):
        raise ConfigError(
            f"{address.url} is another machine and has no TLS: the token would go over the network"
            " in the clear",
            hint="Use https://, or say --insecure where the network itself is encrypted.",
        )
    return Target(address, token, _context(ca_file, certificate) if encrypted else None)


def parse_url(url: str) -> Address:
    """Return the address in a URL. Raises ConfigError, which does not repeat it."""
    example = f"For example {DEFAULT_URL}"
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("--url must be visible ASCII (punycode for a host)", hint=example)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("--url cannot be understood", hint=example) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("--url must begin with http:// or https:// and name a host", hint=example)
    if "@" in parts.netloc:
        raise ConfigError(
            "the actions take tokens, and --url has a user or a password",
            hint=f"Leave it out; --token-file or {TOKEN_VARIABLE} says who asks.",
        )
    if parts.query or parts.fragment:
        raise ConfigError("--url has more than an address and a path", hint=example)
    standard = 443 if parts.scheme == "https" else 80
    path = parts.path.rstrip("/").removesuffix("/v1")
    return Address(parts.scheme, parts.hostname, standard if port is None else port, path)


def _token(token_file: Path | None, environment: Mapping[str, str]) -> str | None:
    if token_file is not None:
        return _from_file(token_file)
    if value := environment.get(TOKEN_VARIABLE, "").strip():
        return _checked(value, TOKEN_VARIABLE)
    if name := environment.get(TOKEN_FILE_VARIABLE):
        return _from_file(Path(name))
    return None


def _from_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_CHARACTERS + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise FileError(f"{path} cannot be read: {reason}") from None
    if "tokens:" in text and "sha256:" in text:
        raise ConfigError(
            f"{path} is the exporter's file of hashes, and holds no token",
            hint="The token itself was printed once, by `z4j-exporter token new`.",
        )
    return _checked(text, str(path))


def _checked(text: str, where: str) -> str:
    """Refuse what is no token before it is sent anywhere: it may be another secret."""
    if is_whole(text):
        return text
    if text.startswith(PREFIX):
        raise ConfigError(f"{where} holds a token that was cut or mistyped")
    raise ConfigError(
        f"{where} holds no token",
        hint=f"A token is one word that begins with {PREFIX}, as `z4j-exporter token new` prints"
        " it.",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"  # other names lead wherever a resolver says


def _context(ca_file: Path | None, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    for path in (ca_file, *(certificate or ())):
        if path is not None and not os.access(path, os.R_OK):
            raise FileError(f"{path} cannot be read")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise FileError(f"{ca_file} holds no certificate", hint="It must be PEM text.") from None
    if certificate is not None:
        try:
            context.load_cert_chain(*certificate, password=_no_password)
        except (OSError, ValueError):
            raise FileError(
                f"{certificate[0]} cannot be used with its key {certificate[1]}",
                hint="Both must be PEM text, of one key, without a password.",
            ) from None
    return context


def _no_password() -> str:
    # Without this OpenSSL asks on the terminal.
    return ""
