"""The schema of the token file: what may stand in it, and what each part means."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from z4j_exporter.actions.model import Role
from z4j_exporter.actions.scopes import check_glob
from z4j_exporter.actions.tokens import read_stored

#: Entries of each list; every request is compared with all of them.
MOST_ENTRIES = 1000
_MOST_GLOBS = 100
_MOST_SAN = 512
#: It goes to logs, the audit log and answers as it is.
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

SanKind = Literal["dns", "email", "uri"]
SAN_KINDS: tuple[SanKind, ...] = ("dns", "email", "uri")


def check_name(value: Any) -> str:
    """Return a name that an entry may have; raises ValueError."""
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise ValueError(
            "a name has 1 to 64 letters, digits and . _ @ -, and begins with a letter or digit"
        )
    return value


def _moment(value: Any) -> datetime:
    """Read a time with its zone; a time without one would end hours early or late."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("write a time with its zone, such as 2027-01-31T00:00:00Z") from None


def _globs(value: Any) -> tuple[str, ...]:
    # Neither blank nor [] may mean "all": who takes the last glob away does not give the rest.
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("write a list of globs, or leave the key out: no restriction")
    if len(value) > _MOST_GLOBS:
        raise ValueError(f"there are at most {_MOST_GLOBS} globs")
    if not all(isinstance(glob, str) for glob in value):
        raise ValueError("each glob must be text")
    return tuple(check_glob(glob) for glob in value)


def _hash(value: Any) -> bytes:
    return read_stored(value if isinstance(value, str) else "")


def _san(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _MOST_SAN:
        raise ValueError("write the name as it stands in the certificate")
    if "*" in value:
        raise ValueError("a certificate's name is compared as a whole; * has no meaning here")
    return value


def _listed(value: Any) -> Any:
    if value in ("", None):
        return ()  # `tokens:` with nothing beneath
    if not isinstance(value, (list, tuple)):
        raise ValueError("write a list")
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
Globs = Annotated[tuple[str, ...], BeforeValidator(_globs)]
San = Annotated[str, BeforeValidator(_san)]


class Entry(BaseModel):
    """What tokens and certificates have in common: who it is, and what it may do."""

    # hide_input_in_errors: somebody may put the token where its hash belongs.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, BeforeValidator(check_name)]
    role: Role
    tasks: Globs = ()
    queues: Globs = ()
    #: It is good from this time …
    not_before: Moment | None = None
    #: … until just before this one.
    not_after: Moment | None = None
    created: Moment | None = None
    comment: str | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.not_before and self.not_after and self.not_before >= self.not_after:
            raise ValueError("not_after must be later than not_before")
        return self


class TokenEntry(Entry):
    """A token, known by its hash."""

    digest: Annotated[bytes, BeforeValidator(_hash)] = Field(alias="hash", repr=False)


class CertificateEntry(Entry):
    """A client certificate, known by one of its alternative names."""

    dns: San | None = None
    email: San | None = None
    uri: San | None = None

    @property
    def san(self) -> tuple[SanKind, str]:
        """Which kind of name, and the name."""
        return next((kind, value) for kind in SAN_KINDS if (value := getattr(self, kind)))

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in SAN_KINDS) != 1:
            raise ValueError("give exactly one of dns, email and uri")
        return self


class TokenFileSchema(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tokens: Annotated[
        tuple[TokenEntry, ...], BeforeValidator(_listed), Field(max_length=MOST_ENTRIES)
    ] = ()
    certificates: Annotated[
        tuple[CertificateEntry, ...], BeforeValidator(_listed), Field(max_length=MOST_ENTRIES)
    ] = ()

    @model_validator(mode="after")
    def _unlike(self) -> Self:
        # The audit log and the rate limits tell one from another by name alone.
        names = [entry.name for entry in (*self.tokens, *self.certificates)]
        for known, what in (
            (names, "name"),
            ([token.digest for token in self.tokens], "hash"),
            ([certificate.san for certificate in self.certificates], "certificate"),
        ):
            if len(set(known)) != len(known):
                raise ValueError(f"two entries have the same {what}")
        return self
