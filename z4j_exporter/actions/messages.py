"""Builds the message that runs a task again: protocol 2, as celery/app/amqp.py makes it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from celery.utils.saferepr import saferepr

from z4j_exporter.actions.messages_body import expand, look, opaque, without_membership
from z4j_exporter.actions.model import ActionError, Payload

#: Headers of ours: which task this one repeats, and how many repeats came before.
RETRY_OF: Final = "z4j-retry-of"
RETRY_COUNT: Final = "z4j-retry-count"
#: Celery's argsrepr_maxsize and kwargsrepr_maxsize (celery/app/amqp.py).
_REPR_CHARACTERS: Final = 1024
#: AMQP's persistent delivery mode, Celery's default for tasks (task_default_delivery_mode).
_PERSISTENT: Final = 2
#: Headers that are set here, whatever the first message had.
_OWN_HEADERS: Final = frozenset(
    {"lang", "task", "id", "eta", "expires", "group", "group_index", "retries", "timelimit"}
    | {"root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", RETRY_OF, RETRY_COUNT}
    | {"compression"}
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who retries may choose; None keeps what the first message had."""

    #: Must be aware. None: now; the first message's ETA is never repeated.
    eta: datetime | None = None
    priority: int | None = None
    #: Seconds.
    time_limit: float | None = None
    soft_time_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that is ready to be sent, and what it does not repeat of the first one."""

    body: bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    #: correlation_id, reply_to, delivery_mode, priority: AMQP's properties.
    properties: dict[str, Any]
    #: group, chord, eta, expires, reply_to.
    dropped: tuple[str, ...]
    #: callbacks, errbacks, chain: what will run after it, as it would have after the first.
    links: tuple[str, ...]


def compose(
    payload: Payload,
    new_id: str,
    *,
    retry_of: str,
    retry_count: int,
    origin: str,
    options: Options | None = None,
) -> Outgoing:
    """Return the message that runs ``payload`` again under ``new_id``.

    The body is sent byte for byte where the source had it, unless a chord has to be taken out.
    root_id and parent_id stay those of the first run where they are known, so that both are found
    in one trace.

    Raises ActionError (422) where the body is too large, or cannot be looked into.
    """
    options = options or Options()
    first = payload.headers
    body, content_type, encoding, compression, links, had_chord = _body(payload)
    headers = {str(key): value for key, value in first.items() if key not in _OWN_HEADERS}
    headers.update(
        {
            "lang": "py",
            "task": payload.name,
            "id": new_id,
            "shadow": first.get("shadow"),
            "eta": options.eta.isoformat() if options.eta else None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": _time_limits(payload, options),
            "root_id": first.get("root_id") or new_id,
            "parent_id": first.get("parent_id"),
            **_reprs(payload),
            "origin": origin,
            "ignore_result": bool(first.get("ignore_result")),
            "replaced_task_nesting": first.get("replaced_task_nesting") or 0,
            "stamped_headers": first.get("stamped_headers"),
            "stamps": first.get("stamps") or {},
            RETRY_OF: retry_of,
            RETRY_COUNT: retry_count,
        }
    )
    if compression:
        headers["compression"] = compression
    priority = payload.priority if options.priority is None else options.priority
    properties: dict[str, Any] = {
        "correlation_id": new_id,
        # Of the RPC backend: whoever waits there waits for the first id.
        "reply_to": "",
        "delivery_mode": _PERSISTENT,
    }
    if priority is not None:
        properties["priority"] = priority
    dropped = [name for name in ("eta", "expires") if first.get(name)]
    if first.get("group") or payload.group_id:
        dropped.append("group")
    if had_chord or payload.chord:
        dropped.append("chord")
    return Outgoing(body, content_type, encoding, headers, properties, tuple(dropped), links or ())


def retry_count(payload: Payload) -> int:
    """Return how many retries of ours led to this payload, as its message says; 0 without one."""
    count = payload.headers.get(RETRY_COUNT)
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0


def _body(
    payload: Payload,
) -> tuple[bytes, str, str, object, tuple[str, ...] | None, bool]:
    """Return body, content type, encoding, compression, links, and whether it had a chord."""
    if payload.body is None:
        return _from_arguments(payload)
    compression = payload.headers.get("compression")
    seen = look(payload.body, payload.content_type, payload.content_encoding, payload.headers)
    if not seen.has_chord:
        kept = (payload.body, payload.content_type, payload.content_encoding)
        return (*kept, compression, seen.links, False)
    if seen.parts is None:
        raise opaque("the message has a chord and is not in JSON")
    parts, _ = without_membership(seen.parts)
    return (_json(parts), "application/json", "utf-8", None, seen.links, True)


def _from_arguments(
    payload: Payload,
) -> tuple[bytes, str, str, object, tuple[str, ...], bool]:
    if payload.args is None or payload.kwargs is None:
        raise ActionError("payload-unavailable", 422, "of the arguments only a part is known")
    embed = {
        "callbacks": list(payload.callbacks) or None,
        "errbacks": list(payload.errbacks) or None,
        "chain": list(payload.chain) or None,
        "chord": payload.chord,
    }
    parts, had_chord = without_membership([list(payload.args), payload.kwargs, embed])
    links = tuple(name for name in ("callbacks", "errbacks", "chain") if embed[name])
    body = _json(parts)
    expand(body, None)
    return body, "application/json", "utf-8", None, links, had_chord


def _json(parts: list[Any]) -> bytes:
    try:
        return json.dumps(parts).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise ActionError(
            "payload-unavailable", 422, "the arguments cannot be written as JSON"
        ) from None


def _time_limits(payload: Payload, options: Options) -> list[float | None]:
    first = payload.headers.get("timelimit")
    hard, soft = first if isinstance(first, list | tuple) and len(first) == 2 else (None, None)
    chosen = (
        (options.time_limit, payload.time_limit, hard),
        (options.soft_time_limit, payload.soft_time_limit, soft),
    )
    return [next((v for v in values if v is not None), None) for values in chosen]


def _reprs(payload: Payload) -> Mapping[str, str]:
    """Return what events will show of the arguments: as before, since they may be hidden there."""
    first = payload.headers
    args, kwargs = first.get("argsrepr"), first.get("kwargsrepr")
    if isinstance(args, str) and isinstance(kwargs, str):
        return {"argsrepr": args, "kwargsrepr": kwargs}
    if payload.args is None or payload.kwargs is None:
        return {"argsrepr": "", "kwargsrepr": ""}
    return {
        "argsrepr": str(saferepr(tuple(payload.args), _REPR_CHARACTERS)),
        "kwargsrepr": str(saferepr(payload.kwargs, _REPR_CHARACTERS)),
    }
