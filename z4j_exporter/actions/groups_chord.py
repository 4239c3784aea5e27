"""Makes a chord anew from what was captured of it: header and body under new ids. Pure.

A member that is sent again with its old group is counted twice (celery/backends/redis.py
``on_chord_part_return``), and a chord that has failed never runs its body. Under a new group id,
with every member, nothing was counted yet.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from z4j_exporter.actions.groups import KnownGroup
from z4j_exporter.actions.messages import Outgoing
from z4j_exporter.actions.model import ActionError, Payload

#: States in which a member does nothing any more, for certain. A lost task may yet be delivered
#: again (acks_late), and of an unseen one the end was not heard.
TERMINAL: Final = frozenset({"succeeded", "failed", "rejected", "revoked"})
#: Members of a chord that is sent again as a whole: each payload is looked at before.
MOST_MEMBERS: Final = 1000


@dataclass(frozen=True, slots=True)
class NewChord:
    """A chord that can be sent again: its new ids; the body itself comes out of each message."""

    group_id: str
    body_id: str
    size: int

    def told(self) -> dict[str, Any]:
        """Return it JSON-able, for the journal; see ``of``."""
        return {"new_group_id": self.group_id, "body_task_id": self.body_id, "size": self.size}

    @classmethod
    def of(cls, told: dict[str, Any]) -> "NewChord":
        """Return what ``told`` gave."""
        return cls(told["new_group_id"], told["body_task_id"], told["size"])


@dataclass(frozen=True, slots=True)
class Header:
    """A chord's header as it was captured."""

    known: KnownGroup
    #: Of each member, in their order.
    payloads: Sequence[Payload] = field(repr=False)
    #: How many members Celery counted when it was published; None where nobody heard.
    size: int | None


def check_members(known: KnownGroup) -> None:
    """Refuse a group that cannot be sent again as a whole, as far as its members tell.

    Raises ActionError (422): no-chord, chord-too-large, chord-member-active, chord-incomplete.
    """
    group = known.group
    if not group.is_chord:
        raise _refused("no-chord", "The group is no header of a chord.")
    if group.truncated or len(group.members) > MOST_MEMBERS:
        raise _refused("chord-too-large", f"The chord has more than {MOST_MEMBERS} members.")
    active = sum(1 for member in known.members if member.state not in TERMINAL)
    if active:
        raise _refused(
            "chord-member-active",
            f"Of {active} of its {len(known.members)} members the end is not known for certain.",
            "Wait until each has succeeded, failed, or was revoked.",
        )
    if group.chord_body is None or not all(member.published for member in group.members):
        raise _refused("chord-not-captured", "Not all of the chord was captured.", _HOOK)


def check_header(header: Header) -> None:
    """Refuse a chord that could not be rebuilt from its messages. Raises ActionError (422)."""
    group = header.known.group
    if header.size is None or header.size != len(header.payloads):
        raise _refused(
            "chord-incomplete", "Not every member of the chord is known for certain.", _HOOK
        )
    indexes = [payload.headers.get("group_index") for payload in header.payloads]
    if sorted(indexes, key=repr) != sorted(range(len(indexes)), key=repr):
        raise _refused("chord-complex", "Its header is not a plain row of tasks.")
    first = header.payloads[0].chord
    for payload in header.payloads:
        if payload.source != "capture":
            raise _refused("chord-not-captured", "Not all of the chord was captured.", _HOOK)
        if payload.headers.get("group") != group.group_id:
            raise _refused("chord-complex", "Its header is not a plain row of tasks.")
        if payload.args is None or payload.chord is None or payload.chord != first:
            raise _refused(
                "chord-not-readable", "Its messages do not all have the chord's body, in JSON."
            )
    _check_body(first or {}, group.group_id)


def _check_body(body: dict[str, Any], group_id: str) -> None:
    options = body.get("options")
    if not isinstance(body.get("task"), str) or not isinstance(options, dict):
        raise _refused("chord-complex", "Its body is not one task.")
    # A chain, group or chord as body has ids of its own inside, all used once already.
    if body.get("subtask_type") or body["task"].startswith("celery."):
        raise _refused("chord-complex", "Its body is not one task.")
    if options.get("chord") or options.get("group_id") not in (None, group_id):
        raise _refused("chord-complex", "The chord is itself a member of a group or chord.")


def as_member(message: Outgoing, payload: Payload, chord: NewChord) -> Outgoing:
    """Return a message, as composed for a single retry, as a member of the new chord."""
    parts = json.loads(message.body)
    parts[2]["chord"] = _new_body(payload.chord or {}, chord)
    return replace(
        message,
        body=json.dumps(parts).encode("ascii"),
        headers={
            **message.headers,
            "group": chord.group_id,
            "group_index": payload.headers.get("group_index"),
        },
        dropped=tuple(name for name in message.dropped if name not in ("group", "chord")),
    )


def _new_body(signature: dict[str, Any], chord: NewChord) -> dict[str, Any]:
    body = copy.deepcopy(signature)
    # Whoever waits for the first body waits on another id (RPC backend).
    options = {key: value for key, value in body["options"].items() if key != "reply_to"}
    # Celery freezes the body with the id of its header's group (canvas.py ``_chord.run``).
    if options.get("group_id") is not None:
        options["group_id"] = chord.group_id
    body["options"] = {**options, "task_id": chord.body_id}
    return body


_HOOK: Final = (
    "The capture hook must be installed where the chord is published; see docs/capture.md."
)


def _refused(kind: str, detail: str, hint: str = "") -> ActionError:
    return ActionError(
        kind,
        422,
        detail,
        hint=hint
        or "Its failed members can be sent again: leave whole out. The body does not run.",
    )
