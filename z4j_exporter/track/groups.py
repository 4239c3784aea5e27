"""Follows groups and chords: notes of the capture hook and ends of tasks in, transitions out.

Deterministic, as the tracker is. It learns who is a member from the notes (group_membership.py)
or from the result backend's metadata, and how members end from the tracker's transitions.
"""

from collections import Counter
from collections.abc import Callable

from z4j_exporter.events.captured import Captured, EndNote, Envelope, RunNote
from z4j_exporter.events.model import Event
from z4j_exporter.track.conclusions import CONCLUDED, DEFAULT_GIVE_UP_SECONDS
from z4j_exporter.track.group_endings import Endings
from z4j_exporter.track.group_membership import MAX_AHEAD, Key, Member, Told, membership
from z4j_exporter.track.group_model import (
    EmitGroup,
    Group,
    GroupKind,
    MemberState,
    Progress,
    Role,
)
from z4j_exporter.track.group_table import DEFAULT_MAX_GROUPS, DEFAULT_MAX_MEMBERS, GroupTable
from z4j_exporter.track.table import Task
from z4j_exporter.track.transitions import Transition, WorkerTransition

#: Seconds between looks for groups to give up.
_GIVE_UP_EVERY_SECONDS = 60.0
#: Roles that one note may add: itself, its body, and what its chain announces.
_ROLES_EACH = 16
#: Ends that the hook tells: Celery's states, and the transition that says the same.
_STATES = {"SUCCESS": "succeeded", "FAILURE": "failed", "REVOKED": "revoked"}


