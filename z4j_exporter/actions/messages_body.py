"""Looks into the body of a task's message without running any of it, and takes chords out of it.

A body of protocol 2 is ``[args, kwargs, embed]`` (celery/app/amqp.py ``as_task_v2``), and ``embed``
holds what comes after the task: callbacks, errbacks, chain, chord. A message that is sent again
must not bring its chord along: the header would be counted twice (docs/actions.md, "Chords").
"""

import bz2
import json
import lzma
import pickletools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import yaml

from z4j_exporter.actions.model import ActionError

#: Bytes of a body, after decompression. Larger ones are not sent again.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
#: YAML is slow to parse.
_MAX_YAML_BYTES: Final = 256 * 1024
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "", "binary"})
_JSON: Final = frozenset({"application/json", "text/json"})
_YAML: Final = frozenset({"application/x-yaml", "application/yaml", "text/yaml"})
_MSGPACK: Final = frozenset({"application/x-msgpack", "application/msgpack"})
_PICKLE: Final = frozenset({"application/x-python-serialize"})
#: Options of a signature by which it belongs to a group or chord.
_MEMBERSHIP: Final = ("chord", "group_id", "group_index")
#: The parts of embed, and how they are called in an answer.
_LINKS: Final = ("callbacks", "errbacks", "chain")
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Opcodes by which a pickle remembers a value; they change nothing.
_MEMO: Final = frozenset({"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"})


@dataclass(frozen=True, slots=True)
class Looked:
    """What a body holds. ``parts`` is ``[args, kwargs, embed]`` where it is JSON, undecoded.

    Undecoded: kombu's marks of types (``{"__type__": "datetime", …}``) stay as they are, so that
    what is written again is what was read, whatever types the application has registered.
    """

    parts: list[Any] | None
    #: A chord is embedded in it, or in what it is chained to.
    has_chord: bool
    #: What comes after it: callbacks, errbacks, chain; None where that cannot be seen.
    links: tuple[str, ...] | None = None


def look(body: bytes, content_type: str, encoding: str, headers: Mapping[str, Any]) -> Looked:
    """Return what a body of protocol 2 holds.

    Pickle is never loaded: its instructions are read. Raises ActionError (422, payload-opaque)
    where it cannot be seen that no chord is inside.
    """
    kind = content_type.partition(";")[0].strip().lower()
    raw = expand(body, headers.get("compression"))
    try:
        if kind in _JSON:
            return _look_json(raw, encoding)
        if kind in _YAML:
            return _look_yaml(raw)
        if kind in _MSGPACK:
            return _look_plain(msgspec.msgpack.decode(raw, strict=False))
        if kind in _PICKLE:
            return _look_pickle(raw)
    except ActionError:
        raise
    except Exception:  # noqa: BLE001 - parsers raise what they like on a body they cannot read
        raise opaque("the message cannot be read by its content type") from None
    raise opaque("the message is of a content type that cannot be looked into")


def without_membership(parts: list[Any]) -> tuple[list[Any], bool]:
    """Return the parts without chord and group, and whether there were any.

    In what it is chained to as well: the last of a chain that is a chord's header carries it.
    Whole chords and groups that the chain goes on to are left as they are.
    """
    args, kwargs, embed = parts
    cleaned: dict[str, Any] = dict(embed)
    found = bool(cleaned.get("chord"))
    cleaned["chord"] = None
    chain = cleaned.get("chain")
    if isinstance(chain, list):
        steps = []
        for step in chain:
            options = step.get("options") if isinstance(step, dict) else None
            if isinstance(options, dict) and any(options.get(name) for name in _MEMBERSHIP):
                found = True
                kept = {name: value for name, value in options.items() if name not in _MEMBERSHIP}
                step = {**step, "options": kept}
            steps.append(step)
        cleaned["chain"] = steps
    return [args, kwargs, cleaned], found


def expand(body: bytes, compression: object) -> bytes:
    """Return a body decompressed (kombu/compression.py), up to MAX_BODY_BYTES.

    Raises ActionError (422, payload-opaque).
    """
    if len(body) > MAX_BODY_BYTES:
        raise opaque("the message is too large")
    if not compression:
        return body
    try:
        expanded = _expanded(body, compression)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        raise opaque("the message cannot be decompressed") from None
    if len(expanded) > MAX_BODY_BYTES:
        raise opaque("the message is too large")
    return expanded


