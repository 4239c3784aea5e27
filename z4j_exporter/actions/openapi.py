"""The OpenAPI document: FastAPI's, with every problem, the ways to log in, and the headers."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from z4j_exporter import __version__
from z4j_exporter.actions import problems
from z4j_exporter.actions.schemas_answers import Problem

_DESCRIPTION: Final = (
    "Acts on the tasks of a Celery application: off by default, on a listener of its own. Errors"
    " are application/problem+json; a problem with `unknown` may have happened all the same."
)
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "z4j-exporter token new"},
    "certificate": {"type": "mutualTLS", "description": "A client certificate in the token file."},
}
#: Statuses of problems, by method, and what each means.
_READING: Final = {
    400: "The request cannot be read.",
    401: "No valid token and no known client certificate.",
    403: "The role or the scope does not allow it, or a web page made the request.",
    404: "There is no such thing, or it may not be seen.",
    422: "The request does not fit its schema, or cannot be done as it is.",
    429: "Too many requests: see Retry-After.",
    500: "The exporter failed; its log says more.",
    503: "A part that is needed does not answer; nothing was done.",
}
_ACTING: Final = {
    **_READING,
    409: "The state does not allow it, or the first request of this key is at work.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    501: "The broker cannot do this.",
    502: "The broker refused.",
    504: "Nobody answered: whether it happened is not known.",
}
_ALERTS: Final = {status: words for status, words in _ACTING.items() if status not in (409, 429)}
_OF_HEADERS: Final = {
    401: {"WWW-Authenticate": "How to log in."},
    429: {"Retry-After": "Seconds."},
    503: {"Retry-After": "Seconds."},
}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document of an application; FastAPI keeps it in ``app.openapi_schema``."""
    if app.openapi_schema is None:
        app.openapi_schema = _make(app)
    return app.openapi_schema


def _make(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title="z4j-exporter actions",
        version=__version__,
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        routes=app.routes,
    )
    components = made.setdefault("components", {})
    known = components.setdefault("schemas", {})
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    known.update(schema.pop("$defs", {}))
    known["Problem"] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    components["securitySchemes"] = _SECURITY
    made["security"] = [{name: []} for name in _SECURITY]
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            _add_problems(path, method, operation["responses"])
    return made


def _add_problems(path: str, method: str, responses: dict[str, Any]) -> None:
    table = _READING if method == "get" else _ACTING
    if path.endswith("/alertmanager"):
        table = _ALERTS
    for status, words in table.items():
        responses[str(status)] = {
            "description": words,
            "content": {
                problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
        if status in _OF_HEADERS:
            responses[str(status)]["headers"] = {
                name: {"description": meaning, "schema": {"type": "string"}}
                for name, meaning in _OF_HEADERS[status].items()
            }
    for answer in responses.values():
        answer.setdefault("headers", {})["X-Request-Id"] = {
            "description": "Stands in the log beside what went wrong.",
            "schema": {"type": "string"},
        }
