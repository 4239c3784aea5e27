"""The endpoints: each reads its request, asks the engine in a thread, and shows what came of it."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from z4j_exporter.actions import api_views, schemas
from z4j_exporter.actions import schemas_answers as answers
from z4j_exporter.actions.api_alerts import STATUSES, AlertsAnswer, TakesAlerts
from z4j_exporter.actions.engine import Engine
from z4j_exporter.actions.engine_parts import Outcome
from z4j_exporter.actions.engine_request import Request as Asked
from z4j_exporter.actions.model import Action, ActionError, Actor, State, Verb

if TYPE_CHECKING:
    from z4j_exporter.actions.engine_look import SeenAction, SeenTask
    from z4j_exporter.actions.groups import KnownGroup

#: Calls a function in a thread of the pool, and returns what it returns.
Call = Callable[..., Awaitable[Any]]

#: Tasks of a job that one answer shows.
_ITEMS, _ITEMS_MOST = 100, 1000

_Id = Annotated[str, Path(min_length=1, max_length=schemas.MOST_NAME, pattern=schemas.PATH_PATTERN)]
_Key = Annotated[str, Header(min_length=1, max_length=255, pattern=schemas.KEY_PATTERN)]
_OptionalKey = Annotated[
    str | None, Header(min_length=1, max_length=255, pattern=schemas.KEY_PATTERN)
]


def read_routes(engine: Engine, call: Call, call_slow: Call) -> APIRouter:
    """Return the endpoints that viewers may use; ``call_slow`` is for what asks workers."""
    router = APIRouter(prefix="/v1", tags=["look"])

    @router.get("/tasks/{task_id}", operation_id="task", summary="What is known of a task")
    async def task(
        http: Request,
        task_id: _Id,
        ask: Annotated[bool, Query(description="Ask backend and workers too.")] = False,
    ) -> answers.TaskView:
        run = call_slow if ask else call
        seen: SeenTask = await run(engine.looks.task, _actor(http), task_id, ask=ask)
        return api_views.task_view(seen.facts, seen.retried_as, seen.retry_of, seen.known)

    @router.get("/groups/{group_id}", operation_id="group", summary="What is known of a group")
    async def group(http: Request, group_id: _Id) -> answers.GroupView:
        known: tuple[KnownGroup, Any] = await call(engine.looks.group, _actor(http), group_id)
        return api_views.group_view(*known)

    @router.get(
        "/actions/{action_id}", operation_id="action", summary="An action, and the tasks of a job"
    )
    async def action(
        http: Request,
        action_id: _Id,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=_ITEMS_MOST)] = _ITEMS,
    ) -> answers.ActionItemsView:
        seen: SeenAction = await call(
            engine.looks.action, _actor(http), action_id, offset=offset, limit=limit
        )
        return api_views.items_view(seen.action, seen.counts, seen.items, more=seen.more)

    return router


def task_routes(engine: Engine, call: Call) -> APIRouter:
    """Return the endpoints that act on one task or queue."""
    router = APIRouter(prefix="/v1", tags=["act"])

    @router.post("/tasks/{task_id}/retry", operation_id="retry", summary="Send a task again")
    async def retry(
        http: Request,
        answer: Response,
        task_id: _Id,
        body: schemas.RetryRequest | None = None,
        idempotency_key: _OptionalKey = None,
    ) -> answers.ActionView:
        body = body or schemas.RetryRequest.model_validate({})
        asked = Asked(
            Verb.RETRY,
            _actor(http),
            task_id=task_id,
            dry_run=body.dry_run,
            idempotency_key=idempotency_key,
            from_state=tuple(body.from_state),
            sending=body.sending(body.eta),
            given=body.given(),
        )
        return _shown(await call(engine.submit, asked), answer)

    @router.post("/tasks/{task_id}/cancel", operation_id="cancel", summary="Cancel or end a task")
    async def cancel(
        http: Request,
        answer: Response,
        task_id: _Id,
        body: schemas.CancelRequest | None = None,
        idempotency_key: _OptionalKey = None,
    ) -> answers.ActionView:
        body = body or schemas.CancelRequest.model_validate({})
        asked = Asked(
            Verb.TERMINATE if body.terminate else Verb.CANCEL,
            _actor(http),
            task_id=task_id,
            dry_run=body.dry_run,
            idempotency_key=idempotency_key,
            from_state=tuple(body.from_state),
        )
        return _shown(await call(engine.submit, asked), answer)

    @router.post("/queues/{name}/purge", operation_id="purge", summary="Empty a queue")
    async def purge(
        http: Request,
        answer: Response,
        name: _Id,
        idempotency_key: _Key,
        body: schemas.PurgeRequest | None = None,
    ) -> answers.ActionView:
        body = body or schemas.PurgeRequest.model_validate({})
        asked = Asked(
            Verb.PURGE,
            _actor(http),
            queue=name,
            dry_run=body.dry_run,
            idempotency_key=idempotency_key,
            confirm=body.confirm,
        )
        return _shown(await call(engine.submit, asked), answer)

    return router


def job_routes(engine: Engine, call: Call) -> APIRouter:
    """Return the endpoints whose work goes on after the answer."""
    router = APIRouter(prefix="/v1", tags=["act"])
    accepted: dict[int | str, dict[str, Any]] = {
        202: {"model": answers.ActionView, "description": "Accepted: see Location."}
    }

    @router.post(
        "/groups/{group_id}/retry",
        operation_id="retry_group",
        summary="Send the failed members of a group again",
        responses=accepted,
    )
    async def retry_group(
        http: Request,
        answer: Response,
        group_id: _Id,
        idempotency_key: _Key,
        body: schemas.GroupRetryRequest | None = None,
    ) -> answers.ActionView:
        body = body or schemas.GroupRetryRequest.model_validate({})
        asked = Asked(
            Verb.RETRY_GROUP,
            _actor(http),
            group_id=group_id,
            dry_run=body.dry_run,
            idempotency_key=idempotency_key,
            from_state=tuple(body.from_state),
            sending=body.sending(),
            whole=body.whole,
            rate=body.rate,
        )
        return _shown(await call(engine.submit, asked), answer)

    @router.post(
        "/bulk-retry",
        operation_id="bulk_retry",
        summary="Send many tasks again",
        responses=accepted,
    )
    async def bulk_retry(
        http: Request,
        answer: Response,
        idempotency_key: _Key,
        body: schemas.BulkRetryRequest,
    ) -> answers.ActionView:
        asked = Asked(
            Verb.BULK_RETRY,
            _actor(http),
            task_ids=tuple(body.task_ids or ()),
            filter=body.filter.filter() if body.filter else None,
            dry_run=body.dry_run,
            idempotency_key=idempotency_key,
            from_state=tuple(body.from_state),
            sending=body.sending(),
            limit=body.limit,
            rate=body.rate,
        )
        return _shown(await call(engine.submit, asked), answer)

    @router.post(
        "/actions/{action_id}/cancel",
        operation_id="cancel_job",
        summary="Stop a job before its next task",
    )
    async def cancel_job(http: Request, action_id: _Id) -> answers.ActionView:
        action: Action = await call(engine.cancel_job, _actor(http), action_id)
        return api_views.action_view(action)

    @router.post(
        "/actions/{action_id}/resume",
        operation_id="resume_job",
        summary="Go on with an interrupted job: with what was never begun alone",
        status_code=202,
    )
    async def resume_job(http: Request, action_id: _Id) -> answers.ActionView:
        action: Action = await call(engine.resume_job, _actor(http), action_id)
        return api_views.action_view(action)

    return router


def alert_routes(engine: Engine, alerts: TakesAlerts, call: Call) -> APIRouter:
    """Return the endpoint for Alertmanager."""
    router = APIRouter(prefix="/v1", tags=["alerts"])

    def take(actor: Actor, message: dict[str, Any]) -> AlertsAnswer:
        engine.access.permit_alerts(actor)
        return alerts(actor, message)

    @router.post(
        "/alertmanager",
        operation_id="alertmanager",
        summary="Alertmanager's webhook, payload version 4",
        responses={202: {"model": answers.AlertsView, "description": "Enqueued durably."}},
    )
    async def alertmanager(
        http: Request, answer: Response, body: schemas.AlertmanagerMessage
    ) -> answers.AlertsView:
        taken: AlertsAnswer = await call(take, _actor(http), body.model_dump())
        if taken.status not in STATUSES:
            raise ValueError(f"alerts cannot be answered with {taken.status}")
        if taken.status == 503:
            raise ActionError("journal-unavailable", 503, "The alerts could not be written down.")
        answer.status_code = taken.status
        return answers.AlertsView(**taken.told)

    return router


def _actor(http: Request) -> Actor:
    actor = http.state.actor
    assert isinstance(actor, Actor)  # noqa: S101 - the door let it in
    return actor


def _shown(outcome: Outcome, answer: Response) -> answers.ActionView:
    if outcome.replayed:
        answer.headers["idempotency-replayed"] = "true"
    if outcome.action.state is State.RUNNING:
        answer.status_code = 202
        answer.headers["location"] = f"/v1/actions/{outcome.action.id}"
    return api_views.action_view(outcome.action, outcome.notes)
