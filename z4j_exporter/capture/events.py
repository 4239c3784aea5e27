"""Makes the hook's events (z4j-envelope, z4j-run, z4j-end, z4j-report) of what was captured."""

from __future__ import annotations

import base64
import functools
import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery.utils.nodenames import anon_nodename

from z4j_exporter.capture import bodies, hook, signatures
from z4j_exporter.capture.appname import dotted_path
from z4j_exporter.capture.handlers import CELERY_HEADERS
from z4j_exporter.capture.records import Began, Ended, Published
from z4j_exporter.capture.redaction import Bounds, Redactor
from z4j_exporter.capture.snapshot import Body, plain
from z4j_exporter.capture.store import PayloadStore

if TYPE_CHECKING:
    from z4j_exporter.capture.intake import Intake
    from z4j_exporter.capture.settings import Settings

#: The version of the events' form.
VERSION = 1
#: Characters of a name and of an id, as the exporter takes them.
_LONGEST_NAME = 255
_LONGEST_ID = 512
#: Levels of a body that redaction goes into: canvases within canvases take three each.
_DEEPEST = 100
#: Bytes of redacted arguments, of headers and of stamps, for people to look at.
_LONGEST_SHOWN = 8 * 1024
#: kombu's names for an encoding that is none.
_BINARY = frozenset({"binary", "ascii-8bit"})
#: What celery.utils.saferepr writes where it cuts a repr.
_CELERYS_CUT = "..."


