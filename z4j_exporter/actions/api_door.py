"""Stands before the API: who asks, from where, and a body that may be read; else a problem.

Nobody who is not known gets further than the headers, and no body is read beyond its limit.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from z4j_exporter.actions import problems
from z4j_exporter.actions.api_json import parse
from z4j_exporter.actions.model import ActionError, Actor
from z4j_exporter.actions.tokens_bearer import AuthenticationError
from z4j_exporter.web.asgi import App, Message, Receive, Scope, Send, header, send_body
from z4j_exporter.web.workers import BusyError, Workers

logger = logging.getLogger(__name__)

#: Alertmanager's route: its messages may be larger, and it must never see 409 or 429, after which
#: it would drop the alerts (it sends again after 5xx alone).
ALERTS_PATH: Final = "/v1/alertmanager"
#: Largest bodies, in bytes.
BODY_BYTES: Final = 64 * 1024
ALERTS_BODY_BYTES: Final = 1024 * 1024

#: Bodies up to this size are skipped when they are refused; the connection of others is closed.
_SKIPPED_BYTES: Final = 8 * 1024 * 1024

_SAFE_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_CLOSE: Final = {"connection": "close"}


class Admits(Protocol):
    """Who asks; see policy.Admission."""

    def admit(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        query: bytes,
        certificate: Mapping[str, Any] | None,
        peer: str | None,
        *,
        limited: bool = True,
    ) -> Actor:
        """Return who asks; raises ActionError: 400, 401, 429."""


class Door:
    """An ASGI application in front of the API; ``on_stranger`` is told of each failed login.

    It is called in a thread, since it writes the audit log.
    """

    def __init__(
        self, app: App, admission: Admits, on_stranger: Callable[[AuthenticationError], None]
    ) -> None:
        self._app = app
        self._admission = admission
        self._on_stranger = on_stranger
        # One thread and a short queue: a flood is counted, and its rest is not written down.
        self._audit = Workers(threads=1, waiting=32, name="actions-denials")

    def close(self) -> None:
        """Let the thread end."""
        self._audit.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the API do it."""
        if scope["type"] != "http":
            return
        request_id = uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        answer = _Answer(send, request_id, alerts=scope["path"] == ALERTS_PATH)
        try:
            _refuse_cross_site(scope)
            state["actor"] = await self._admit(scope, answer)
            body = await _read_body(scope, receive)
            await self._app(_as_get(scope), _replay(body, receive), answer.send)
        except _GoneError:
            return
        except ActionError as error:
            await answer.problem(error)
        except Exception:
            logger.exception("request %s ended with an unforeseen error", request_id)
            await answer.problem(problems.internal())

    async def _admit(self, scope: Scope, answer: "_Answer") -> Actor:
        client = scope.get("client")
        try:
            return self._admission.admit(
                scope["headers"],
                scope["query_string"],
                scope["state"].get("peer_certificate"),
                client[0] if client else None,
                limited=not answer.alerts,
            )
        except AuthenticationError as error:
            if not error.quiet:
                await self._tell(error)
            raise

    async def _tell(self, error: AuthenticationError) -> None:
        try:
            await self._audit.run(self._on_stranger, error)
        except BusyError:
            logger.warning("a failed login was counted and not written down: too many at once")


class _GoneError(Exception):
    """The client left before its request was whole."""


class _TooLargeError(ActionError):
    """A body beyond its limit; ``endless``: what is left of it is not even skipped.

    Skipping lets the client read the answer: a connection that is closed while its client still
    sends is reset, and the answer lost. The listener's deadline ends what drips.
    """

    def __init__(self, most: int, *, endless: bool) -> None:
        super().__init__("body-too-large", 413, f"The body has more than {most} bytes.")
        self.endless = endless


class _Answer:
    """The answer to one request: its headers, and a problem where none was begun."""

    def __init__(self, send: Send, request_id: str, *, alerts: bool) -> None:
        self.alerts = alerts
        self._send = send
        self._id = request_id
        self._begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            own = [(b"x-request-id", self._id.encode()), *_SAFE_HEADERS]
            names = {name for name, _ in own}
            kept = [item for item in message["headers"] if item[0].lower() not in names]
            message = {**message, "headers": [*kept, *own]}
        await self._send(message)

    async def problem(self, error: ActionError) -> None:
        if self._begun:
            return
        if self.alerts:
            error = for_alerts(error)
        headers = problems.headers_of(error)
        if isinstance(error, _TooLargeError) and error.endless:
            headers |= _CLOSE
        await send_body(
            self.send,
            error.status,
            problems.CONTENT_TYPE.encode(),
            problems.encoded(error, self._id),
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
        )


def for_alerts(error: ActionError) -> ActionError:
    """Return an error as Alertmanager may see it: 409 and 429 would make it drop the alerts."""
    if error.status not in (409, 429):
        return error
    return ActionError(error.kind, 503, error.detail, hint=error.hint)


def _refuse_cross_site(scope: Scope) -> None:
    """Refuse what a web page made a browser send. No page of ours ever asks.

    Browsers name the Origin of every request across sites that is not a plain GET, and the newer
    ones say of each in Sec-Fetch-Site whether a page made it (https://www.w3.org/TR/fetch-metadata/).
    """
    site = header(scope, b"sec-fetch-site")
    if header(scope, b"origin") is None and site in (None, b"none"):
        return
    raise ActionError("cross-site", 403, "Requests that a web page makes are not answered here.")


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the body, refused as soon as it is too large; that it is JSON is sure then."""
    if scope["method"] in ("GET", "HEAD"):
        return b""
    most = ALERTS_BODY_BYTES if scope["path"] == ALERTS_PATH else BODY_BYTES
    declared = header(scope, b"content-length")
    if declared is not None and int(declared) > most:  # h11 has refused what is no number
        raise _TooLargeError(most, endless=int(declared) > _SKIPPED_BYTES)
    has_body = declared not in (None, b"0") or header(scope, b"transfer-encoding") is not None
    if has_body:
        _check_type(scope)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _GoneError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            raise _TooLargeError(most, endless=declared is None)
    if body:
        _check_type(scope)
        parse(bytes(body))
    return bytes(body)


def _check_type(scope: Scope) -> None:
    content_type = (header(scope, b"content-type") or b"").decode("latin-1").lower()
    kind, _, parameters = content_type.partition(";")
    if kind.strip() != "application/json" or parameters.strip() not in ("", "charset=utf-8"):
        raise _unsupported("Bodies are taken as application/json in UTF-8 only.")
    if header(scope, b"content-encoding") not in (None, b"identity"):
        raise _unsupported("Bodies are taken as they are, not compressed.")


def _unsupported(detail: str) -> ActionError:
    return ActionError("unsupported-media-type", 415, detail)


def _as_get(scope: Scope) -> Scope:
    # The protocol leaves the body of the answer out, and keeps its length.
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
