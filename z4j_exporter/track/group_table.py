"""The groups remembered, and the part each task has in them: bounded, the oldest ones go first."""

from collections import Counter
from itertools import islice

from z4j_exporter.track.group_membership import Key
from z4j_exporter.track.group_model import Group, Role

#: Groups and tasks in them remembered, unless told otherwise.
DEFAULT_MAX_GROUPS = 20_000
DEFAULT_MAX_MEMBERS = 200_000
#: Why a group was forgotten: it had finished; nothing came of it any more, or room was needed; it
#: had more members than are remembered, so that its end could not be told.
EVICTIONS = ("finished", "unfinished", "too_large")


class GroupTable:
    """Groups by key and roles by task uuid."""

    def __init__(self, max_groups: int, max_members: int) -> None:
        self._max_groups = max_groups
        self._max_members = max_members
        #: Members remembered of one group: it must not push out all others.
        self.max_each = max(1, max_members // 4)
        # Both in order of insertion: the first is the oldest.
        self.active: dict[Key, Group] = {}
        self.finished: dict[Key, Group] = {}
        self.roles: dict[str, Role] = {}
        #: Groups forgotten, by EVICTIONS.
        self.evictions: Counter[str] = Counter(dict.fromkeys(EVICTIONS, 0))

    def __len__(self) -> int:
        return len(self.active) + len(self.finished)

    def get(self, key: Key | None) -> Group | None:
        """Return a group, if it is remembered."""
        if key is None:
            return None
        return self.active.get(key) or self.finished.get(key)

    def make_room(self, members: int) -> None:
        """Forget groups until one more, with so many tasks, finds room."""
        while (self.active or self.finished) and (
            len(self) >= self._max_groups or len(self.roles) + members > self._max_members
        ):
            groups = self.finished or self.active
            # A hundredth at once, see TaskTable.
            for group in list(islice(groups.values(), max(1, len(groups) // 100))):
                self.forget(group)

    def add(self, group: Group) -> None:
        """Remember a new group."""
        self.active[group.key] = group

    def finish(self, group: Group) -> None:
        """Move a group to the finished ones."""
        if self.active.pop(group.key, None) is not None:
            self.finished[group.key] = group

    def role(self, uuid: str) -> Role:
        """Return a task's role, a new one if it had none."""
        role = self.roles.get(uuid)
        if role is None:
            role = self.roles[uuid] = Role(uuid)
        return role

    def forget(self, group: Group) -> None:
        """Forget a group and what tasks were to it; counted."""
        finished = group.outcome is not None
        self.evictions[
            "finished" if finished else "too_large" if group.beyond else "unfinished"
        ] += 1
        self.active.pop(group.key, None)
        self.finished.pop(group.key, None)
        for role in group.roles.values():
            role.key = role.outcome = None
            role.failure_told = False
            self._drop(role)
        for uuid in group.related:
            other = self.roles.get(uuid)
            if other is not None:
                if other.body_of == group.key:
                    other.body_of = None
                other.ahead = tuple(m for m in other.ahead if m[1] != group.key)
                self._drop(other)

    def _drop(self, role: Role) -> None:
        if role.key is None and role.body_of is None and not role.ahead:
            self.roles.pop(role.uuid, None)
