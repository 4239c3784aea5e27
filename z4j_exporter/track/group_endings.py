"""Decides when members and groups have ended, and tells it: the ends' half of groups.py."""

from collections import deque
from collections.abc import Callable

from z4j_exporter.track.group_membership import Key
from z4j_exporter.track.group_model import EmitGroup, Group, GroupTransition, Role
from z4j_exporter.track.group_table import GroupTable
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import TaskTransition

#: Seconds from a group's first member until it is told as started: by then the names of the
#: others are known, and with them the label, which then stays.
START_SECONDS = 2.0
#: Seconds without news after which a group whose known members have all ended has finished: no
#: message tells the size of a group. The hook sends its notes within a moment, a worker
#: its events about every second; between two members the publisher needs milliseconds.
SETTLE_SECONDS = 5.0
#: Groups in groups that are followed outwards.
_MAX_DEPTH = 32
#: Ends that are no failure. ``unseen``: its worker runs nothing any more, nothing else is known.
_NO_FAILURE = frozenset({"succeeded", "unseen"})

#: Groups to look at, and when, on the tracker's clock.
_Due = deque[tuple[float, Key]]


class Endings:
    """Writes ends into the groups of a table. ``now`` is set by its owner before each call."""

    def __init__(
        self, emit: EmitGroup, table: GroupTable, lookup: Callable[[str], Task | None]
    ) -> None:
        self._emit = emit
        self._table = table
        self._lookup = lookup
        self._starting = _Due()
        self._settling = _Due()
        #: The tracker's clock.
        self.now = 0.0

    def tick(self) -> None:
        """Tell the starts and the ends that have settled."""
        while self._starting and self._starting[0][0] <= self.now:
            group = self._table.get(self._starting.popleft()[1])
            if group is not None:
                self._tell_started(group)
        while self._settling and self._settling[0][0] <= self.now:
            group = self._table.active.get(self._settling.popleft()[1])
            if group is not None and group.settling:
                self._settle(group)

    def expect(self, group: Group) -> None:
        """Take note of a new group."""
        self._starting.append((self.now + START_SECONDS, group.key))

    def end(self, role: Role, outcome: str, at: float, *, by: str = "") -> None:
        """End a task, and with it what its chain would have led to.

        ``by`` is the task that failed in its place, if it is another.
        """
        if outcome not in _NO_FAILURE:
            for uuid, _ in role.ahead:
                member = self._table.roles.get(uuid)
                if member is not None and uuid != role.uuid and member.outcome is None:
                    # What a member would have announced is behind it in the same chain.
                    self._end_member(member, "failed", at, by=role.uuid)
        self._end_member(role, outcome, at, by=by)

    def _end_member(self, role: Role, outcome: str, at: float, *, by: str = "") -> None:
        group = self._table.get(role.key)
        if group is None or role.outcome is not None:
            return
        role.outcome = outcome
        group.open -= 1
        group.last_end = max(group.last_end, at)
        group.touched = self.now
        if outcome not in _NO_FAILURE:
            group.failed += 1
            self._tell_failure(group, role, by or role.uuid)
        if group.open <= 0:
            self._quiet(group)

    def began(self, role: Role, step: TaskTransition) -> None:
        """Take note that a task was sent, received or started, perhaps anew."""
        header = self._table.get(role.body_of)
        if header is not None:
            self.body_began(header, step.timestamp)
        group = self._table.active.get(role.key) if role.key is not None else None
        if group is None:
            return
        if step.kind == "sent" and step.timestamp < group.first:
            group.first = step.timestamp
        if role.outcome is None:
            return
        task = self._lookup(role.uuid)
        if task is not None and task.outcome is None:  # delivered again, or sent again by hand
            group.failed -= role.outcome not in _NO_FAILURE
            role.outcome = None
            group.open += 1
            group.touched = self.now

    def correct(self, role: Role, outcome: str) -> None:
        """Replace an end that was only concluded (a lost task) by the one that came."""
        group = self._table.get(role.key)
        if group is None or role.outcome is None:
            return
        failed_before = role.outcome not in _NO_FAILURE
        failed = outcome not in _NO_FAILURE
        role.outcome = outcome
        group.failed += failed - failed_before
        if failed:
            self._tell_failure(group, role, role.uuid)

    def body_began(self, header: Group, at: float) -> None:
        """Take note that a chord's body was published: all of its header succeeded."""
        if header.body_at is None and header.outcome is None:
            header.body_at = at
            self._quiet(header)

    def outermost(self, group: Group) -> Group:
        """Return the group around all groups that this one is in, as far as they are known."""
        seen = {group.key}
        while len(seen) < _MAX_DEPTH:
            outer = self._table.get(group.around) or self.around(group.origin)
            if outer is None or outer.key in seen:
                break
            group = outer
            seen.add(group.key)
        return group

    def around(self, uuid: str | None) -> Group | None:
        """Return the group that a task belongs to: a member, a body, or before one in a chain."""
        role = self._table.roles.get(uuid) if uuid is not None else None
        if role is None:
            return None
        return (
            self._table.get(role.key)
            or self._table.get(role.body_of)
            or next((g for _, key in role.ahead if (g := self._table.get(key)) is not None), None)
        )

    # -- parts ---------------------------------------------------------------------------------

    def _quiet(self, group: Group) -> None:
        """Finish a group now, if its size is known, or see whether something more comes."""
        if group.outcome is not None:
            return
        if group.open <= 0 and group.size is not None and group.complete():
            self._finish(group)
        elif not group.settling:
            group.settling = True
            self._settling.append((self.now + SETTLE_SECONDS, group.key))

    def _settle(self, group: Group) -> None:
        due = group.touched + SETTLE_SECONDS
        if due > self.now:
            self._settling.append((due, group.key))
            return
        group.settling = False
        if group.body_at is not None or (group.open <= 0 and group.complete()):
            self._finish(group)

    def _finish(self, group: Group) -> None:
        self._tell_started(group)
        if group.body_at is not None and group.open > 0:
            group.last_end = max(group.last_end, group.body_at)  # the ends themselves were lost
        failed = group.failed > 0 and group.body_at is None
        group.outcome = "failed" if failed else "succeeded"
        self._table.finish(group)
        self._emit(
            GroupTransition(
                kind="finished",
                group_id=group.key[0],
                group_kind=group.kind,
                task=group.label or group.task(),
                outcome=group.outcome,
                duration=max(0.0, group.last_end - group.first),
                members=group.members(),
                failed_members=group.failed,
            )
        )
        body = self._table.roles.get(group.body) if failed and group.body is not None else None
        if body is not None:
            # It will not run. The failure behind that was told of the outermost group already.
            body.failure_told = True
            self.end(body, "failed", group.last_end)

    def _tell_started(self, group: Group) -> None:
        if group.label is None:
            group.label = group.task()
            self._emit(
                GroupTransition(
                    kind="started",
                    group_id=group.key[0],
                    group_kind=group.kind,
                    task=group.label,
                    members=group.members(),
                )
            )
            unsaid, group.unsaid = group.unsaid, []
            for uuid in unsaid:
                self._fail_in(self.outermost(group), uuid)

    def _tell_failure(self, group: Group, role: Role, uuid: str) -> None:
        if role.failure_told:
            return
        role.failure_told = True
        self._fail_in(self.outermost(group), uuid)

    def _fail_in(self, root: Group, uuid: str) -> None:
        if root.label is None:
            # A member may fail before anything is known of the others, and so of the label.
            root.unsaid.append(uuid)
            return
        self._emit(
            GroupTransition(
                kind="member_failed",
                group_id=root.key[0],
                group_kind=root.kind,
                task=root.label,
                members=root.members(),
                failed_members=root.failed,
                uuid=uuid,
            )
        )
