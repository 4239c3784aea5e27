"""What a task was sent with, from whoever still knows it exactly, in the honest order.

The capture journal, the result backend, the message that is still in Redis, the worker that holds
the task, the caller. Never the reprs of events: they are cut, and read back as something else.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from z4j_exporter.actions.messages_body import look, opaque
from z4j_exporter.actions.model import ActionError, Payload

#: What would have helped, when nobody knows the arguments.
_HINT: Final = (
    "Install the capture hook (z4j_exporter.capture) in the application, or set Celery's "
    "result_extended=True with a JSON result backend; or give args and kwargs with the request."
)


class CapturedPayload(Protocol):
    """What the capture hook kept of one message."""

    @property
    def body(self) -> bytes | None:
        """The body of the message as it was sent; None where it was not kept."""

    @property
    def content_type(self) -> str:
        """Its content type."""

    @property
    def content_encoding(self) -> str:
        """Its encoding: utf-8 or binary."""

    @property
    def name(self) -> str:
        """The task's name."""

    @property
    def queue(self) -> str | None:
        """The queue it was sent to, where the sender named one."""

    @property
    def exchange(self) -> str | None:
        """The exchange it was sent to."""

    @property
    def routing_key(self) -> str | None:
        """Its routing key."""

    @property
    def priority(self) -> int | None:
        """Its priority."""

    @property
    def headers(self) -> Mapping[str, Any]:
        """All its headers: protocol 2's and the application's."""

    @property
    def replayable(self) -> bool:
        """Whether it may be sent again: nothing of it was redacted or cut."""

    @property
    def withheld(self) -> str:
        """Why it may not be sent again, in a few words."""


class CapturedPayloads(Protocol):
    """The journal of what the capture hook sent."""

    def payload(self, task_id: str) -> CapturedPayload | None:
        """Return the last message that a task was sent with; None when it was not captured."""


@dataclass(frozen=True, slots=True)
class CallerPayload:
    """What the caller says a task was sent with: all of it, or it is refused."""

    name: str | None
    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a task from its events: enough to check a payload, never to make one."""

    name: str | None = None
    queue: str | None = None
    #: reprs as events have them.
    args: str | None = None
    kwargs: str | None = None


#: Returns a payload, or None where this source does not have it. Raises ActionError.
Source = Callable[[], Payload | None]


def first_of(sources: Sequence[Source], caller: CallerPayload | None, seen: Seen) -> Payload:
    """Return the payload of the first source that has it, the caller's last.

    Raises ActionError: 422 (payload-unavailable, or why a source may not give it), 503 where a
    source that may have it cannot be asked, 409 (payload-differs) where the caller says otherwise
    than the source.
    """
    reasons: list[ActionError] = []
    for source in sources:
        try:
            found = source()
        except ActionError as error:
            reasons.append(error)
            continue
        if found is not None:
            _check_same(found, caller)
            return replace(found, queue=found.queue or seen.queue)
    if caller is not None:
        return of_caller(caller, seen)
    raise _unavailable(reasons)


def of_caller(caller: CallerPayload, seen: Seen) -> Payload:
    """Return the caller's arguments as a payload. Raises ActionError (422)."""
    name = seen.name or caller.name
    if caller.args is None or caller.kwargs is None or not name:
        raise ActionError(
            "payload-incomplete",
            422,
            "args and kwargs must both be given, and the task's name where no event told it",
            hint='Without arguments they are "args": [] and "kwargs": {}.',
        )
    if seen.name and caller.name and caller.name != seen.name:
        raise ActionError("payload-differs", 409, "the task has another name than the request says")
    return Payload(
        name=name,
        body=None,
        content_type="application/json",
        content_encoding="utf-8",
        args=tuple(caller.args),
        kwargs=dict(caller.kwargs),
        source="caller",
        queue=seen.queue,
        absent=("priority", "time limits", "headers", "links", "root_id"),
    )


