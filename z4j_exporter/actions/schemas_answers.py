"""The models of the API's answers."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from z4j_exporter.actions.engine_request import TaskState
from z4j_exporter.actions.model import State, Verb
from z4j_exporter.actions.records_states import ItemState


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CauseView(_Answer):
    """The alert that an action is due to."""

    rule: str
    fingerprint: str
    starts_at: float = Field(description="Epoch seconds.")


class ActionView(_Answer):
    """An action, and what came of it so far."""

    id: str
    verb: Verb
    state: State = Field(description="unknown: it may have happened.")
    dry_run: bool
    task_id: str | None = None
    group_id: str | None = None
    queue: str | None = None
    actor: str
    alert: CauseView | None = None
    requested_at: float = Field(description="Epoch seconds.")
    finished_at: float | None = Field(None, description="Epoch seconds.")
    new_task_id: str | None = Field(None, description="Of a retry: the id that it runs under now.")
    total: int | None = Field(None, description="Tasks of a job, sealed when it was accepted.")
    truncated: bool | None = Field(None, description="More would have fitted.")
    list_sha256: str | None = Field(None, description="Hash of the sealed list of ids.")
    counts: dict[ItemState, int] | None = Field(None, description="Tasks of a job by state.")
    result: dict[str, Any] = Field(
        default_factory=dict,
        description="What was done (or would be): the payload's source, what was dropped, …",
    )
    notes: list[str] = Field(default_factory=list)


class ItemView(_Answer):
    """One task of a job."""

    position: int
    task_id: str
    new_task_id: str
    state: ItemState
    detail: dict[str, Any]


class ActionItemsView(ActionView):
    """An action with some of its tasks; ``next_offset`` goes on."""

    items: list[ItemView] = Field(default_factory=list)
    next_offset: int | None = None


class RetriedView(_Answer):
    """A retry of a task."""

    task_id: str
    action_id: str
    certain: bool = Field(description="false: it may not have been sent.")


class HeldView(_Answer):
    """Which worker has a task."""

    worker: str
    phase: str
    pool: str


class AskedView(_Answer):
    """What backend and workers say now."""

    backend_state: str | None
    held_by: list[HeldView]
    workers_answered: int | None
    notes: list[str]


class TaskView(_Answer):
    """What is known of a task."""

    task_id: str
    state: TaskState
    name: str | None = None
    queue: str | None = None
    worker: str | None = None
    exception: str | None = None
    ended_at: float | None = Field(None, description="Epoch seconds, the worker's clock.")
    root_id: str | None = None
    parent_id: str | None = None
    retry_of: str | None = None
    retried_as: list[RetriedView] = Field(default_factory=list)
    asked: AskedView | None = None


class MemberView(_Answer):
    """A member of a group."""

    task_id: str
    state: TaskState
    name: str | None = None


class GroupView(_Answer):
    """What is known of a group, or of a chord's header."""

    group_id: str
    is_chord: bool
    members: list[MemberView]
    members_truncated: bool
    states: dict[str, int]
    body_captured: bool


class AlertsView(BaseModel):
    """What came of the alerts of one message."""

    model_config = ConfigDict(extra="allow")


class Mistake(_Answer):
    """One thing that is wrong with a request."""

    at: str
    problem: str


class Problem(BaseModel):
    """An error (RFC 9457). ``unknown``: it may have happened, and must not simply be repeated."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    hint: str | None = None
    unknown: bool | None = None
    action_id: str | None = None
    state: TaskState | None = None
    errors: list[Mistake] | None = None
