"""The signal handlers: copy what may change, queue it, return; they never raise and never wait.

They run in the application's own threads, so each line here is paid with every task. What needs
thought (redaction, JSON, sending) happens in the sender's thread.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from celery.exceptions import Reject

from z4j_exporter.capture import callers, snapshot
from z4j_exporter.capture.records import Began, Ended, Published

if TYPE_CHECKING:
    from z4j_exporter.capture.hook import Capture

#: Headers that Celery itself makes of a call; all others are the application's or its libraries'.
CELERY_HEADERS = frozenset(
    {
        "lang",
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "compression",
    }
)
#: Bytes that an item takes in the queue beside its payload; measured roughly.
_ITEM_BYTES = 2_000
_RUN_BYTES = 600
#: How many ends are remembered, so that a second signal for one attempt is not a second end.
_ENDS_REMEMBERED = 2_048
#: Seconds in which a second signal is about the same end; later, the task ran again.
_SAME_END_SECONDS = 30.0


#: Of a task's request in a worker: what z4j-run tells, under Celery's names.
_OF_REQUEST = (
    "id",
    "retries",
    "root_id",
    "parent_id",
    "group",
    "group_index",
    "delivery_info",
    "timelimit",
    "hostname",
    "traceparent",
)

# Replaced by hook.py, never changed: id of the application → its capture.
captures: dict[int, Capture] = {}
#: uuid → start on the monotonic clock, of the attempts that run in this process.
_running: dict[str, float] = {}
#: (uuid, retries) → when its end was told, on the monotonic clock.
_ends: OrderedDict[tuple[str, int | None], float] = OrderedDict()


def forget() -> None:
    """Forget what ran in the parent, in a process that was just forked."""
    _running.clear()
    _ends.clear()


def on_publish(
    sender: Any = None,
    body: Any = None,
    exchange: Any = None,
    routing_key: Any = None,
    declare: Any = None,
    headers: Any = None,
    properties: Any = None,
    **_: Any,
) -> None:
    """before_task_publish: any process that sends a task."""
    capture: Capture | None = None
    try:
        sending = callers.sending(sys._getframe(1))
        capture = _capture_of(sending)
        if capture is None or "publish" not in capture.hears:
            return
        settings = capture.settings
        if settings.payload == "none":
            taken = snapshot.DISABLED
        else:
            serializer = _serializer(sending, capture.app, sender)
            taken = snapshot.take_body(body, serializer, settings.max_payload_bytes)
        old = None
        if isinstance(body, Mapping):  # message protocol 1
            old = {k: v for k, v in body.items() if k not in ("args", "kwargs")}
            embed: Any = body
        else:
            embed = body[2]
        stamps = headers.get("stamps")
        custom = headers.keys() - CELERY_HEADERS
        queue = declare[0].name if declare else ""
        item = Published(
            time.time(),
            str(sender),
            taken,
            _embed(embed, taken),
            headers,
            {key: snapshot.plain(headers[key]) for key in custom} if custom else {},
            snapshot.plain(stamps) if stamps else None,
            str(getattr(exchange, "name", exchange) or ""),
            str(routing_key or ""),
            str(queue or ""),
            properties.get("priority") if properties else None,
            "" if "traceparent" in headers else capture.traceparent(),
            callers.chord_size(sys._getframe(1)) if embed.get("chord") else None,
            snapshot.plain(old) if old else None,
        )
        capture.put(item, _ITEM_BYTES + (len(taken.data) if taken.data else 0))
    except Exception:  # noqa: BLE001  # the publish goes on, whatever happens here
        _count_error(capture)


def on_prerun(task_id: Any = None, task: Any = None, **_: Any) -> None:
    """task_prerun: a worker's process or thread begins an attempt."""
    capture: Capture | None = None
    try:
        capture = captures.get(id(task.app))
        if capture is None:
            return
        request = task.request
        known = request.__dict__
        if known.get("is_eager"):
            return
        _running[task_id] = time.monotonic()
        if "run" not in capture.hears:
            return
        fields = {key: known.get(key) for key in _OF_REQUEST}
        fields["chord"] = known.get("chord") is not None
        item = Began(time.time(), task.name, fields, os.getpid(), threading.current_thread().name)
        capture.put(item, _RUN_BYTES)
    except Exception:  # noqa: BLE001  # the task goes on, whatever happens here
        _count_error(capture)


def on_postrun(
    task_id: Any = None, task: Any = None, state: Any = None, retval: Any = None, **_: Any
) -> None:
    """task_postrun: an attempt is over, in the process or thread that ran it."""
    capture: Capture | None = None
    try:
        capture = captures.get(id(task.app))
        if capture is None:
            return
        known = task.request.__dict__
        if known.get("is_eager"):
            return
        # Before the lines below, for what they leave to another signal is no longer running here.
        began = _running.pop(task_id, None)
        raised = sys.exc_info()[0]
        if state is None or (state == "SUCCESS" and raised is not None):
            # Something went through Celery's tracer itself. An Exception comes again as
            # task_internal_error; after the others (SystemExit) a pool's main process tells.
            if raised is None or issubclass(raised, Exception) or capture.in_pool_child:
                return
            state, retval = "FAILURE", raised
        runtime = None if began is None else time.monotonic() - began
        exception = "" if state == "SUCCESS" else _exception(retval)
        _end(capture, task_id, task.name, state, known, exception, runtime)
    except Exception:  # noqa: BLE001  # as above
        _count_error(capture)