class GroupTracker:
    """Follows every group, bounded in groups and members; a sink of the tracker's transitions.

    ``lookup`` returns what the tracker knows of a task. ``now`` is the tracker's clock.
    """

    name = "groups"

    def __init__(
        self,
        emit: EmitGroup,
        lookup: Callable[[str], Task | None],
        *,
        max_groups: int = DEFAULT_MAX_GROUPS,
        max_members: int = DEFAULT_MAX_MEMBERS,
        give_up_seconds: float = DEFAULT_GIVE_UP_SECONDS,
    ) -> None:
        self._lookup = lookup
        self._give_up_seconds = give_up_seconds
        self._give_up_at: float | None = None
        self.table = GroupTable(max_groups, max_members)
        self._endings = Endings(emit, self.table, lookup)

    # -- what comes in -------------------------------------------------------------------------

    def captured(self, note: Captured, event: Event, now: float) -> None:
        """Learn from a note of the hook."""
        self._pass(now)
        if isinstance(note, EndNote):
            role = self.table.roles.get(note.uuid)
            outcome = _STATES.get(note.state)
            if role is not None and outcome is not None:
                self._endings.end(role, outcome, event.timestamp)
        elif isinstance(note, Envelope | RunNote):
            first_copy = isinstance(note, Envelope) and not note.retries
            self._learn(membership(note), event.timestamp, first_copy)

    def learn(self, uuid: str, group_id: str, now: float, parent_id: str | None = None) -> None:
        """Learn a member from the result backend's metadata, which tell no index and no chord.

        A chord's body has its header's group id there: a task whose parent is a member is that.
        """
        self._pass(now)
        header = self.table.get((group_id, True))
        group = header or self.table.get((group_id, False))
        if group is not None and (parent_id in group.roles or group.body == uuid):
            return
        task = self._lookup(uuid)
        first = None if task is None else task.first_sent or task.attempts[-1].first_seen()
        if task is not None and first is not None and first < float("inf"):
            self.table.make_room(_ROLES_EACH)
            member = Member(uuid, (group_id, header is not None), task.name)
            self._join(member, first, first_copy=False)

    def take(self, step: Transition) -> None:
        """Take one transition of the tracker."""
        if isinstance(step, WorkerTransition):
            return
        role = self.table.roles.get(step.uuid)
        if role is None:
            return
        if step.final:
            self._endings.end(role, step.kind, step.timestamp)
        elif step.kind in ("sent", "received", "started"):
            self._endings.began(role, step)
        elif role.outcome in CONCLUDED and step.kind in _STATES.values():
            self._endings.correct(role, step.kind)

    def tick(self, now: float) -> None:
        """Let time pass: tell starts and ends that have settled, give up what is stuck."""
        self._pass(now)
        self._endings.tick()
        if self._give_up_at is None or now >= self._give_up_at:
            self._give_up_at = now + _GIVE_UP_EVERY_SECONDS
            for group in [*self.table.active.values(), *self.table.finished.values()]:
                if now - group.touched >= self._give_up_seconds:
                    self.table.forget(group)

    # -- what is asked -------------------------------------------------------------------------

    @property
    def evictions(self) -> Counter[str]:
        """Groups forgotten, by reason (group_table.EVICTIONS)."""
        return self.table.evictions

    def in_progress(self) -> Counter[tuple[str, GroupKind]]:
        """Count the groups that were told as started and have not finished, by task and kind."""
        groups = self.table.active.values()
        return Counter((group.label, group.kind) for group in groups if group.label is not None)

    def root_group(self, uuid: str) -> str | None:
        """Return the id of the outermost group that a task belongs to.

        Members belong to it, what comes before them in a chain, and a chord's body.
        """
        group = self._endings.around(uuid)
        return None if group is None else self._endings.outermost(group).key[0]

    def progress(self, group_id: str) -> Progress | None:
        """Return how far a group is; of a chord, its header."""
        group = self.table.get((group_id, True)) or self.table.get((group_id, False))
        if group is None:
            return None
        roles = sorted(group.roles.values(), key=lambda r: (r.index is None, r.index or 0))
        return Progress(
            group_id=group_id,
            kind=group.kind,
            size=group.size,
            body=group.body,
            outcome=group.outcome,
            members=tuple(
                MemberState(role.uuid, role.index, role.name, self._state(role)) for role in roles
            ),
            beyond=group.beyond,
        )

    def _state(self, role: Role) -> str:
        task = self._lookup(role.uuid)
        if task is not None and (role.outcome is None or task.outcome is not None):
            return task.state()
        return role.outcome or "announced"

    # -- parts ---------------------------------------------------------------------------------

    def _pass(self, now: float) -> None:
        self._endings.now = max(self._endings.now, now)

    def _learn(self, told: Told, at: float, first_copy: bool) -> None:
        for uuid in told.begins:
            role = self.table.roles.get(uuid)
            header = self.table.get(role.body_of) if role is not None else None
            if header is not None:
                self._endings.body_began(header, at)
        if told.header is not None:
            header = self.table.get((told.header, True))
            if header is not None and (header.body is None or header.body in told.begins):
                self._endings.body_began(header, at)
        if told.member is None and not told.ahead:
            return
        self.table.make_room(_ROLES_EACH)
        if told.member is not None:
            group = self._join(told.member, at, first_copy)
            if group is not None and group.outcome is None:
                self._relate(group, told, at)
        for member in told.ahead:
            if self._join(member, at, first_copy=False) is not None:
                self._announce(told.uuid, member)

    def _join(self, member: Member, at: float, first_copy: bool) -> Group | None:
        """Put a task into its group; return that, or None if it is in another one."""
        role = self.table.roles.get(member.uuid)
        if role is not None and role.key is not None:
            if role.key != member.key:
                return None
            if role.index is None:
                role.index = member.index
            joined = self.table.get(role.key)
            if joined is not None:
                joined.first = min(joined.first, at)
            return joined
        group = self.table.get(member.key) or self._new(member.key, at)
        group.touched = self._endings.now
        group.first = min(group.first, at)
        if len(group.roles) >= self.table.max_each:
            group.beyond += first_copy
            return group
        role = role or self.table.role(member.uuid)
        role.key, role.name, role.index = group.key, member.name or None, member.index
        group.roles[role.uuid] = role
        group.open += 1
        group.named(role.name)
        task = self._lookup(role.uuid)
        if task is not None:
            group.first = min(group.first, task.first_sent or group.first)
            if task.outcome is not None and task.ended_at is not None:
                self._endings.end(role, task.outcome, task.ended_at)
        return group

    def _new(self, key: Key, at: float) -> Group:
        group = Group(key, self._endings.now, at, {}, [])
        self.table.add(group)
        self._endings.expect(group)
        return group

    def _relate(self, group: Group, told: Told, at: float) -> None:
        """Take over what a member's note says of the whole group."""
        if told.size is not None:
            group.size = told.size
        role = self.table.roles.get(told.uuid)
        if group.origin is None and (role is None or role.body_of is None):
            group.origin = told.parent_id  # a body's parent is within its header: not around it
        if group.body is None and told.body is not None:
            self._bind(group, told.body)
        place = told.body_member
        if group.around is None and place is not None and place.key != group.key:
            group.around = place.key
            self._join(place, at, first_copy=False)

    def _bind(self, group: Group, body: str) -> None:
        """Note whose header a group is; its body may have begun before that was known."""
        role = self.table.role(body)
        if role.body_of is not None:
            return
        group.body = body
        role.body_of = group.key
        group.related.append(body)
        task = self._lookup(body)
        if task is not None:
            at = task.first_sent or task.attempts[-1].first_seen()
            # A worker may hold it without an event of it: then nothing tells when it was sent.
            self._endings.body_began(group, at if at < float("inf") else group.first)

    def _announce(self, uuid: str, member: Member) -> None:
        """Note that a member fails with a task that comes before it in a chain."""
        if uuid == member.uuid:
            return
        role = self.table.role(uuid)
        if (member.uuid, member.key) in role.ahead or len(role.ahead) >= MAX_AHEAD:
            return
        role.ahead = (*role.ahead, (member.uuid, member.key))
        group = self.table.get(member.key)
        if group is not None:
            group.related.append(uuid)
        task = self._lookup(uuid)
        if task is not None and task.outcome is not None and task.ended_at is not None:
            self._endings.end(role, task.outcome, task.ended_at)
