"""Sends a whole chord again: looks at every member first, announces its size, sends the header."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from z4j_exporter.actions.engine_parts import Performs, options_of
from z4j_exporter.actions.engine_retry import Ready
from z4j_exporter.actions.groups import KnownGroup
from z4j_exporter.actions.groups_chord import (
    Header,
    NewChord,
    as_member,
    check_header,
    check_members,
)
from z4j_exporter.actions.messages import Outgoing, compose
from z4j_exporter.actions.model import ActionError, Payload

#: Seconds that one member's captured payload may take.
_FIND_SECONDS: Final = 3.0
#: Returns how many members the chord of these tasks was published with; None where nobody heard.
Size = Callable[[Sequence[str]], int | None]


class SendsChords(Protocol):
    """What is done to broker and result backend; see groups_send.ChordSender."""

    def announce(self, group_id: str, size: int) -> None:
        """Tell the result backend how many members there will be. Raises ActionError."""

    def send(
        self, payload: Payload, message: Outgoing, *, queue: str | None, new_queue: bool
    ) -> str | None:
        """Send a member's message, once; return its queue. Raises ActionError."""


class Chords:
    """How whole chords are sent again."""

    def __init__(self, performer: Performs, sender: SendsChords, size: Size) -> None:
        self._performer = performer
        self._sender = sender
        self._size = size

    def plan(self, known: KnownGroup) -> NewChord:
        """Return the new ids of a chord that can be sent again. Raises ActionError (422, 503)."""
        check_members(known)
        ids = [member.task_id for member in known.members]
        payloads = []
        for task_id in ids:
            payload = self._performer.find(task_id, timeout_seconds=_FIND_SECONDS)
            payloads.append(payload)
            if payload.source != "capture":
                break  # refused below; the others need not be looked for
        check_header(Header(known, payloads, self._size(ids)))
        return NewChord(str(uuid.uuid4()), str(uuid.uuid4()), len(ids))

    def announce(self, chord: NewChord) -> None:
        """Tell the backend the size, before the first member is sent. Raises ActionError."""
        self._sender.announce(chord.group_id, chord.size)

    def send(self, ready: Ready, new_id: str, chord: NewChord) -> dict[str, Any]:
        """Send a member under its new id. Raises ActionError."""
        payload = ready.payload
        if payload.args is None or payload.chord is None:
            raise ActionError(
                "chord-not-readable", 422, "The message has no chord, or not in JSON."
            )
        plain = replace(payload, body=None, chord=None)
        message = compose(
            plain,
            new_id,
            retry_of=ready.task_id,
            retry_count=ready.count,
            origin="z4j-exporter",
            options=options_of(ready.sending),
        )
        member = as_member(message, payload, chord)
        queue = self._sender.send(
            payload, member, queue=ready.sending.queue, new_queue=ready.sending.new_queue
        )
        return {
            "task": payload.name,
            "queue": queue,
            "source": payload.source,
            "retry_count": ready.count,
            "dropped": list(member.dropped),
            "links": list(member.links),
            "absent": list(payload.absent),
            "group_id": chord.group_id,
        }
