"""Errors as answers: application/problem+json (RFC 9457) with types that stay. Pure."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from z4j_exporter.actions.engine_parts import Refusal
from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.rates import RateLimitedError
from z4j_exporter.actions.tokens_bearer import CHALLENGE

CONTENT_TYPE: Final = "application/problem+json"
#: A path of the documentation, which explains each kind.
TYPE_BASE: Final = "/docs/actions#"

#: Seconds after which to come again where nothing says it better.
_RETRY_SECONDS: Final = 1
#: Mistakes in one request that are told.
_MOST_MISTAKES: Final = 10


class InvalidRequestError(ActionError):
    """A request that does not fit its schema (422, or 400), with each mistake."""

    def __init__(self, mistakes: Sequence[dict[str, str]]) -> None:
        super().__init__("invalid-request", 422, "The request does not fit its schema.")
        self.mistakes = list(mistakes[:_MOST_MISTAKES])


def problem_of(error: ActionError, request_id: str) -> dict[str, Any]:
    """Return the body of an answer; nothing of what the client sent is in it."""
    body: dict[str, Any] = {
        "type": TYPE_BASE + error.kind,
        "title": error.kind.replace("-", " ").capitalize(),
        "status": error.status,
        "detail": error.detail,
        "request_id": request_id,
    }
    if error.hint:
        body["hint"] = error.hint
    if error.unknown:
        body["unknown"] = True
    if isinstance(error, InvalidRequestError):
        body["errors"] = error.mistakes
    if isinstance(error, Refusal):
        if error.action_id:
            body["action_id"] = error.action_id
        body.update(error.extra)
    return body


def headers_of(error: ActionError) -> dict[str, str]:
    """Return the headers that belong to an error's status."""
    headers = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = CHALLENGE
    if isinstance(error, RateLimitedError):
        headers["retry-after"] = str(error.retry_after)
    elif error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(_RETRY_SECONDS)
    return headers


def encoded(error: ActionError, request_id: str) -> bytes:
    """Return the body of an answer as bytes."""
    return json.dumps(problem_of(error, request_id)).encode("ascii")


def internal() -> ActionError:
    """Return the failure of which only the log says more."""
    return ActionError(
        "internal",
        500,
        "The exporter failed to answer this request.",
        hint="Its log says more, under the request's id.",
    )
