"""What the API of the actions answers, as far as a command looks into it. Pure."""

from typing import Any, TypeVar

import msgspec

from z4j_exporter.cli.action_errors import ActionsUnreachableError

_Said = TypeVar("_Said", bound=msgspec.Struct)

#: States of an action after which nothing more happens by itself.
ENDED = frozenset({"done", "partial", "refused", "failed", "unknown"})


class MistakeSaid(msgspec.Struct):
    """One thing that is wrong with a request."""

    at: str = ""
    problem: str = ""


class ProblemSaid(msgspec.Struct):
    """An error (RFC 9457). Members that are not named here stay in the document."""

    type: str
    detail: str
    #: Every problem of the API has one: a proxy's own problem has not.
    request_id: str
    hint: str | None = None
    unknown: bool | None = None
    action_id: str | None = None
    errors: list[MistakeSaid] | None = None

    @property
    def kind(self) -> str:
        """The stable name of the problem."""
        return self.type.rpartition("#")[2]


class ItemSaid(msgspec.Struct):
    """One task of a job."""

    position: int
    task_id: str
    new_task_id: str
    state: str
    detail: dict[str, Any] = {}


class ActionSaid(msgspec.Struct):
    """An action, and the tasks of a job."""

    id: str
    verb: str
    state: str
    dry_run: bool = False
    actor: str | None = None
    requested_at: float | None = None
    finished_at: float | None = None
    task_id: str | None = None
    group_id: str | None = None
    queue: str | None = None
    new_task_id: str | None = None
    total: int | None = None
    truncated: bool | None = None
    counts: dict[str, int] | None = None
    result: dict[str, Any] = {}
    notes: list[str] = []
    items: list[ItemSaid] = []
    next_offset: int | None = None


def understood(document: dict[str, Any], kind: type[_Said]) -> _Said:
    """Return an answer as what it should be. Raises ActionsUnreachableError."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError:
        raise ActionsUnreachableError(
            "the answer is none that this version understands",
            hint="Is the exporter of the same version as this command?",
        ) from None


def problem_of(document: dict[str, Any] | None) -> ProblemSaid | None:
    """Return the API's own problem; None for an answer that something else gave."""
    if document is None:
        return None
    try:
        return msgspec.convert(document, ProblemSaid)
    except msgspec.ValidationError:
        return None
