"""Builds the SSL context that a web configuration asks for."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from z4j_exporter.errors import ConfigError
from z4j_exporter.web.ciphers import CIPHER_SUITES, CURVES
from z4j_exporter.web.config import read_file
from z4j_exporter.web.gate import TlsPolicy
from z4j_exporter.web.schema import TlsServerConfig

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

_VERIFY_MODES = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def tls_files(config: TlsServerConfig, directory: Path) -> list[Path]:
    """Return the files that a configuration names; relative ones are relative to `directory`."""
    names = (config.cert_file, config.key_file, config.client_ca_file)
    return [directory / name for name in names if name]


def build_tls(config: TlsServerConfig, directory: Path) -> TlsPolicy | None:
    """Return the policy for new connections, or None when the configuration has no TLS.

    Raises `FileError` for a file that cannot be read, `ConfigError` for one that is no good.
    """
    if not config.enabled:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.maximum_version = _VERSIONS[config.max_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if config.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _choose_ciphers(context, config)
    _load_certificate(context, config, directory)
    _load_client_ca(context, config, directory)
    context.verify_mode = _VERIFY_MODES[config.client_auth_type]
    allowed = config.client_allowed_sans
    return TlsPolicy(context, None if allowed is None else frozenset(allowed))


def _choose_ciphers(context: ssl.SSLContext, config: TlsServerConfig) -> None:
    names = [name for suite in config.cipher_suites if (name := CIPHER_SUITES[suite])]
    if names:
        try:
            context.set_ciphers(":".join(names))
        except ssl.SSLError as exc:
            raise ConfigError(
                "cipher_suites: this system's OpenSSL has none of the suites named.",
                hint="Name other suites, or leave cipher_suites out.",
            ) from exc
    for curve in filter(None, map(CURVES.get, config.curve_preferences)):
        context.set_ecdh_curve(curve)


def _load_certificate(context: ssl.SSLContext, config: TlsServerConfig, directory: Path) -> None:
    if config.cert_file:
        certificate = read_file(directory / config.cert_file)
    else:
        certificate = config.cert.encode()
    if config.key_file:
        key = read_file(directory / config.key_file)
    else:
        key = config.key.get_secret_value().encode()
    where = f"{config.cert_file or 'cert'} and {config.key_file or 'key'}"
    try:
        with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
            context.load_cert_chain(certificate_path, key_path, password=_refuse_password)
    except _EncryptedKeyError:
        raise ConfigError(
            f"The private key of {where} is encrypted.",
            hint="Store it without a passphrase; nobody is there to type it.",
        ) from None
    except (ssl.SSLError, OSError) as exc:
        reason = getattr(exc, "reason", None) or "no PEM data"
        raise ConfigError(
            f"The certificate and key in {where} cannot be used: {_plain(reason)}.",
            hint="Both must be PEM, and the key must belong to the first certificate.",
        ) from exc


def _load_client_ca(context: ssl.SSLContext, config: TlsServerConfig, directory: Path) -> None:
    if config.client_ca_file:
        pem = read_file(directory / config.client_ca_file)
    elif config.client_ca:
        pem = config.client_ca.encode()
    else:
        return
    try:
        # Text between the certificates may be in any encoding; they are ASCII.
        context.load_verify_locations(cadata=pem.decode("ascii", errors="ignore"))
    except (ssl.SSLError, ValueError) as exc:
        raise ConfigError(
            f"The client CA in {config.client_ca_file or 'client_ca'} cannot be used.",
            hint="It must be one or more certificates in PEM.",
        ) from exc
    # Go trusts every certificate in the file, also one that is not self-signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


class _EncryptedKeyError(Exception):
    """OpenSSL asked for a passphrase."""


def _refuse_password() -> NoReturn:
    # Without this, OpenSSL would ask on the terminal and wait.
    raise _EncryptedKeyError


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """Give bytes a path: ssl loads certificates from files only, and a key stays off the disk."""
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _plain(reason: str) -> str:
    return reason.replace("_", " ").lower()