def on_failure(sender: Any = None, task_id: Any = None, exception: Any = None, **_: Any) -> None:
    """task_failure: counts where no postrun tells the end, in the main process of a pool.

    Of a rejection, which the main process makes a failure, the child's postrun has told.
    """
    if task_id not in _running and not isinstance(exception, Reject):
        _end_elsewhere(sender, task_id, "FAILURE", _exception(exception))


def on_internal_error(
    sender: Any = None, task_id: Any = None, exception: Any = None, request: Any = None, **_: Any
) -> None:
    """task_internal_error: Celery itself failed around the task."""
    if not (isinstance(request, Mapping) and request.get("is_eager")):
        _end_elsewhere(sender, task_id, "FAILURE", _exception(exception), request)


def on_retry(sender: Any = None, request: Any = None, reason: Any = None, **_: Any) -> None:
    """task_retry: counts where no postrun follows, for a task cancelled with its connection."""
    task_id = getattr(request, "id", None)
    if task_id not in _running:
        _end_elsewhere(sender, task_id, "RETRY", _exception(reason), _fields(request))


def on_revoked(sender: Any = None, request: Any = None, **_: Any) -> None:
    """task_revoked: before it began, expired or terminated; the worker's main process tells."""
    _end_elsewhere(sender, getattr(request, "id", None), "REVOKED", "", _fields(request))


def on_unknown(sender: Any = None, name: Any = None, **told: Any) -> None:
    """task_unknown: the worker has no such task; Celery ends it as failed."""
    capture = captures.get(id(getattr(sender, "app", None)))
    uuid = told.get("id")
    if capture is not None and uuid:
        _guarded(capture, lambda c: _end(c, uuid, str(name), "FAILURE", {}, "NotRegistered", None))


def _end_elsewhere(
    task: Any, task_id: Any, state: str, exception: str, request: Any = None
) -> None:
    capture = captures.get(id(getattr(task, "app", None)))
    if capture is None or not task_id:
        return
    known = request if isinstance(request, Mapping) else {}
    _guarded(capture, lambda c: _end(c, task_id, task.name, state, known, exception, None))


def _fields(request: Any) -> Any:
    return getattr(request, "__dict__", None)


def _guarded(capture: Capture, act: Callable[[Capture], None]) -> None:
    try:
        act(capture)
    except Exception:  # noqa: BLE001  # a worker's main process goes on, whatever happens here
        _count_error(capture)


def _end(
    capture: Capture,
    task_id: str,
    name: str,
    state: str,
    request: Mapping[str, Any],
    exception: str,
    runtime: float | None,
) -> None:
    if "end" not in capture.hears:
        return
    retries = request.get("retries")
    # Several signals may tell of one end that no postrun told (a hard time limit, a lost child).
    if runtime is None and _told_before((task_id, retries), time.monotonic()):
        return
    hostname = request.get("hostname") or ""
    group = request.get("group")
    item = Ended(
        time.time(), task_id, name, state, retries, group, exception, runtime, str(hostname)
    )
    capture.put(item, _RUN_BYTES)


def _told_before(key: tuple[str, int | None], now: float) -> bool:
    before = _ends.get(key)
    _ends[key] = now
    if len(_ends) > _ENDS_REMEMBERED:
        _ends.popitem(last=False)
    return before is not None and now - before < _SAME_END_SECONDS


def _exception(value: Any) -> str:
    """Name the class of what was raised; of a retry, that of what it was for."""
    value = getattr(value, "exc", None) or value  # Retry.exc, ExceptionWithTraceback.exc
    if isinstance(value, type):
        return value.__name__
    return type(value).__name__ if isinstance(value, BaseException) else ""


def _capture_of(sending: Mapping[str, Any]) -> Capture | None:
    owner = sending.get("amqp") or sending.get("default_evd")
    if owner is not None:
        return captures.get(id(owner.app))
    # Not Celery's usual way to send: it can only be told where there is one application.
    return next(iter(captures.values())) if len(captures) == 1 else None


def _serializer(sending: Mapping[str, Any], app: Any, name: Any) -> str:
    found = sending.get("serializer") or sending.get("default_serializer")
    if not found:
        task = app._tasks.get(name)
        found = getattr(task, "serializer", None) or app.conf.task_serializer
    return str(found)


def _embed(embed: Mapping[str, Any], taken: snapshot.Body) -> Any:
    if taken.content_type in _READABLE:
        return None
    links: dict[str, Any] = {}
    for key in ("callbacks", "errbacks", "chain", "chord"):
        if embed.get(key):
            copy = snapshot.Copy()
            links[key] = copy.of(embed[key])
            if copy.cut:
                links[key] = snapshot.CUT
    return links


#: Content types whose body is read again later (see bodies.py).
_READABLE = frozenset({"application/json", "application/x-yaml", "application/x-msgpack"})


def _count_error(capture: Capture | None) -> None:
    for each in [capture] if capture is not None else list(captures.values())[:1]:
        each.failed()
