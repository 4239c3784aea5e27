"""Parses a body by its content type: JSON, msgpack, YAML; never one that could run code."""

import json
import math
from typing import Any

import msgspec
import yaml

from z4j_exporter.events.message import OVERSIZED_CONTENT_TYPE, Framed
from z4j_exporter.events.refusal import RefusedError

#: YAML is slow to parse: a tighter limit.
MAX_YAML_BYTES = 64 * 1024
#: libyaml's binding recurses in C without a limit of its own; events nest three levels deep.
MAX_YAML_DEPTH = 50
#: Content types that rebuild arbitrary objects (kombu/serialization.py): never loaded.
_UNSAFE = frozenset(
    {
        "application/x-python-serialize",
        "application/x-python",
        "application/x-pickle",
        "application/x-python-pickle",
    }
)
_JSON = frozenset({"application/json", "text/json"})
_MSGPACK = frozenset({"application/x-msgpack", "application/msgpack"})
_YAML = frozenset({"application/x-yaml", "application/yaml", "text/yaml"})
#: Names of encodings that a sender may use, as Python knows them. A fixed list, since Python
#: remembers each name it was ever asked for (encodings._cache), and some of its codecs take
#: quadratic time (punycode, idna). ``binary`` is kombu's word for bytes that need no decoding.
_ENCODINGS = {
    **{name: name for name in ("utf-8", "ascii", "latin-1", "cp1252", "utf-16", "utf-32")},
    **{name: name for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8-sig")},
    **dict.fromkeys(("", "utf8", "utf_8", "binary", "ascii-8bit"), "utf-8"),
    "us-ascii": "ascii",
    "windows-1252": "cp1252",
    **dict.fromkeys(("latin1", "latin_1", "iso-8859-1", "iso8859-1"), "latin-1"),
}
#: C is eight times as fast; not every build of PyYAML has it.
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_OPENS = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_YAML_CLOSES = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


def load(framed: Framed) -> Any:
    """Return the plain object that a body holds.

    Raises RefusedError for a content type or an encoding that is not read, and whatever the
    parsers raise on a body they cannot read.
    """
    content_type = (framed.content_type or "").partition(";")[0].strip().lower()
    if content_type in _UNSAFE:
        raise RefusedError("unsafe_content_type")
    if content_type in _MSGPACK:
        return msgspec.msgpack.decode(framed.body, strict=False)
    if content_type in _JSON or content_type == "":
        # json of the standard library, since it takes what kombu's writes: NaN, lone surrogates.
        return json.loads(
            _text(framed), parse_constant=_no_number, parse_float=_finite, parse_int=_short
        )
    if content_type in _YAML:
        if len(framed.body) > MAX_YAML_BYTES:
            raise RefusedError("too_large")
        return _load_yaml(_text(framed))
    raise RefusedError(
        "too_large" if content_type == OVERSIZED_CONTENT_TYPE else "unknown_content_type"
    )


def _load_yaml(text: str) -> Any:
    depth = 0
    for token in yaml.scan(text, _YamlLoader):
        if isinstance(token, yaml.AliasToken):
            raise RefusedError("malformed")  # aliases expand without bound, and Celery sends none
        if isinstance(token, _YAML_OPENS):
            depth += 1
            if depth > MAX_YAML_DEPTH:
                raise RefusedError("malformed")
        elif isinstance(token, _YAML_CLOSES):
            depth -= 1
    return yaml.load(text, _YamlLoader)  # noqa: S506  # it is the safe loader, in C


def _text(framed: Framed) -> str:
    encoding = _ENCODINGS.get((framed.content_encoding or "").lower())
    if encoding is None:
        raise RefusedError("bad_encoding")
    try:
        return framed.body.decode(encoding)
    except ValueError:
        raise RefusedError("bad_encoding") from None


def _no_number(_literal: str) -> None:
    """NaN and Infinity stand for no value."""


def _finite(literal: str) -> float | None:
    value = float(literal)
    return value if math.isfinite(value) else None


def _short(literal: str) -> int | None:
    # Python refuses to read more than 4300 digits, and would refuse the whole message.
    return int(literal) if len(literal) < 4000 else None
