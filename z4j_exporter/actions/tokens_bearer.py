"""Finds the one bearer token of a request (RFC 6750, 2.1: in the Authorization header alone)."""

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.tokens import PREFIX
from z4j_exporter.actions.tokens_stats import AuthReason

#: What a 401 has to name (RFC 9110, 11.6.1).
CHALLENGE = 'Bearer realm="z4j-exporter actions"'

#: Characters of an Authorization header; a token of ours has 53.
_MOST_CHARACTERS = 512
#: RFC 9110's scheme, one space or several, RFC 6750's b64token.
_CREDENTIALS = re.compile(rb" *([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*) +(\S.*?) *")
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_VISIBLE = re.compile(rb"[\x20-\x7e]*")

#: Keys of a query that hold a token elsewhere; compared in lower case.
_QUERY_KEYS = frozenset((b"access_token", b"token", b"api_key", b"apikey", b"authorization"))


class AuthenticationError(ActionError):
    """Nobody who is known, or nothing that can be read: 401 or 400.

    ``reason`` is for the counters and the audit log alone, never for the answer. ``quiet``: there
    are so many from this peer that they are to be counted only, not written down each.
    """

    def __init__(
        self, kind: str, status: int, detail: str, *, reason: AuthReason, hint: str = ""
    ) -> None:
        super().__init__(kind, status, detail, hint=hint)
        self.reason = reason
        self.quiet = False


def malformed(detail: str, reason: AuthReason = "malformed", hint: str = "") -> AuthenticationError:
    """Return the error of credentials that cannot be read."""
    return AuthenticationError("malformed-credentials", 400, detail, reason=reason, hint=hint)


def unauthenticated(reason: AuthReason) -> AuthenticationError:
    """Return the error of a request that nobody known made; the same whatever the reason."""
    return AuthenticationError(
        "unauthenticated",
        401,
        "This request has no valid token and no client certificate that is known.",
        reason=reason,
        hint="Send the header Authorization: Bearer TOKEN. Tokens have an end and may have been "
        "revoked.",
    )


def authorization_of(headers: Iterable[tuple[bytes, bytes]], query: bytes = b"") -> bytes | None:
    """Return the Authorization header of a request in ASGI's form; None when there is none.

    Cookies are not looked at. Raises AuthenticationError (400) when there are two, or when the URL
    holds a token: that one stands in logs already.
    """
    found = [value for name, value in headers if name.lower() == b"authorization"]
    if len(found) > 1:
        raise malformed("There is more than one Authorization header.")
    if _has_token(query):
        raise malformed(
            "A token does not belong into a URL.",
            "token_in_url",
            "Revoke it, logs may have it by now; send the next one as Authorization: Bearer TOKEN.",
        )
    return found[0] if found else None


def bearer_token(authorization: bytes | str) -> str:
    """Return the token of an Authorization header.

    Raises AuthenticationError: 400 when it cannot be read, 401 when it is of another scheme.
    """
    value = _as_bytes(authorization)
    if len(value) > _MOST_CHARACTERS:
        raise malformed("The Authorization header is too long.")
    if not _VISIBLE.fullmatch(value):
        raise malformed("The Authorization header has characters that are not visible ASCII.")
    match = _CREDENTIALS.fullmatch(value)
    if match is None:
        raise malformed("The Authorization header is not a scheme and credentials.")
    if match[1].lower() != b"bearer":
        raise unauthenticated("scheme")
    if not _TOKEN.fullmatch(match[2]):
        raise malformed("The Authorization header does not have one token.")
    return match[2].decode("ascii")


def _as_bytes(authorization: bytes | str) -> bytes:
    if isinstance(authorization, bytes):
        return authorization
    try:
        return authorization.encode("latin-1")  # what web frameworks decode headers from
    except UnicodeEncodeError:
        raise malformed(
            "The Authorization header has characters that are not visible ASCII."
        ) from None


def _has_token(query: bytes) -> bool:
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        if unquote_to_bytes(key).lower() in _QUERY_KEYS:
            return True
        if unquote_to_bytes(value).startswith(PREFIX.encode()):
            return True
    return False
