"""Finds who a token or a client certificate belongs to, and whether it is good now. Pure."""

import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from z4j_exporter.actions.model import Actor
from z4j_exporter.actions.tokens_schema import (
    CertificateEntry,
    Entry,
    SanKind,
    TokenEntry,
    TokenFileSchema,
)

Standing = Literal["active", "expired", "not yet"]

#: The names of ssl's getpeercert() for the kinds that an entry may have.
_SAN_KINDS: dict[str, SanKind] = {"DNS": "dns", "email": "email", "URI": "uri"}


def standing(entry: Entry, now: float) -> Standing:
    """Return whether an entry is good at this time (epoch seconds)."""
    if entry.not_before is not None and now < entry.not_before.timestamp():
        return "not yet"
    if entry.not_after is not None and now >= entry.not_after.timestamp():
        return "expired"
    return "active"


def actor_of(entry: Entry) -> Actor:
    """Return who an entry lets in."""
    via: Literal["token", "certificate"] = (
        "token" if isinstance(entry, TokenEntry) else "certificate"
    )
    return Actor(entry.name, entry.role, via, entry.tasks, entry.queues)


@dataclass(frozen=True, slots=True)
class TokenSet:
    """All entries of a token file, as one thing that is replaced as a whole."""

    tokens: tuple[TokenEntry, ...] = ()
    certificates: tuple[CertificateEntry, ...] = ()

    @classmethod
    def of(cls, schema: TokenFileSchema) -> "TokenSet":
        """Return the set that a file describes."""
        return cls(schema.tokens, schema.certificates)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Tokens, then certificates."""
        return (*self.tokens, *self.certificates)

    def of_token(self, digest: bytes) -> TokenEntry | None:
        """Return the token with this digest, active or not.

        Every entry is compared, in a time that does not depend on where they differ: neither the
        place of a token nor how much of a hash was right shows in the time of the answer.
        """
        found = None
        for entry in self.tokens:
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        return found

    def of_certificate(self, certificate: Mapping[str, Any]) -> tuple[CertificateEntry, ...]:
        """Return the entries that a certificate (ssl's getpeercert form) has a name of."""
        names = _alternative_names(certificate)
        return tuple(entry for entry in self.certificates if entry.san in names)


def certificate_ended(certificate: Mapping[str, Any], now: float) -> bool:
    """Return whether a certificate is past its end: a connection may outlive it.

    One whose end cannot be read counts as ended.
    """
    try:
        return bool(now > ssl.cert_time_to_seconds(certificate["notAfter"]))
    except (KeyError, ValueError, TypeError, OverflowError, AttributeError):
        return True


def _alternative_names(certificate: Mapping[str, Any]) -> set[tuple[SanKind, str]]:
    """Return DNS names, e-mails and URIs; the common name does not count (RFC 9525, 2)."""
    names = set()
    for kind, value in certificate.get("subjectAltName", ()):
        known = _SAN_KINDS.get(kind)
        if known is not None and isinstance(value, str):
            names.add((known, value))
    return names
