"""The schema of the rules file: what may stand in it, and what each part means.

An alert can retry and cancel. It cannot terminate or purge, and no label goes into arguments or a
signal: there is no field for any of it.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from z4j_exporter.actions import alert_matchers
from z4j_exporter.actions.alert_matchers import Matcher
from z4j_exporter.actions.alert_template import Template
from z4j_exporter.actions.scopes import within
from z4j_exporter.actions.tokens_schema import Globs, check_name
from z4j_exporter.config.actions import BULK_LIMIT

#: Rules of one file: each is tried on each alert.
MOST_RULES = 200
_MOST_MATCHERS = 50
#: Seconds before the alert's start that a bulk retry may look back: a week.
_LONGEST_SINCE = 7 * 86_400.0
_LONGEST = 30 * 86_400.0

_DURATION = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


def duration(value: Any) -> float:
    """Return the seconds of a duration as Prometheus writes it (90s, 1h30m); raises ValueError."""
    if isinstance(value, (int, float)):
        return float(value)  # a default of ours
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None or not value:
        raise ValueError("write a duration such as 30s, 10m, 1h30m or 1d")
    return float(
        sum(
            int(part or 0) * unit
            for part, unit in zip(found.groups(), (86_400, 3600, 60, 1), strict=True)
        )
    )


def _template(value: Any) -> Template:
    if not isinstance(value, str):
        raise ValueError("it must be text")
    return Template(value)


def _matchers(value: Any) -> tuple[Matcher, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise ValueError("write a list of matchers, such as 'alertname=\"TasksFail\"'")
    matchers = tuple(one for text in texts for one in alert_matchers.parse(text))
    if len(matchers) > _MOST_MATCHERS:
        raise ValueError(f"there are at most {_MOST_MATCHERS} matchers")
    if not any(one.matches({}) is False for one in matchers):
        raise ValueError("they match an alert without labels, and so nearly every alert")
    return matchers


def _switch(value: Any) -> bool:
    if value in (True, False, "true", "false"):
        return value in (True, "true")
    raise ValueError("write true or false")


Duration = Annotated[
    float, BeforeValidator(duration), Field(ge=0, le=_LONGEST, allow_inf_nan=False)
]
Filled = Annotated[Template, BeforeValidator(_template)]
Switch = Annotated[bool, BeforeValidator(_switch)]
#: Ends of tasks after which they can be sent again on an alert. "revoked" is not among them: that
#: was somebody's wish.
Ended = Literal["failed", "lost", "rejected"]


class _Part(BaseModel):
    # Strings only come from YAML here, so that numbers are read from text.
    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class RetryAction(_Part):
    """Send one task again; its id is a label."""

    verb: Literal["retry"]
    task_id: Filled
    #: What the task must be.
    state: Ended = "failed"


class BulkRetryAction(_Part):
    """Send the remembered tasks again that fit."""

    verb: Literal["bulk-retry"]
    #: Glob on the task's name.
    task: Filled
    queue: Filled | None = None
    state: Ended = "failed"
    #: Class of the exception.
    exception: Filled | None = None
    #: How long before the alert's start a task may have ended.
    since: Annotated[Duration, Field(gt=0, le=_LONGEST_SINCE)] = 3600.0
    #: Tasks at most.
    max: Annotated[int, Field(ge=1, le=BULK_LIMIT)] = 100


class CancelAction(_Part):
    """Tell the workers not to start a task; one that runs finishes."""

    verb: Literal["cancel"]
    task_id: Filled


AlertAction = Annotated[RetryAction | BulkRetryAction | CancelAction, Field(discriminator="verb")]


class BreakerSettings(_Part):
    """When a rule stops since what it retried fails again, and when it tries once more."""

    #: Retried tasks that fail one after the other.
    failures: Annotated[int, Field(ge=1, le=1000)] = 3
    #: After this it acts on one task; when that succeeds, on all again.
    half_open_after: Annotated[Duration, Field(gt=0)] = 1800.0


class Rule(_Part):
    """One rule: which alerts, what is done, within which limits."""

    name: Annotated[str, BeforeValidator(check_name)]
    matchers: Annotated[tuple[Matcher, ...], BeforeValidator(_matchers)]
    action: AlertAction
    #: Not enabled: a dry run, which says what it would do.
    enabled: Switch = False
    #: Globs that the name and the queue of what is acted on must match; none: all.
    tasks: Globs = ()
    queues: Globs = ()
    #: Time between two actions on one alert (its labels).
    cooldown: Duration = 3600.0
    #: Actions of the rule; 0: no limit.
    max_per_hour: Annotated[int, Field(ge=0, le=10_000)] = 10
    max_in_flight: Annotated[int, Field(ge=0, le=10_000)] = 1
    breaker: BreakerSettings = BreakerSettings()

    @model_validator(mode="after")
    def _scope_can_be_checked(self) -> Self:
        action = self.action
        if isinstance(action, BulkRetryAction):
            _check_scope("task", action.task, self.tasks)
            if self.queues and action.queue is None:
                raise ValueError("with queues, the action needs a queue")
            if action.queue is not None:
                _check_scope("queue", action.queue, self.queues, globs=False)
        return self


class RulesSchema(_Part):
    """The whole file."""

    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=MOST_RULES)]

    @model_validator(mode="after")
    def _unlike(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError("two rules have the same name")
        return self


def _check_scope(
    field: str, template: Template, scope: tuple[str, ...], *, globs: bool = True
) -> None:
    """Refuse a parameter of which nobody could say whether it stays within the scope."""
    if not scope:
        return
    if globs and template.is_glob:
        raise ValueError(f"{field} has a pattern already: leave {field}s out")
    if not template.labels and not within(template.text, scope):
        raise ValueError(f"{field} is not among the rule's {field}s")
