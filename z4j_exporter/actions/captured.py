"""Gives actions what the capture journal knows: a task's message, exact or withheld, and its group.

What the journal holds is a note about a message, in the hook's words. Here it becomes the message
again, or it is said why it cannot: nothing that was redacted, cut or lost on the way is sent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from z4j_exporter.actions.groups import MOST_MEMBERS, Group
from z4j_exporter.actions.messages_body import look
from z4j_exporter.actions.model import ActionError
from z4j_exporter.config import Settings
from z4j_exporter.journal.model import (
    Body,
    JournalError,
    StoredGroup,
    StoredPayload,
    StoreError,
)
from z4j_exporter.journal.store import make_payload_store

#: Seconds that the store of payloads may take: less than one task of a job has (bulk.py).
STORE_SECONDS: Final = 2.0
#: Members of a group that are looked at for the body of its chord: all carry the same one.
_BODIES_TRIED: Final = 10
#: Characters at which the hook cuts a name (capture/events.py).
_CUT_NAME: Final = 255
#: What stands in a header for what the hook did not copy (capture/snapshot.py).
_CUT: Final = "…"
_PLACEHOLDER: Final = re.compile(r"<[\w.]+>")
#: The hook's reasons (capture/events.py), for people. Others come from outside: not echoed.
_REASONS: Final = {
    "redacted": "it holds a secret, which was redacted",
    "too_large": "it was too large",
    "disabled": "the hook is told to keep no payloads",
    "unserialisable": "it could not be looked into for secrets",
    "store_failed": "the store of payloads did not take it",
    "stored": "it is in the store of payloads, and may not be sent again",
}


class Reads(Protocol):
    """The journal; see journal.reader.JournalReader. Every method raises JournalError."""

    def payload(self, uuid: str) -> StoredPayload | None:
        """Return what a task was last published with."""

    def group(self, group_id: str, limit: int = ...) -> StoredGroup | None:
        """Return a group's members."""


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """One message as the hook kept it; payload.CapturedPayload says what the fields mean."""

    body: bytes | None = field(repr=False)
    content_type: str
    content_encoding: str
    name: str
    queue: str | None
    exchange: str | None
    routing_key: str | None
    priority: int | None
    headers: Mapping[str, Any] = field(repr=False)
    withheld: str = ""

    @property
    def replayable(self) -> bool:
        """Whether it may be sent again: it is the message that was sent, and whole."""
        return not self.withheld


class CaptureJournal:
    """The capture journal as actions ask it, with the store of payloads that the settings name.

    Threads may share it. ``store_seconds``: what fetching one payload may take. Raises
    BrokerUrlError, ConfigError or FileError for a store that cannot be used.
    """

    def __init__(
        self, reader: Reads, settings: Settings, *, store_seconds: float = STORE_SECONDS
    ) -> None:
        self._reader = reader
        self._store = make_payload_store(settings)
        self._store_seconds = store_seconds

    def payload(self, task_id: str) -> CapturedMessage | None:
        """Return the last message that a task was sent with; None when it was not captured.

        Raises ActionError (503) where the journal or the store of payloads cannot be read.
        """
        try:
            stored = self._reader.payload(task_id)
        except JournalError as error:
            raise _unreadable(error) from None
        if stored is None:
            return None
        why = _why_not(stored)
        body = stored.body
        if body is None and not why:
            body, why = self._fetched(stored)
        return _message(stored, body, why)

    def group(self, group_id: str, limit: int = MOST_MEMBERS) -> Group | None:
        """Return a group's members in the order of their indexes; None when none is known.

        ``chord_body`` is the body's signature as it was sent, else None: never a copy without its
        arguments or with some of them redacted. Raises ActionError (503).
        """
        try:
            found = self._reader.group(group_id, limit)
        except JournalError as error:
            raise _unreadable(error) from None
        if found is None or not found.is_chord:
            return found
        return replace(found, chord_body=self._chord_body(found))

    def _chord_body(self, group: StoredGroup) -> Mapping[str, Any] | None:
        # Out of the message itself: what the note has beside it is for people to look at.
        for member in [m for m in group.members if m.published][:_BODIES_TRIED]:
            message = self.payload(member.uuid)
            if message is not None and (body := chord_of(message)) is not None:
                return body
        return None

    def _fetched(self, stored: StoredPayload) -> tuple[Body | None, str]:
        """Return the body that lies in the store of payloads, or why there is none."""
        key = stored.envelope.stored_key
        if not key:
            return None, "its payload is not there"
        if self._store is None:
            return None, "it is in the store of payloads; --capture-store-url does not say where"
        try:
            body = self._store.fetch(key, self._store_seconds)
        except StoreError as error:
            raise ActionError(
                "capture-store-unavailable",
                503,
                "The store of payloads cannot be read now; nothing was done.",
                hint=error.hint or error.message,
            ) from None
        return body, "" if body is not None else "the store of payloads does not have it any more"