class EventMaker:
    """Turns captured signals into events, as JSON types; redaction happens here."""

    def __init__(self, app: Any, settings: Settings, intake: Intake) -> None:
        self._settings = settings
        self._intake = intake
        self._pid = os.getpid()
        self._since = time.time()
        self._app = settings.name or dotted_path(app)
        self.hostname = hook.nodename or anon_nodename()
        redactor = Redactor(settings.redact_keys, settings.redact_patterns)
        # Nothing that fits into a payload is cut: what is cut counts as redacted.
        most = max(100_000, 2 * settings.max_payload_bytes)
        bounds = Bounds(depth=_DEEPEST, items=most, characters=most)
        self._redact = functools.partial(redactor.redact_value, bounds=bounds)
        self._store = PayloadStore(settings) if settings.payload == "store" else None

    def event(self, item: Published | Began | Ended) -> dict[str, Any]:
        """Make the event of one captured signal."""
        if isinstance(item, Published):
            return self._envelope(item)
        return self._run(item) if isinstance(item, Began) else self._end(item)

    def report(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """Make the hook's own event, of counts since the process began to capture."""
        return self._event("z4j-report", time.time(), {"since": self._since, **figures})

    def _event(
        self, kind: str, at: float, note: Mapping[str, Any], hostname: str = ""
    ) -> dict[str, Any]:
        return {
            "type": kind,
            "timestamp": at,
            "hostname": hostname or self.hostname,
            "pid": self._pid,
            # In a field of its own: readers of Celery's events pass over it as a whole.
            "z4j": {"v": VERSION, "app": self._app, **note},
        }

    def _envelope(self, item: Published) -> dict[str, Any]:
        headers = _headers(item)
        looked = bodies.look(item.body, self._redact)
        note = _identity(headers)
        note.update(
            name=_text(item.name),
            queue=item.queue or (item.routing_key if not item.exchange else ""),
            exchange=item.exchange,
            routing_key=item.routing_key,
            priority=_byte(item.priority),
            traceparent=_text(headers.get("traceparent")) or item.traceparent,
        )
        custom = {
            k: v for k, v in headers.items() if k not in CELERY_HEADERS and k not in item.custom
        }
        note.update(self._shown("headers", {**plain(custom), **item.custom}))
        note.update(self._shown("stamps", item.stamps))
        note.update(self._payload(item.body, looked))
        if note["withheld"] == "redacted" or (looked.secret and note["withheld"] == "stored"):
            note.update(_for_people(looked, headers, self._redact))
        embed = self._embed(item, looked)
        whole = note["withheld"] in {"", "redacted"}
        limit = self._settings.max_payload_bytes
        note.update(signatures.links(embed, whole=whole, limit=limit))
        if embed.get("chord"):
            note["chord_id"] = note["group_id"]
            note["chord_size"] = item.chord_size or note.get("chord_size")
        return self._event("z4j-envelope", item.at, note)

    def _embed(self, item: Published, looked: bodies.Looked) -> Mapping[str, Any]:
        embed = looked.embed
        if not isinstance(embed, Mapping):  # a body that does not show it
            embed = self._redact(item.embed or {})[0]
        return embed if isinstance(embed, Mapping) else {}

    def _payload(self, body: Body, looked: bodies.Looked) -> dict[str, Any]:
        """Give the payload, or why there is none, and whether a retry can be made of it."""
        if body.data is None:
            return self._withheld(body.withheld)
        if not looked.readable:
            return self._withheld("unserialisable")
        if looked.secret and not (self._store and self._store.encrypts):
            return self._withheld("redacted")
        payload = _encoded(body)
        if payload is None:
            return self._withheld("unserialisable")
        if self._store is None:
            return {"payload": payload, "withheld": "", "replayable": True}
        key = self._store.save(payload)
        if not key:
            return self._withheld("redacted" if looked.secret else "store_failed")
        return {**self._withheld("stored"), "stored_key": key, "replayable": True}

    def _withheld(self, reason: str) -> dict[str, Any]:
        self._intake.withheld[reason] += 1
        return {"withheld": reason, "replayable": False}

    def _shown(self, name: str, value: Any) -> dict[str, Any]:
        """Give a field with its secrets replaced, and say so; nothing for nothing."""
        if not value:
            return {}
        try:
            clean, secret = self._redact(value)
        except Exception:  # noqa: BLE001  # a user's pattern: rather nothing than a secret
            return {f"{name}_redacted": True}
        fields = {name: _bounded(clean)}
        if secret:
            fields[f"{name}_redacted"] = True
        return fields

    def _run(self, item: Began) -> dict[str, Any]:
        request = item.request
        delivery = request.get("delivery_info")
        delivery = delivery if isinstance(delivery, Mapping) else {}
        exchange, routing_key = (_text(delivery.get(k)) for k in ("exchange", "routing_key"))
        note = _identity(request)
        note.update(
            name=_text(item.name),
            chord_id=note["group_id"] if request.get("chord") else None,
            priority=_byte(delivery.get("priority")),
            exchange=exchange,
            routing_key=routing_key,
            # The default exchange routes by the name of the queue; others do not tell it.
            queue="" if exchange else routing_key,
            redelivered=bool(delivery.get("redelivered")),
            pid=item.pid,
            thread=_text(item.thread),
            traceparent=_text(request.get("traceparent")),
        )
        return self._event("z4j-run", item.at, note, _text(request.get("hostname")))

    def _end(self, item: Ended) -> dict[str, Any]:
        note = {
            "uuid": _id(item.uuid),
            "name": _text(item.name),
            "state": item.state,
            "retries": _count(item.retries),
            "group_id": _id(item.group) or None,
            "exception": _text(item.exception),
            "runtime": item.runtime,
        }
        return self._event("z4j-end", item.at, note, item.hostname)


def _headers(item: Published) -> dict[str, Any]:
    """Celery's headers of a message; in the old protocol they stand in the body."""
    headers = dict(item.headers)  # at one go: the publisher's thread may still add to it
    return {**item.old, **headers} if item.old else headers


def _identity(known: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a message's headers and a running task's request both tell."""
    limits = known.get("timelimit")
    soft_last = limits if isinstance(limits, list | tuple) and len(limits) == 2 else (None, None)
    fields = {
        "uuid": _id(known.get("id")),
        "root_id": _id(known.get("root_id")) or None,
        "parent_id": _id(known.get("parent_id")) or None,
        "retries": _count(known.get("retries")),
        "group_id": _id(known.get("group")) or None,
        "group_index": _count(known.get("group_index")),
        "time_limit": soft_last[0],
        "soft_time_limit": soft_last[1],
    }
    if "eta" in known:
        for key in ("eta", "expires", "ignore_result", "origin", "replaced_task_nesting"):
            value = known.get(key)
            fields[key] = _text(value) if isinstance(value, str) else value
    return fields


def _count(value: Any) -> int | None:
    """Pass what a reader takes for a count; a caller may have given anything."""
    return value if type(value) is int and 0 <= value <= 1_000_000 else None


def _byte(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= 255 else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:_LONGEST_NAME]


def _id(value: Any) -> str:
    return "" if value is None else str(value)[:_LONGEST_ID]


def _encoded(body: Body) -> dict[str, Any] | None:
    """Give the wire form of a body; None when its bytes are not what its encoding says."""
    data = body.data
    if body.content_encoding in _BINARY:
        raw = data.encode("latin-1") if isinstance(data, str) else data or b""
        text = base64.b64encode(raw).decode("ascii")
    elif isinstance(data, bytes):
        try:
            text = data.decode(body.content_encoding)
        except (UnicodeDecodeError, LookupError):
            return None
    else:
        text = data or ""
    return {
        "content_type": body.content_type,
        "content_encoding": body.content_encoding,
        "body": text,
    }


def _for_people(
    looked: bodies.Looked, headers: Mapping[str, Any], redact: bodies.Redact
) -> dict[str, Any]:
    """Redacted arguments to look at; of a pickle, Celery's own reprs of them."""
    args, kwargs = looked.args, looked.kwargs
    if looked.embed is None and args is None:
        args, kwargs = (redact(_whole(headers.get(k)))[0] for k in ("argsrepr", "kwargsrepr"))
    return {"redacted_args": _bounded(args), "redacted_kwargs": _bounded(kwargs)}


def _whole(text: Any) -> str:
    """Give one of Celery's reprs without the words that it cut: no pattern knows half a secret."""
    *cut, last = ("" if text is None else str(text)).split(_CELERYS_CUT)
    return _CELERYS_CUT.join([*(part[: part.rfind(" ") + 1] for part in cut), last])


def _bounded(value: Any) -> Any:
    """Cut a value to what people look at: as JSON types, or, when it is long, as the text of it."""
    small = plain(value)
    text = json.dumps(small, ensure_ascii=False)
    return small if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
