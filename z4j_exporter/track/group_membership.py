"""What a note of the capture hook tells of groups: who is a member, who will be, who is a body.

What Celery 5.4 to 5.7 put into messages (celery/canvas.py), found by publishing each kind:

- A member carries the group's id and its index. Groups inside a group are flattened into it, and
  count their indexes from 0 again: an index may come twice.
- Of a chain that is a member only the last task carries both. It is published when the ones before
  it are done, but their messages announce it, in the signatures of the chain.
- A chord's header is a group whose members carry the body's signature, too. The body carries the
  header's group id without an index, and is no member; within another group it carries that one's.
- A body that is a group has members with the header's group id, an index, and no body to follow.
- A retry, and what replaces a task, keep the uuid and the place. A group that replaces a task
  becomes a chord whose body has the task's uuid and place.
"""

from msgspec import Struct

from z4j_exporter.events.captured import (
    Envelope,
    RunNote,
    Signature,
    body_of,
    signature,
    signatures,
)

#: Members that one chain announces; a real one announces one.
MAX_AHEAD = 8

#: A group's id, and whether it is the header of a chord: a body that is a group has the same id.
Key = tuple[str, bool]


class Member(Struct, frozen=True, gc=False):
    """A task's place in a group."""

    uuid: str
    key: Key
    name: str | None = None
    index: int | None = None


class Told(Struct, frozen=True, gc=False):
    """All that one note says of groups."""

    uuid: str
    root_id: str | None
    #: None where it is the task itself: a retry or a replacement.
    parent_id: str | None
    #: The task's own place.
    member: Member | None = None
    #: Members that follow in this task's chain, and fail with it.
    ahead: tuple[Member, ...] = ()
    #: The id of the group that this task's chain is a part of, also where it ends in a group.
    chain_group: str | None = None
    #: The uuid of the body that follows the header this task is in.
    body: str | None = None
    #: The place of that body in a group around the chord.
    body_member: Member | None = None
    #: The group id of the header whose body this task begins.
    header: str | None = None
    #: Tasks which this message begins: itself, or a chain that ends in another.
    begins: tuple[str, ...] = ()
    #: Members of the header, where the backend wants to know.
    size: int | None = None


def membership(note: Envelope | RunNote) -> Told:
    """Return what a note says of groups."""
    chain = signatures(note.chain) if isinstance(note, Envelope) else []
    follows = signature(note.chord_body) if isinstance(note, Envelope) else None
    body = None if follows is None else follows.options.task_id
    in_chord = note.chord_id is not None or follows is not None
    member = header = None
    if note.group_id is not None:
        if note.group_index is not None or in_chord:
            member = Member(note.uuid, (note.group_id, in_chord), note.name, note.group_index)
        else:
            header = note.group_id
    ends = [body_of(each) or each for each in chain[:MAX_AHEAD]]
    return Told(
        uuid=note.uuid,
        root_id=note.root_id,
        parent_id=None if note.parent_id == note.uuid else note.parent_id,
        member=member,
        ahead=tuple(member for end in ends if (member := _place(end)) is not None),
        chain_group=next((e.options.group_id for e in ends if _is_placed(e)), None),
        body=body,
        body_member=None if follows is None else _place(follows),
        header=header,
        begins=(note.uuid, *(s.options.task_id for s in chain[:MAX_AHEAD] if s.options.task_id)),
        size=note.chord_size if isinstance(note, Envelope) else None,
    )


def _place(task: Signature) -> Member | None:
    """Return the place of a task that will be published; None for a group, which is no task."""
    options = task.options
    if (
        options.task_id is None
        or options.group_id is None
        or not _is_placed(task)
        or task.subtask_type == "group"
    ):
        return None
    in_chord = bytes(options.chord) not in (b"", b"null", b"false")
    return Member(options.task_id, (options.group_id, in_chord), task.task, options.group_index)


def _is_placed(task: Signature) -> bool:
    return task.options.group_id is not None and task.options.group_index is not None
