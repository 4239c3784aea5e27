"""Groups and chords: which members there are, and which of them failed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from z4j_exporter.actions.engine_tasks import TaskFacts, Tasks
from z4j_exporter.actions.model import ActionError

#: States of a member after which a retry may follow.
FAILED_STATES: Final = frozenset({"failed", "rejected", "revoked", "lost"})
#: Members of one group that are looked at.
MOST_MEMBERS: Final = 10_000


class Member(Protocol):
    """A member of a group, as the capture journal has it (journal.model.StoredMember)."""

    @property
    def uuid(self) -> str:
        """The task's id."""

    @property
    def index(self) -> int | None:
        """Its place in the group."""

    @property
    def name(self) -> str | None:
        """The task's name."""

    @property
    def published(self) -> bool:
        """Whether its message was captured."""


class Group(Protocol):
    """A group, or the header of a chord (journal.model.StoredGroup)."""

    @property
    def group_id(self) -> str:
        """Its id."""

    @property
    def is_chord(self) -> bool:
        """Whether it is the header of a chord."""

    @property
    def members(self) -> Sequence[Member]:
        """Its members, in their order."""

    @property
    def chord_body(self) -> Mapping[str, Any] | None:
        """The signature of the chord's body; None where it was not captured."""

    @property
    def truncated(self) -> bool:
        """Whether there are more members than were asked for."""


class Groups(Protocol):
    """Who knows of groups: the capture journal (journal.reader.JournalReader)."""

    def group(self, group_id: str, limit: int = MOST_MEMBERS) -> Group | None:
        """Return a group, None when nothing is known of it."""


@dataclass(frozen=True, slots=True)
class KnownGroup:
    """A group with what is known of each member."""

    group: Group
    #: In the order of the members.
    members: tuple[TaskFacts, ...]

    @property
    def failed(self) -> tuple[TaskFacts, ...]:
        """The members that failed."""
        return tuple(one for one in self.members if one.state in FAILED_STATES)

    def told(self) -> dict[str, Any]:
        """Return what answers say of it."""
        return {
            "group_id": self.group.group_id,
            "is_chord": self.group.is_chord,
            "members": len(self.members),
            "members_truncated": self.group.truncated,
            "states": dict(Counter(one.state for one in self.members)),
            "body_captured": self.group.chord_body is not None,
        }


def known_group(groups: Groups | None, tasks: Tasks, group_id: str) -> KnownGroup:
    """Return a group and its members' states.

    Raises ActionError: 404 (group-unknown), 422 (groups-unavailable) without a capture journal.
    """
    if groups is None:
        raise ActionError(
            "groups-unavailable",
            422,
            "Nothing is known of groups: Celery's events do not carry them.",
            hint="Install the capture hook (z4j_exporter.capture) in the application.",
        )
    found = groups.group(group_id, MOST_MEMBERS)
    if found is None:
        raise ActionError(
            "group-unknown",
            404,
            "Nothing is known of a group of this id.",
            hint="The capture hook tells of groups that are published while it is installed.",
        )
    facts = tasks.get_all([member.uuid for member in found.members])
    members = [
        facts.get(member.uuid) or TaskFacts(member.uuid, name=member.name)
        for member in found.members
    ]
    return KnownGroup(found, tuple(members))