def of_capture(journal: CapturedPayloads, task_id: str) -> Payload | None:
    """Return what the capture hook kept. Raises ActionError (422, payload-withheld)."""
    captured = journal.payload(task_id)
    if captured is None:
        return None
    if not captured.replayable or captured.body is None:
        raise ActionError(
            "payload-withheld",
            422,
            "the capture hook kept this message, but not so that it can be sent again"
            + (f": {captured.withheld}" if captured.withheld else ""),
            hint="Give args and kwargs with the request.",
        )
    return of_message(
        captured.body,
        captured.content_type,
        captured.content_encoding,
        dict(captured.headers),
        source="capture",
        name=captured.name,
        queue=captured.queue,
        exchange=captured.exchange,
        routing_key=captured.routing_key,
        priority=captured.priority,
    )


def of_envelope(envelope: Mapping[str, Any], queue: str | None) -> Payload:
    """Return a message of kombu's virtual transports as a payload (``virtual.Channel``).

    Raises ActionError (422) for one that cannot be sent again.
    """
    headers = envelope.get("headers")
    properties = envelope.get("properties")
    body = envelope.get("body")
    if not (isinstance(headers, dict) and isinstance(properties, dict) and isinstance(body, str)):
        raise opaque("the message in the broker is not as kombu writes it")
    if properties.get("body_encoding") == "base64":
        try:
            raw = base64.b64decode(body, validate=True)
        except ValueError:
            raise opaque("the message in the broker is not as kombu writes it") from None
    else:
        raw = body.encode("utf-8", "surrogatepass")
    info = properties.get("delivery_info")
    where = info if isinstance(info, dict) else {}
    priority = properties.get("priority")
    return of_message(
        raw,
        str(envelope.get("content-type")),
        str(envelope.get("content-encoding")),
        headers,
        source="queue",
        name=str(headers.get("task")),
        queue=queue,
        exchange=where.get("exchange") or None,
        routing_key=where.get("routing_key"),
        priority=priority if type(priority) is int else None,
    )


def of_message(
    body: bytes,
    content_type: str,
    content_encoding: str,
    headers: dict[str, Any],
    *,
    source: Any,
    name: str,
    **where: Any,
) -> Payload:
    """Return a whole message as a payload; ``where``: queue, exchange, routing_key, priority.

    Raises ActionError (422) for a message that is not one of protocol 2, or cannot be looked into.
    """
    if headers.get("task") is None and headers.get("id") is None:
        raise ActionError(
            "payload-opaque",
            422,
            "the message is one of Celery's protocol 1, whose id stands in its body",
            hint="Set task_protocol=2, Celery's default.",
        )
    looked = look(body, content_type, content_encoding, headers)
    payload = Payload(
        name=name,
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        args=None,
        kwargs=None,
        source=source,
        headers=headers,
        group_id=headers["group"] if isinstance(headers.get("group"), str) else None,
        **where,
    )
    if looked.parts is None:
        return payload
    args, kwargs, embed = looked.parts
    return replace(
        payload,
        args=tuple(args),
        kwargs=kwargs,
        callbacks=_signatures(embed.get("callbacks")),
        errbacks=_signatures(embed.get("errbacks")),
        chain=_signatures(embed.get("chain")),
        chord=embed["chord"] if isinstance(embed.get("chord"), dict) else None,
    )


def _signatures(value: object) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else ()


def _check_same(found: Payload, caller: CallerPayload | None) -> None:
    if caller is None or found.args is None:
        return
    given = (
        (caller.name, found.name),
        (None if caller.args is None else list(caller.args), list(found.args)),
        (None if caller.kwargs is None else dict(caller.kwargs), found.kwargs),
    )
    if any(said is not None and _text(said) != _text(known) for said, known in given):
        raise ActionError(
            "payload-differs",
            409,
            f"the task was sent with something else than the request says (source: {found.source})",
            hint="Leave args and kwargs out: a retry sends what was sent before.",
        )


def _text(value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return ""  # nothing that JSON could have brought here


def _unavailable(reasons: Sequence[ActionError]) -> ActionError:
    """Return why there is no payload: what was in the way first, then what would have helped."""
    for error in reasons:
        if error.status != 503:
            return ActionError(error.kind, error.status, error.detail, hint=error.hint or _HINT)
    if reasons:
        return reasons[0]
    return ActionError(
        "payload-unavailable",
        422,
        "nobody knows what the task was sent with: neither the capture journal, the result "
        "backend, a worker nor a queue",
        hint=_HINT,
    )