def opaque(why: str) -> ActionError:
    """Return the refusal of a message that cannot be looked into."""
    return ActionError(
        "payload-opaque",
        422,
        f"{why}: whether a chord would be counted twice cannot be seen",
        hint="Messages in JSON, YAML, msgpack and pickle can be sent again; of those with a chord "
        "only JSON.",
    )


def _expanded(body: bytes, compression: object) -> bytes:
    limit = MAX_BODY_BYTES + 1
    if compression in ("application/x-gzip", "gzip", "zlib"):
        return zlib.decompressobj().decompress(body, limit)
    if compression in ("application/x-bz2", "bzip2", "bzip"):
        return bz2.BZ2Decompressor().decompress(body, limit)
    if compression in ("application/x-lzma", "lzma", "xz"):
        return lzma.LZMADecompressor().decompress(body, limit)
    raise opaque("the message is compressed in a way that is not known")


def _look_json(raw: bytes, encoding: str) -> Looked:
    if encoding.lower() not in _UTF8:
        raise opaque("the message is in an encoding that is not known")
    # Neither kombu's hook for types nor our own for odd numbers: what is written again is equal.
    return _look_plain(json.loads(raw.decode("utf-8")), keep=True)


def _look_plain(value: Any, *, keep: bool = False) -> Looked:
    if not (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], list)
        and isinstance(value[1], dict)
        and isinstance(value[2], dict | None)
    ):
        raise opaque("the message is not one of Celery's protocol 2")
    embed: dict[str, Any] = value[2] or {}
    parts: list[Any] = [value[0], value[1], embed]
    links = tuple(name for name in _LINKS if embed.get(name))
    return Looked(parts if keep else None, without_membership(parts)[1], links)


def _look_yaml(raw: bytes) -> Looked:
    if len(raw) > _MAX_YAML_BYTES:
        raise opaque("the message is a large one in YAML")
    # Nodes and not values: nothing is built, and an alias is the same node, however often.
    root = yaml.compose(raw.decode("utf-8"), _YamlLoader)
    if not isinstance(root, yaml.SequenceNode) or len(root.value) != 3:
        raise opaque("the message is not one of Celery's protocol 2")
    embed = root.value[2]
    if not isinstance(embed, yaml.MappingNode):
        raise opaque("the message is not one of Celery's protocol 2")
    set_ones = {key.value for key, value in embed.value if value.tag != "tag:yaml.org,2002:null"}
    chained = [value for key, value in embed.value if key.value == "chain"]
    return Looked(
        None,
        "chord" in set_ones or any(_yaml_names_membership(node) for node in chained),
        tuple(name for name in _LINKS if name in set_ones),
    )


def _yaml_names_membership(start: yaml.Node) -> bool:
    waiting, seen = [start], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value in _MEMBERSHIP and value.tag != "tag:yaml.org,2002:null":
                    return True
                waiting.append(value)
    return False


def _look_pickle(raw: bytes) -> Looked:
    """Read a pickle's instructions: its end must say that there is no chord.

    The last instructions of ``(args, kwargs, {…, 'chain': None, 'chord': None})`` set these keys
    and close the tuple. A chain may be there if no word in all the message says chord or group.
    """
    steps = [(op.name, arg) for op, arg, _ in pickletools.genops(raw) if op.name not in _MEMO]
    *_, key, none, sets, closes, stops = steps
    ending = (none[0], sets[0], closes[0], stops[0])
    if ending != ("NONE", "SETITEMS", "TUPLE3", "STOP") or key[1] != "chord":
        # A word that came before stands as a reference to it: that is no sure sign of anything.
        raise opaque("the message is in pickle, and a chord may be in it")
    if steps[-7][1] == "chain" and steps[-6][0] == "NONE":
        return Looked(None, has_chord=False)
    words = [arg for _, arg in steps if isinstance(arg, str)]
    if words.count("chord") > 1 or any(name in words for name in _MEMBERSHIP[1:]):
        raise opaque("the message is in pickle, and a chord may be in its chain")
    return Looked(None, has_chord=False)
