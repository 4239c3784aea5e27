"""Looks for a secret in bytes: as it is, and in every form in which it could travel."""

import base64
import json
from urllib.parse import quote, quote_plus


def forms(secret: str) -> set[bytes]:
    """Return the secret's bytes in all forms: plain, quoted, escaped, hex, base64 at any offset."""
    texts = {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        json.dumps(secret)[1:-1],
    }
    texts |= {json.dumps(text)[1:-1] for text in texts}
    found = {text.encode() for text in texts} | {secret.encode("utf-16-le")}
    for text in (secret, quote(secret, safe="")):
        raw = text.encode()
        found |= {raw.hex().encode(), raw.hex().upper().encode()}
        for offset in range(3):
            # Of a text in the middle of another, only the whole groups of three bytes are its own.
            inner = raw[(3 - offset) % 3 :]
            encoded = base64.b64encode(inner[: len(inner) - len(inner) % 3])
            found |= {encoded, encoded.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def leaked(secret: str, content: bytes) -> list[bytes]:
    """Return the forms of a secret that are in the content, none if all is well."""
    return sorted(form for form in forms(secret) if form in content)
