"""The models of the API's requests: strict, so that a mistake is not taken for a wish."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from z4j_exporter.actions.engine_request import Filter, Given, Sending, TaskState
from z4j_exporter.actions.scopes import MOST_CHARACTERS
from z4j_exporter.config.actions import BULK_LIMIT

#: Names and ids as Celery has them: any printable text; control characters are no name.
NAME_PATTERN = r"^[^\x00-\x1f\x7f]+$"
#: In a path also no slash.
PATH_PATTERN = r"^[^\x00-\x1f\x7f/]+$"
#: RFC 9110's visible characters.
KEY_PATTERN = r"^[\x21-\x7e]+$"
MOST_NAME = 255

Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME, pattern=NAME_PATTERN)]
#: Celery's own time limits are seconds; a day at most keeps nonsense out.
Limit = Annotated[float, Field(gt=0, le=31 * 86_400, allow_inf_nan=False)]


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write a time as text, such as 2027-01-31T00:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text), Field(strict=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DryRun(_Body):
    """What every action may be asked with."""

    dry_run: bool = Field(False, description="Say what would happen; send nothing.")


class Preconditioned(DryRun):
    """An action on a task, or several."""

    from_state: list[TaskState] = Field(
        default_factory=list,
        max_length=10,
        description="The task must be in one of these states, else 409.",
    )


class SendingOptions(Preconditioned):
    """How tasks are sent again; what is left out stays as it was."""

    queue: Name | None = Field(None, description="Queue to send to.")
    new_queue: bool = Field(
        False, description="On Redis: send also to a queue that nobody is known to use."
    )
    priority: int | None = Field(None, ge=0, le=255)
    time_limit: Limit | None = Field(None, description="Seconds.")
    soft_time_limit: Limit | None = Field(None, description="Seconds.")
    unverified: bool = Field(
        False,
        description="Take the backend's arguments even where nobody can tell whether the task"
        " changed them.",
    )
    again: bool = Field(False, description="Send also what was sent again before.")

    def sending(self, eta: datetime | None = None) -> Sending:
        """Return them as the engine takes them."""
        return Sending(
            queue=self.queue,
            new_queue=self.new_queue,
            eta=eta,
            priority=self.priority,
            time_limit=self.time_limit,
            soft_time_limit=self.soft_time_limit,
            unverified=self.unverified,
            again=self.again,
        )


class RetryRequest(SendingOptions):
    """Send a task again under a new id."""

    eta: Moment | None = Field(None, description="Not before this time; the first ETA is dropped.")
    name: Name | None = Field(None, description="The task's name, where no event told it.")
    args: list[JsonValue] | None = Field(
        None, description="What it was sent with, where nobody else knows: args and kwargs both."
    )
    kwargs: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _both(self) -> "RetryRequest":
        if (self.args is None) != (self.kwargs is None):
            raise ValueError("args and kwargs must be given together")
        return self

    def given(self) -> Given | None:
        """Return the caller's arguments, if there are any."""
        if self.args is None and self.name is None:
            return None
        return Given(self.name, None if self.args is None else tuple(self.args), self.kwargs)


class CancelRequest(Preconditioned):
    """Keep a task from starting; with ``terminate``, end it where it runs."""

    terminate: bool = Field(
        False, description="SIGTERM to the process that runs it; its pool must be able to."
    )


class GroupRetryRequest(SendingOptions):
    """Send the failed members of a group again."""

    whole: bool = Field(
        False, description="The whole chord under a new id: header and body, not the failed alone."
    )
    rate: float | None = Field(None, gt=0, le=1000, allow_inf_nan=False, description="Each second.")


class FilterRequest(_Body):
    """Which remembered tasks; all that is given must fit."""

    task: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)] | None = Field(
        None, description="Glob on the task's name: * ? [ab]."
    )
    queue: Name | None = None
    state: TaskState = "failed"
    exception: Name | None = Field(None, description="Class of the exception.")
    since: Moment | None = Field(None, description="Ended at or after.")
    until: Moment | None = Field(None, description="Ended before.")

    def filter(self) -> Filter:
        """Return it as the engine takes it."""
        return Filter(
            task=self.task,
            queue=self.queue,
            state=self.state,
            exception=self.exception,
            since=self.since.timestamp() if self.since else None,
            until=self.until.timestamp() if self.until else None,
        )


class BulkRetryRequest(SendingOptions):
    """Send many tasks again: those of ``task_ids``, or those that ``filter`` takes."""

    task_ids: list[Name] | None = Field(None, min_length=1, max_length=BULK_LIMIT)
    filter: FilterRequest | None = None
    limit: int | None = Field(
        None, ge=1, le=BULK_LIMIT, description="Tasks at most; the default is a setting."
    )
    rate: float | None = Field(None, gt=0, le=1000, allow_inf_nan=False, description="Each second.")

    @model_validator(mode="after")
    def _one(self) -> "BulkRetryRequest":
        if (self.task_ids is None) == (self.filter is None):
            raise ValueError("give either task_ids or filter")
        return self


class PurgeRequest(DryRun):
    """Empty a queue: first with ``dry_run``, then with the token that it gave."""

    confirm: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="Token of the dry run."
    )


class AlertmanagerMessage(BaseModel):
    """Alertmanager's webhook, payload version 4; more members are ignored."""

    model_config = ConfigDict(extra="allow")

    version: Literal["4"]
    #: Each is looked at by itself: Alertmanager never sends again what is refused with 4xx, so one
    #: that cannot be used must not cost the others.
    alerts: list[JsonValue] = Field(
        description="status, labels, startsAt and fingerprint are looked at; one that lacks them"
        " is counted and left out."
    )