def chord_of(message: CapturedMessage) -> Mapping[str, Any] | None:
    """Return the signature of the chord's body that a message carries; None without one.

    Only out of JSON: there it stands as Celery wrote it.
    """
    if message.body is None or not message.replayable:
        return None
    try:
        seen = look(message.body, message.content_type, message.content_encoding, {})
    except ActionError:
        return None
    chord = seen.parts[2].get("chord") if seen.parts is not None else None
    return chord if isinstance(chord, dict) and chord else None


def _why_not(stored: StoredPayload) -> str:
    """Return why a message may not be sent again, before its body is looked for; "" if it may.

    Signatures beside the body do not count: it has them itself. Headers have no second place.
    """
    envelope = stored.envelope
    if not envelope.replayable:
        return _REASONS.get(envelope.withheld, "the hook says so")
    if not envelope.name or len(envelope.name) >= _CUT_NAME:
        return "its task's name is not known"
    if stored.body is None and "payload" in stored.incomplete:
        return "its payload cannot be read"
    if stored.incomplete & {"headers", "stamps"}:
        return "its headers were redacted or too long to keep"
    if not (_is_whole(stored.headers) and _is_whole(stored.stamps)):
        return "one of its headers is of a kind that cannot be kept"
    return ""


def _is_whole(value: object) -> bool:
    """Return whether nothing in it stands for something else that was not copied."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if one == _CUT or _PLACEHOLDER.fullmatch(one):
                return False
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return True


def _message(stored: StoredPayload, body: Body | None, why: str) -> CapturedMessage:
    envelope = stored.envelope
    return CapturedMessage(
        body=None if body is None or why else body.data,
        content_type=body.content_type if body else "",
        content_encoding=body.content_encoding if body else "",
        name=envelope.name or "",
        queue=envelope.queue or None,
        exchange=envelope.exchange or None,
        routing_key=envelope.routing_key or None,
        priority=envelope.priority,
        headers=_headers(stored),
        withheld=why,
    )


def _headers(stored: StoredPayload) -> dict[str, Any]:
    """Return the message's headers, as celery/app/amqp.py ``as_task_v2`` makes them.

    The note does not tell shadow, argsrepr and kwargsrepr. Nor a compression: its body has none.
    """
    envelope = stored.envelope
    return {
        **stored.headers,
        "lang": "py",
        "task": envelope.name,
        "id": envelope.uuid,
        "eta": envelope.eta,
        "expires": envelope.expires,
        "group": envelope.group_id,
        "group_index": envelope.group_index,
        "retries": envelope.retries or 0,
        "timelimit": [envelope.time_limit, envelope.soft_time_limit],
        "root_id": envelope.root_id,
        "parent_id": envelope.parent_id,
        "origin": envelope.origin,
        "ignore_result": envelope.ignore_result,
        "replaced_task_nesting": envelope.replaced_task_nesting or 0,
        # Celery names the stamps in one header and has them in the other.
        "stamped_headers": list(stored.stamps) or None,
        "stamps": dict(stored.stamps),
    }


def _unreadable(error: JournalError) -> ActionError:
    return ActionError(
        "capture-journal-unavailable",
        503,
        "The journal of captured messages cannot be read now; nothing was done.",
        hint=error.hint or error.message,
    )
