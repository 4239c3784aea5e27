"""The few ASGI types and answers that the web modules share."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

#: "Content-Type" of plain text and of pages.
TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return a request header's values joined by commas (RFC 9110, 5.3); `name` in lower case."""
    values = [value for key, value in scope["headers"] if key == name]
    return b", ".join(values) if values else None


async def send_body(
    send: Send,
    status: int,
    content_type: bytes,
    body: bytes,
    *,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send a whole answer. uvicorn leaves the body out when the request is a HEAD."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(body)),
                (b"x-content-type-options", b"nosniff"),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_text(
    send: Send, status: int, text: str, *, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send an answer in plain text."""
    await send_body(send, status, TEXT, text.encode(), headers=headers)
