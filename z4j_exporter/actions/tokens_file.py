"""Reads the token file, and says in one sentence what is wrong with it."""

import os
import stat
from pathlib import Path

from pydantic import ValidationError

from z4j_exporter import strict_yaml
from z4j_exporter.actions.tokens_schema import TokenFileSchema
from z4j_exporter.actions.tokens_set import TokenSet
from z4j_exporter.errors import ConfigError, FileError

_MOST_BYTES = 1024 * 1024
_HINT = "See docs/actions-access.md for what a token file may have."


def read_bytes(path: Path) -> bytes:
    """Return the content of a token file that nobody but its owner can read or write.

    Raises ConfigError when others can, or when it is too large; FileError when it cannot be read.
    """
    # Not blocking: a named pipe would be waited for.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        with open(os.open(path, flags), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise FileError(f"{path}: the token file is not a regular file")
            if stat.S_IMODE(mode) & 0o077:
                raise ConfigError(
                    f"{path}: others than its owner can read or write the token file",
                    hint=f"chmod 600 {path}",
                )
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise FileError(
            f"{path}: the token file cannot be read: {error.strerror or type(error).__name__}",
            hint="`z4j-exporter token new` makes one.",
        ) from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path}: the token file has more than {_MOST_BYTES} bytes")
    return data


def as_text(data: bytes, *, name: str) -> str:
    """Return the text of a token file; raises ConfigError."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not valid YAML: it is not UTF-8") from None


def parse(text: str, *, name: str) -> TokenSet:
    """Return the entries of a token file; ``name`` is for the messages. Raises ConfigError."""
    document = strict_yaml.load(text, name=name)
    if document in (None, ""):
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(f"{name} has no keys: it needs tokens, or certificates", hint=_HINT)
    try:
        schema = TokenFileSchema.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{name}: {_first_problem(error)}", hint=_HINT) from None
    return TokenSet.of(schema)


def read(path: Path) -> TokenSet:
    """Return the entries of a token file. Raises ConfigError or FileError."""
    return parse(as_text(read_bytes(path), name=str(path)), name=str(path))


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = _place(first["loc"])
    if first["type"] == "extra_forbidden":
        # The key is not quoted: it may be a value that lost its key.
        return f"{_place(first['loc'][:-1]) or 'the file'} has an unknown key"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _place(location: tuple[int | str, ...]) -> str:
    """Return where in the file, counted from 1: "tokens 2, hash"."""
    parts: list[str] = []
    for part in location:
        if isinstance(part, int) and parts:
            parts[-1] += f" {part + 1}"
        else:
            parts.append(str(part))
    return ", ".join(parts)
