"""Looks inside a serialised message body without running anything that stands in it.

JSON, YAML and msgpack are parsed as data. A pickle is never loaded: its texts are read from its
instructions (`pickletools`), which is enough to tell whether a secret is among them.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from z4j_exporter.capture.snapshot import Body, as_text, plain

#: A name of a key that is longer is none.
_LONGEST_KEY = 128

#: Returns a copy of a value without secrets, and whether it differs from the value.
Redact = Callable[[Any], tuple[Any, bool]]


class Looked(NamedTuple):
    """What a body holds, with secrets replaced."""

    #: Whether one could look inside at all.
    readable: bool
    #: Whether there was a secret.
    secret: bool = False
    args: Any = None
    kwargs: Any = None
    #: callbacks, errbacks, chain, chord; None when the body's form does not show them.
    embed: Any = None


def look(body: Body, redact: Redact) -> Looked:
    """Look for secrets in a body; what cannot be read is not readable, never an error."""
    if body.data is None:
        return Looked(readable=False)
    try:
        if body.content_type == "application/x-python-serialize":
            return Looked(readable=True, secret=_pickle_holds_secret(body.data, redact))
        parse = _PARSERS.get(body.content_type)
        if parse is None:
            return Looked(readable=False)
        return _redacted(parse(body.data), redact)
    except Exception:  # noqa: BLE001  # six parsers and the patterns of a user: not readable
        return Looked(readable=False)


def _redacted(content: Any, redact: Redact) -> Looked:
    if isinstance(content, Mapping):  # message protocol 1
        parts = [content.get("args"), content.get("kwargs"), content]
        embed = {key: content.get(key) for key in ("callbacks", "errbacks", "chord")}
        parts[2] = embed
    else:
        parts = list(content)
    clean, secret = redact(parts)
    return Looked(True, secret, *clean[:3])


def _json(data: str | bytes) -> Any:
    return json.loads(data, object_hook=_marked)


def _marked(value: dict[str, Any]) -> Any:
    """Read kombu's marks for values that JSON does not have; none of its decoders runs."""
    if value.keys() == {"__type__", "__value__"}:
        inner = value["__value__"]
        if value["__type__"] == "base64":
            try:
                return as_text(base64.b64decode(inner))
            except (binascii.Error, ValueError, TypeError):
                return inner
        return inner
    return value


def _yaml(data: str | bytes) -> Any:
    import yaml  # the application has it: it has just written YAML

    return _data(yaml.safe_load(data))


def _msgpack(data: str | bytes) -> Any:
    import msgpack  # type: ignore[import-untyped]  # as above

    return _data(msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=_extension))


def _extension(_code: int, data: bytes) -> str:
    return as_text(data)


def _data(value: Any) -> Any:
    """Make JSON's types of everything, without the limits of `plain`."""
    if isinstance(value, Mapping):
        return {k if isinstance(k, str) else str(_data(k)): _data(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_data(each) for each in value]
    if isinstance(value, bytes | bytearray):
        return as_text(bytes(value))
    return plain(value) if not isinstance(value, str) else value


_PARSERS: dict[str, Callable[[str | bytes], Any]] = {
    "application/json": _json,
    "application/x-yaml": _yaml,
    "application/x-msgpack": _msgpack,
}


def _pickle_holds_secret(data: str | bytes, redact: Redact) -> bool:
    """Whether a text in a pickle is a secret, or looks like the key of one.

    Careful to excess: the name of an attribute counts as well as the key of a dict.
    """
    before = ""
    for value in _leaves(data):
        if redact(value)[1]:
            return True
        if not isinstance(value, str):
            continue
        for pair in ({value: "?"}, {before: value}) if len(value) <= _LONGEST_KEY else ():
            if redact(pair)[1]:
                return True
        before = value[:_LONGEST_KEY]
    return False


def _leaves(data: str | bytes) -> Iterator[str | int]:
    """Every text, and every number as long as a card's, of a pickle's instructions."""
    raw = data.encode("latin-1") if isinstance(data, str) else data
    for _opcode, argument, _position in pickletools.genops(raw):
        if isinstance(argument, bytes):
            yield as_text(argument)
        elif isinstance(argument, str) or (isinstance(argument, int) and abs(argument) >= 10**11):
            yield argument
