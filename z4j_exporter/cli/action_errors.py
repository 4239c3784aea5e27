"""How an ``action`` command can end other than well: one exit code for each kind."""

from typing import Any

from z4j_exporter.errors import ExporterError


class ActionCommandError(ExporterError):
    """An action that did not end well. ``problem``: the API's own answer, for programs."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        problem: dict[str, Any] | None = None,
        status: int = 0,
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.problem = problem
        #: The HTTP status; 0 when there was no answer.
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class ActionRefusedError(ActionCommandError):
    """The API refused it (4xx), or refused every task of a job: nothing was done."""

    exit_code = 15


class ActionFailedError(ActionCommandError):
    """It could not be done (5xx), or no task of a job could: nothing was done, for certain."""

    exit_code = 16


class ActionPartialError(ActionCommandError):
    """Some tasks of a job were sent again, and some were not."""

    exit_code = 17


class ActionUnknownError(ActionCommandError):
    """It may have happened: it must be looked at before it is asked for again."""

    exit_code = 18


class ActionsUnreachableError(ActionCommandError):
    """Nobody answers there, or no actions API: nothing was asked for."""

    exit_code = 19


class NotConfirmedError(ActionCommandError):
    """The person at the terminal said no: nothing was done."""

    exit_code = 20


class JobGoesOnError(ActionCommandError):
    """Ctrl-C while a job was watched: the job goes on. 128 + SIGINT, as shells have it."""

    exit_code = 130
