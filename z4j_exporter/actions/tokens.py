"""Makes tokens, tells a mistyped one from a whole one, and gives the hash that is kept of each.

A token is ``z4j_``, 43 random letters and digits (256 bits), and the CRC-32 of what stands before
in 6 more, the way GitHub makes its own (https://github.blog/engineering/platform-security/
behind-githubs-new-authentication-token-formats/): scanners for leaked secrets find ``z4j_``, and a
token that was cut or mistyped is told apart without a look at the tokens that there are.

The hash is a plain SHA-256. bcrypt and its like are slow on purpose, so that passwords which people
choose cannot be guessed from their hash; nobody guesses 256 random bits, however fast the hash.
Slowness would only let everybody who can reach the port keep a processor busy, with each request.
"""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "z4j_"
#: What a secret scanner can look for.
TOKEN_PATTERN = r"\bz4j_[0-9A-Za-z]{49}\b"  # noqa: S105  # the form of a token, not one

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
#: 62**43 > 2**256.
_RANDOM_CHARACTERS = 43
#: 62**6 > 2**32.
_CHECKSUM_CHARACTERS = 6
_WHOLE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM_CHARACTERS + _CHECKSUM_CHARACTERS}}}")

_HASH_PREFIX = "sha256:"
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def make_token() -> str:
    """Return a new token."""
    body = PREFIX + "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM_CHARACTERS))
    return body + _checksum(body)


def is_whole(text: str) -> bool:
    """Return whether a text has the form of a token and its checksum; says nothing of its use."""
    if not _WHOLE.fullmatch(text):
        return False
    return text[-_CHECKSUM_CHARACTERS:] == _checksum(text[:-_CHECKSUM_CHARACTERS])


def digest(token: str) -> bytes:
    """Return what is kept and compared instead of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def stored(token: str) -> str:
    """Return a token's hash as it stands in the token file."""
    return _HASH_PREFIX + digest(token).hex()


def read_stored(text: str) -> bytes:
    """Return the digest of a hash in the token file; raises ValueError."""
    if is_whole(text):
        raise ValueError("a token itself stands here; put its hash here, and make a new token")
    if not _HASH.fullmatch(text):
        raise ValueError("write sha256: and 64 hexadecimal digits, as `token new` does")
    return bytes.fromhex(text.removeprefix(_HASH_PREFIX))


def _checksum(body: str) -> str:
    number, text = zlib.crc32(body.encode("ascii")), ""
    for _ in range(_CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    return text
