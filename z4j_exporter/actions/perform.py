"""Performs actions: finds payloads, sends, revokes, terminates, purges. All of Celery is behind it.

Whether somebody may, and what was decided before, is decided elsewhere: what is called here
is done. Each call takes the seconds it may last, sends at most once, and raises ActionError.
"""

import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from z4j_exporter.actions.celery_ask import Answer, Question, ask
from z4j_exporter.actions.celery_backend import BackendOptions, ResultBackend
from z4j_exporter.actions.celery_broker import Broker
from z4j_exporter.actions.locate import Located, locate, no_answer, refuse_unless_terminable
from z4j_exporter.actions.messages import Options, compose
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.actions.payload import (
    CallerPayload,
    CapturedPayloads,
    Seen,
    Source,
    first_of,
    of_capture,
)
from z4j_exporter.actions.payload_backend import Metadata, of_metadata
from z4j_exporter.actions.payload_worker import of_worker
from z4j_exporter.actions.perform_receipts import (
    PurgeReceipt,
    RevokeReceipt,
    SendReceipt,
    TaskKnown,
    TerminateReceipt,
)
from z4j_exporter.config import Settings

__all__ = [
    "Performer",
    "PurgeReceipt",
    "RevokeReceipt",
    "SendReceipt",
    "TaskKnown",
    "TerminateReceipt",
]

#: Celery's states that end a task (celery/states.py READY_STATES).
TERMINAL: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
_SEEN_NOTHING: Final = Seen()


