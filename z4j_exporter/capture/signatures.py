"""Signatures of links, chains and chord bodies as JSON: whole, or without their arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from z4j_exporter.capture.snapshot import CUT

#: Deeper canvases are cut there.
_DEEPEST = 24
#: What tells a signature's form; args, kwargs and options tell what it does.
_FORM = ("task", "subtask_type", "immutable", "chord_size")
_ROUTING = ("task_id", "queue", "priority", "group_id", "group_index", "root_id", "parent_id")


def bare(signature: Any, depth: int = _DEEPEST) -> Any:
    """Return a signature without arguments: names, ids and the form of groups, chains, chords."""
    if depth == 0 or not isinstance(signature, Mapping):
        return None
    kept = {key: signature[key] for key in _FORM if key in signature}
    options = signature.get("options")
    if isinstance(options, Mapping):
        kept["options"] = {key: options[key] for key in _ROUTING if options.get(key) is not None}
    kwargs = signature.get("kwargs")
    if signature.get("subtask_type") in {"group", "chain", "chord"} and isinstance(kwargs, Mapping):
        kept["kwargs"] = {
            key: _each(kwargs[key], depth - 1)
            for key in ("tasks", "header", "body")
            if key in kwargs
        }
    return kept


def _each(value: Any, depth: int) -> Any:
    if isinstance(value, list | tuple):
        return [bare(one, depth) for one in value]
    return bare(value, depth)


def links(embed: Mapping[str, Any], *, whole: bool, limit: int) -> dict[str, Any]:
    """Return the envelope's fields of what follows a task: links, chain and chord.

    A field of more than `limit` bytes is left out and named in `omitted`: half a signature would be
    another one.
    """
    fields: dict[str, Any] = {}
    omitted = []
    for key in ("callbacks", "errbacks", "chain", "chord"):
        value = embed.get(key)
        if not value:
            continue
        name = "chord_body" if key == "chord" else key
        if not whole and value != CUT:
            value = _each(value, _DEEPEST)
        if value != CUT and _fits(value, limit):
            fields[name] = value
        else:
            omitted.append(name)
    chord = embed.get("chord")
    if isinstance(chord, Mapping):
        fields["chord_size"] = chord.get("chord_size")
    if omitted:
        fields["omitted"] = omitted
    return fields


def _fits(value: Any, limit: int) -> bool:
    try:
        return len(json.dumps(value, allow_nan=False)) <= limit
    except (TypeError, ValueError, RecursionError):
        return False
