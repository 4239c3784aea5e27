"""The API of the actions as an ASGI application: the endpoints behind their door."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from z4j_exporter.actions import openapi, problems
from z4j_exporter.actions.api_alerts import TakesAlerts, no_rules
from z4j_exporter.actions.api_door import ALERTS_PATH, Admits, Door, for_alerts
from z4j_exporter.actions.api_routes import (
    Call,
    alert_routes,
    job_routes,
    read_routes,
    task_routes,
)
from z4j_exporter.actions.engine import Engine
from z4j_exporter.actions.model import ActionError
from z4j_exporter.web.asgi import App, Receive, Scope, Send
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.workers import BusyError, Workers

logger = logging.getLogger(__name__)

#: Actions under way at one time, and requests that wait for one to end. Each may wait for workers
#: and brokers for seconds.
_THREADS: Final = 8
_WAITING: Final = 32
#: Looking and taking alerts have threads of their own: they read and write the journal alone, and
#: must not wait for workers that do not answer.
_OWN_THREADS: Final = 2

OPENAPI_PATH: Final = "/v1/openapi.json"


class Api:
    """The API; call ``close`` when no listener serves it any more."""

    def __init__(
        self,
        engine: Engine,
        admission: Admits,
        *,
        alerts: TakesAlerts = no_rules,
        stats: WebStats | None = None,
    ) -> None:
        self._pools = {
            "acts": Workers(threads=_THREADS, waiting=_WAITING, name="actions"),
            "looks": Workers(threads=_OWN_THREADS, waiting=_WAITING, name="actions-looks"),
            "alerts": Workers(threads=_OWN_THREADS, waiting=_WAITING, name="actions-alerts"),
        }
        calls = {name: partial(_run, pool) for name, pool in self._pools.items()}
        #: The application without its door, for its routes and its document.
        routers = _routers(engine, alerts, calls)
        self.inner = _inner(engine, routers)
        self._door = Door(cast("App", self.inner), admission, engine.stranger)
        if stats is not None:
            stats.known_paths |= {OPENAPI_PATH}
            stats.templates = tuple(_templates(routers))

    def close(self) -> None:
        """Let the threads end."""
        for pool in self._pools.values():
            pool.close()
        self._door.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._door(scope, receive, send)


def _templates(routers: Sequence[APIRouter]) -> Iterator[tuple[re.Pattern[str], str]]:
    """Yield each route's pattern and path, in the order in which they are tried."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                yield route.path_regex, route.path_format


async def _run(workers: Workers, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    try:
        return await workers.run(lambda: function(*args, **more))
    except BusyError:
        raise ActionError(
            "busy", 503, "Too many requests are at work; nothing was done.", hint="Try again."
        ) from None


def _routers(
    engine: Engine, alerts: TakesAlerts, calls: Mapping[str, Call]
) -> tuple[APIRouter, ...]:
    return (
        read_routes(engine, calls["looks"], calls["acts"]),
        task_routes(engine, calls["acts"]),
        job_routes(engine, calls["acts"]),
        alert_routes(engine, alerts, calls["alerts"]),
    )


def _inner(engine: Engine, routers: Sequence[APIRouter]) -> FastAPI:
    app = FastAPI(
        openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, debug=False
    )
    for router in routers:
        app.include_router(router)

    @app.get(OPENAPI_PATH, operation_id="openapi", summary="This document", tags=["look"])
    async def document(http: Request) -> dict[str, Any]:
        engine.access.permit_read(http.state.actor)
        return openapi.document(app)

    app.add_exception_handler(ActionError, _on_action_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unforeseen)
    return app


def _answer(http: Request, error: ActionError, headers: dict[str, str] | None = None) -> Response:
    if http.url.path == ALERTS_PATH:
        error = for_alerts(error)
    return Response(
        problems.encoded(error, http.state.request_id),
        status_code=error.status,
        headers={**problems.headers_of(error), **(headers or {})},
        media_type=problems.CONTENT_TYPE,
    )


async def _on_action_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, ActionError)  # noqa: S101 - registered for it
    if error.status >= 500:
        logger.warning("request %s: %s (%d)", http.state.request_id, error.kind, error.status)
    return _answer(http, error)


async def _on_invalid(http: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    mistakes = [_mistake(one) for one in error.errors()]
    if any(one["at"] == "header.idempotency-key" for one in mistakes):
        return _answer(
            http,
            ActionError(
                "idempotency-key-needed",
                400,
                "This needs the header Idempotency-Key: 1 to 255 visible characters.",
                hint="A new key for each thing that is to be done; the same to ask again.",
            ),
        )
    return _answer(http, problems.InvalidRequestError(mistakes))


async def _on_http(http: Request, error: Exception) -> Response:
    """Answer what the router refuses: 404 and 405; nothing else comes."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    kinds = {404: ("no-such-path", "There is nothing here."),
             405: ("method-not-allowed", "This method is not for this path.")}  # fmt: skip
    kind, detail = kinds.get(error.status_code, ("bad-request", "The request cannot be read."))
    return _answer(http, ActionError(kind, error.status_code, detail), dict(error.headers or {}))


async def _on_unforeseen(http: Request, error: Exception) -> Response:  # noqa: ARG001 - logged by the door
    return _answer(http, problems.internal())


def _mistake(error: dict[str, Any]) -> dict[str, str]:
    """Return one mistake without anything that the client sent."""
    where = list(error["loc"])
    kind = str(error["type"])
    if kind == "extra_forbidden":
        where.pop()  # its name is the client's
        problem = "has an unknown member"
    elif kind == "value_error":
        problem = str(error["msg"]).removeprefix("Value error, ")
    else:
        problem = str(error["msg"])
    # Keys of free objects are the client's too: nothing deeper than our own names is told.
    own = [str(part) for part in where[:3]]
    return {"at": ".".join(own), "problem": problem}