class Performer:
    """Everything that is done to the application's broker, workers and result backend.

    ``backend``: where results are, None where that is not known. ``captured``: the capture
    journal. ``json_only``: accept_content is known to be JSON alone. ``expected``: nodenames of
    the workers that are up; when all have answered nobody else is waited for. ``on_retry`` is told
    each new id and the id of the task that it retries. Threads may share
    it: every call has connections of its own.

    Raises BrokerUrlError, ConfigError or FileError for settings that cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        backend: BackendOptions | None = None,
        captured: CapturedPayloads | None = None,
        json_only: bool = False,
        control_exchange: str = "celery",
        expected: Callable[[], Collection[str]] = tuple,
        on_retry: Callable[[str, str], object] = lambda _new_id, _old_id: None,
    ) -> None:
        self._settings = settings
        self._captured = captured
        self._json_only = json_only
        self._control_exchange = control_exchange
        self._expected = expected
        self._on_retry = on_retry
        self._backend = ResultBackend(backend) if backend else None
        self._broker = Broker(settings)

    # payloads and retries

    def find(
        self,
        task_id: str,
        caller: CallerPayload | None = None,
        *,
        seen: Seen = _SEEN_NOTHING,
        queues: Iterable[str] = (),
        unverified: bool = False,
        others: Sequence[Source] = (),
        timeout_seconds: float = 10.0,
    ) -> Payload:
        """Return what a task was sent with, from the first that knows it exactly.

        ``seen``: what events told, to check against. ``queues``: where to look for its message
        first. ``unverified``: take the backend's arguments even where nobody can tell whether the
        task changed them. ``others``: who is asked when nobody here knows it, before the caller.
        Raises ActionError, see payload.first_of.
        """
        deadline = time.monotonic() + timeout_seconds
        named = [*queues, *([seen.queue] if seen.queue else [])]
        sources: list[Source] = []
        if self._captured is not None:
            captured = self._captured
            sources.append(lambda: of_capture(captured, task_id))
        sources += [
            lambda: self._of_backend(task_id, seen, unverified, deadline),
            lambda: self._broker.find(task_id, named, deadline),
            lambda: self._of_worker(task_id, seen, deadline),
            *others,
        ]
        return first_of(sources, caller, seen)

    def send(
        self,
        payload: Payload,
        new_id: str,
        *,
        retry_of: str,
        retry_count: int,
        queue: str | None = None,
        new_queue: bool = False,
        options: Options | None = None,
        timeout_seconds: float = 10.0,
    ) -> SendReceipt:
        """Send a payload under a new id, once; return when the broker has it.

        ``queue``: where to, else where it was sent before. ``new_queue``: on Redis, also where no
        queue of this name is known. Raises ActionError: 422, 503 when nothing was sent, 504 with
        ``unknown`` when it may have been.
        """
        if new_id == retry_of:
            raise ActionError(
                "same-id", 422, "a retry needs a new id: workers discard one that was revoked"
            )
        # Before it is sent: its first events may come at once. Of one that is not sent, none come.
        self._on_retry(new_id, retry_of)
        deadline = time.monotonic() + timeout_seconds
        message = compose(
            payload,
            new_id,
            retry_of=retry_of,
            retry_count=retry_count,
            origin=_origin(),
            options=options,
        )
        exchange, routing_key = self._broker.deliver(
            payload, message, deadline, queue=queue, new_queue=new_queue
        )
        return SendReceipt(
            task_id=new_id,
            queue=None if exchange else routing_key,
            exchange=exchange,
            routing_key=routing_key,
            source=payload.source,
            dropped=message.dropped,
            links=message.links,
            absent=payload.absent,
        )

    # what workers do

    def revoke(self, task_id: str, *, timeout_seconds: float = 5.0) -> RevokeReceipt:
        """Tell all workers not to start a task; one that runs finishes.

        Raises ActionError: 409 (task-finished) where the backend says that it has ended, 503, or
        504 with ``unknown`` when no worker confirmed.
        """
        deadline = time.monotonic() + timeout_seconds
        metadata = self._unfinished(task_id, deadline)
        expected = set(self._expected())
        answers = self._ask(
            [Question("revoke", {"task_id": task_id, "terminate": False})],
            deadline=deadline,
            enough=lambda got: bool(expected) and expected <= {a.worker for a in got},
        )
        workers = sorted({a.worker for a in answers if _ok(a) is not None})
        if not workers:
            raise no_answer("the revocation was sent", sent=True)
        told = metadata.told() if metadata else {}
        return RevokeReceipt(tuple(workers), metadata.status if metadata else None, told)

    def terminate(self, task_id: str, *, timeout_seconds: float = 8.0) -> TerminateReceipt:
        """End a running task: SIGTERM from the worker that runs it to the child that runs it.

        Nothing is sent unless the worker is known and its pool can. Between the question and the
        signal the child may have moved on to another task: Celery gives no way to exclude that.

        Raises ActionError: 409 (task-finished, not-running, pool-cannot-terminate), 503, 504.
        """
        deadline = time.monotonic() + timeout_seconds
        metadata = self._unfinished(task_id, deadline)
        # Two thirds for finding it, so that some time is left for the act.
        found = self._locate(task_id, time.monotonic() + (deadline - time.monotonic()) * 2 / 3)
        held = refuse_unless_terminable(found)
        arguments = {"task_id": task_id, "terminate": True, "signal": "SIGTERM"}
        answers = self._ask(
            [Question("revoke", arguments, destination=(held.worker,))],
            deadline=deadline,
            enough=bool,
        )
        if not any(_ok(answer) is not None for answer in answers):
            raise no_answer("the signal was asked for", sent=True)
        if any("tasks unknown" in str(_ok(answer)) for answer in answers):
            raise ActionError(
                "not-running", 409, "the task had ended when the worker was told to end it"
            )
        return TerminateReceipt(
            held.worker, held.pool, "SIGTERM", metadata.told() if metadata else {}
        )

    def state(self, task_id: str, *, timeout_seconds: float = 5.0) -> TaskKnown:
        """Return what the result backend and the workers say of a task; never raises for them."""
        deadline = time.monotonic() + timeout_seconds
        notes = []
        metadata: Metadata | None = None
        located: Located | None = None
        try:
            metadata = self._metadata(task_id, deadline)
        except ActionError as error:
            notes.append(error.detail)
        try:
            located = self._locate(task_id, deadline)
        except ActionError as error:
            notes.append(error.detail)
        return TaskKnown(
            metadata.status if metadata else None,
            metadata.told() if metadata else {},
            located.held if located else (),
            located.answered if located else None,
            tuple(notes),
        )

    # queues

    def purge_count(self, queue: str, *, timeout_seconds: float = 5.0) -> PurgeReceipt:
        """Return how many messages a purge would remove. Raises ActionError: 404, 501, 503."""
        return self._broker.count(queue, time.monotonic() + timeout_seconds)

    def purge(self, queue: str, *, timeout_seconds: float = 10.0) -> PurgeReceipt:
        """Remove every message that is ready in one queue, at all its priorities.

        Raises ActionError: 404, 409, 501, 502, 503, or 504 with ``unknown``.
        """
        return self._broker.purge(queue, time.monotonic() + timeout_seconds)

    # parts

    def _of_backend(
        self, task_id: str, seen: Seen, unverified: bool, deadline: float
    ) -> Payload | None:
        metadata = self._metadata(task_id, deadline)
        if metadata is None:
            return None
        return of_metadata(metadata, seen, json_only=self._json_only, unverified=unverified)

    def _of_worker(self, task_id: str, seen: Seen, deadline: float) -> Payload | None:
        located = self._locate(task_id, deadline)
        return of_worker(located.held, seen, json_only=self._json_only)

    def _metadata(self, task_id: str, deadline: float) -> Metadata | None:
        if self._backend is None:
            return None
        return self._backend.metadata(task_id, max(0.1, (deadline - time.monotonic()) / 2))

    def _unfinished(self, task_id: str, deadline: float) -> Metadata | None:
        """Return the metadata of a task that has not ended, as far as the backend knows."""
        try:
            metadata = self._metadata(task_id, deadline)
        except ActionError:
            return None  # a backend that is down must not keep anybody from stopping a task
        if metadata is not None and metadata.status in TERMINAL:
            raise ActionError(
                "task-finished",
                409,
                f"the task has ended already: {metadata.status}",
                hint="Revoking it now would only replace what is known of its end.",
            )
        return metadata

    def _locate(self, task_id: str, deadline: float) -> Located:
        return locate(self._ask, task_id, self._expected(), deadline=deadline)

    def _ask(self, questions: list[Question], *, deadline: float, **more: Any) -> list[Answer]:
        return ask(
            self._settings,
            questions,
            deadline=deadline,
            control_exchange=self._control_exchange,
            **more,
        )


def _ok(answer: Answer) -> object:
    """Return what a worker says that it did: ``{"ok": …}``, or the ids of revoked tasks."""
    if isinstance(answer.value, dict):
        return answer.value.get("ok")
    return answer.value


def _origin() -> str:
    """Return who sent it, as Celery's clients name themselves (celery/utils/nodenames.py)."""
    return f"gen{os.getpid()}@{socket.gethostname()}"
