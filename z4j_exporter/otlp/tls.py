"""Loads the certificates for an OTLP endpoint, and says which file is wrong."""

import ssl
from pathlib import Path

from z4j_exporter.errors import ConfigError, FileError
from z4j_exporter.otlp.environment import Target
from z4j_exporter.sources.tls_files import check_tls_file

_CA = "otlp-ca-file (OTEL_EXPORTER_OTLP_CERTIFICATE)"
_CERTIFICATE = "otlp-client-certificate-file (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE)"
_KEY = "otlp-client-key-file (OTEL_EXPORTER_OTLP_CLIENT_KEY)"


def client_context(target: Target) -> ssl.SSLContext:
    """Return the TLS context; raises FileError or ConfigError for files that cannot be used."""
    check_files(target)
    ca_file = target.ca_file
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except ssl.SSLError:
        raise FileError(
            f"{_CA} {str(ca_file)!r} holds no certificate", hint="It must be PEM text."
        ) from None
    if target.client_certificate_file:
        try:
            context.load_cert_chain(
                target.client_certificate_file, target.client_key_file, password=_no_password
            )
        except (OSError, ssl.SSLError, ValueError):
            raise FileError(
                f"{_CERTIFICATE} {str(target.client_certificate_file)!r} "
                "cannot be used with its key",
                hint="Both must be PEM text, of one key, without a password.",
            ) from None
    return context


def check_files(target: Target) -> None:
    """Raise FileError if a file cannot be read, ConfigError for a key without a certificate."""
    if target.client_key_file and not target.client_certificate_file:
        raise ConfigError(f"{_KEY} is set without {_CERTIFICATE}")
    named: tuple[tuple[str, Path | None], ...] = (
        (_CA, target.ca_file),
        (_CERTIFICATE, target.client_certificate_file),
        (_KEY, target.client_key_file),
    )
    for name, path in named:
        if path is not None:
            check_tls_file(name, path)


def _no_password() -> str:
    # Without this OpenSSL asks on the terminal.
    return ""
