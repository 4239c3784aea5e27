"""A group, its members, and what is told of it."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from z4j_exporter.track.group_membership import Key
from z4j_exporter.track.transitions import UNKNOWN_TASK

#: Label value for a group whose members are not all of one task.
MIXED = "__mixed__"

GroupKind = Literal["group", "chord"]
GroupOutcome = Literal["succeeded", "failed"]


class GroupTransition(Struct, gc=False, kw_only=True):
    """A group started, finished, or a task in it failed. Never changed after it was handed out.

    ``task`` is the members' common name, else MIXED; it is the same in all that is told of one
    group. Counts and duration are there when it finished. A failure is told of the outermost
    group: ``group_id`` is that one's.
    """

    kind: Literal["started", "finished", "member_failed"]
    group_id: str
    group_kind: GroupKind
    task: str
    outcome: GroupOutcome | None = None
    #: First member published → last member's end, seconds; never negative.
    duration: float | None = None
    members: int = 0
    failed_members: int = 0
    #: The task that failed.
    uuid: str = ""


#: Takes each transition of groups as it happens.
EmitGroup = Callable[[GroupTransition], None]


class Role(Struct, gc=False):
    """What one task is to groups. It may be a member of one and the body of another."""

    uuid: str
    #: The group it is a member of.
    key: Key | None = None
    name: str | None = None
    index: int | None = None
    #: The kind of transition that ended it; None while it has not ended.
    outcome: str | None = None
    #: Its failure was told: at most once for each member.
    failure_told: bool = False
    #: Members that a chain of this task ends in, and their groups: they fail with it.
    ahead: tuple[tuple[str, Key], ...] = ()
    #: The header whose results it takes.
    body_of: Key | None = None


class Group(Struct, gc=False):
    """One group, or the header of one chord. Times are senders' clocks, epoch seconds."""

    key: Key
    #: On the tracker's clock: when the last news came.
    touched: float
    #: When the first member was published, as far as that is known.
    first: float
    roles: dict[str, Role]
    #: Uuids of tasks that are no members: bodies, and tasks whose chain ends in a member.
    related: list[str]
    last_end: float = 0.0
    #: Members that have not ended, and that ended in a failure.
    open: int = 0
    failed: int = 0
    #: Members beyond those that are remembered.
    beyond: int = 0
    size: int | None = None
    name: str | None = None
    mixed: bool = False
    #: The label, once something was told.
    label: str | None = None
    #: Tasks whose failure is told once the start is.
    unsaid: list[str] = []
    body: str | None = None
    #: When the body was published: the header is done.
    body_at: float | None = None
    #: The group that the chord's body is a member of, and the task that published this group.
    around: Key | None = None
    origin: str | None = None
    outcome: GroupOutcome | None = None
    settling: bool = False

    @property
    def kind(self) -> GroupKind:
        """Which of the two it is."""
        return "chord" if self.key[1] else "group"

    def members(self) -> int:
        """Return how many members are known."""
        return len(self.roles) + self.beyond

    def named(self, name: str | None) -> None:
        """Take note of a member's task name."""
        if name is None:
            return
        if self.name is None:
            self.name = name
        elif self.name != name:
            self.mixed = True

    def task(self) -> str:
        """Return the label of the group, as of now."""
        return MIXED if self.mixed else self.name or UNKNOWN_TASK

    def complete(self) -> bool:
        """Return whether no member seems to be missing, by size or by indexes."""
        if self.beyond:
            return False  # the ends of those were not followed
        if self.size is not None:
            return len(self.roles) >= self.size
        indexes = {role.index for role in self.roles.values()}
        unplaced = sum(role.index is None for role in self.roles.values())
        indexes.discard(None)
        highest = max((index for index in indexes if index is not None), default=-1)
        return highest + 1 - len(indexes) <= unplaced


class MemberState(Struct, frozen=True, gc=False):
    """One member, for whoever asks. ``state`` is a task's; ``announced`` before it was sent."""

    uuid: str
    index: int | None
    name: str | None
    state: str


class Progress(Struct, frozen=True, gc=False):
    """How far a group is. ``beyond`` counts members that are not among ``members``."""

    group_id: str
    kind: GroupKind
    size: int | None
    body: str | None
    #: None while it has not finished.
    outcome: GroupOutcome | None
    #: By index, those without one last.
    members: tuple[MemberState, ...]
    beyond: int = 0
