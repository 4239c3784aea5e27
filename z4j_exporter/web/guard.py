"""Who may make a request: the rate limit, the users and the headers of the web configuration."""

import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import bcrypt

from z4j_exporter.web.asgi import App, Headers, Message, Receive, Scope, Send, header, send_text
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.workers import BusyError, Workers

#: Passwords known to be right, kept so that a scrape costs no bcrypt. Wrong ones are not kept: a
#: flood of guesses could push the right ones out.
_CACHE_SIZE = 100
#: Passwords that may wait to be checked; more requests are told to come again.
_CHECKS_WAITING = 32
#: bcrypt looks at this many bytes; Go and htpasswd cut there, Python's bcrypt refuses more.
_BCRYPT_BYTES = 72
#: The cost of a hash that nobody has, for users that do not exist.
_DEFAULT_COST = 10

_CLOSE = (b"connection", b"close")
_CHALLENGE = (b"www-authenticate", b'Basic realm="z4j-exporter", charset="UTF-8"')


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who may make requests, and what every answer says."""

    #: User name → bcrypt hash. Empty: nobody is asked.
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    #: Added to every answer, in place of the application's own of the same name.
    headers: tuple[tuple[bytes, bytes], ...] = ()
    #: Seconds until one more request is allowed; 0 for no limit.
    interval_seconds: float = 0.0
    #: Requests that may come at once.
    burst: int = 0


class AccessProvider(Protocol):
    """Says what holds at this moment; called in the event loop, for each request."""

    def access(self) -> AccessPolicy:
        """Return the policy."""


class Guard:
    """ASGI application in front of another one; does what the access policy says."""

    def __init__(
        self,
        app: App,
        provider: AccessProvider,
        stats: WebStats,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._provider = provider
        self._stats = stats
        self._bucket = TokenBucket(clock)
        self._passwords = Passwords()

    def close(self) -> None:
        """Let the password thread end."""
        self._passwords.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application do it."""
        if scope["type"] != "http":
            return
        policy = self._provider.access()
        if policy.headers:
            send = _with_headers(send, policy.headers)
        if not self._bucket.take(policy.interval_seconds, policy.burst):
            self._stats.add("rate_limited")
            await send_text(send, 429, "Too many requests.\n", headers=[_CLOSE])
        elif not policy.users or await self._admitted(policy, scope, send):
            await self._app(scope, receive, send)

    async def _admitted(self, policy: AccessPolicy, scope: Scope, send: Send) -> bool:
        """Check the user; answers the request itself when it returns False."""
        credentials = parse_basic(header(scope, b"authorization"))
        if credentials is not None:
            try:
                if await self._passwords.right(policy.users, *credentials):
                    return True
            except BusyError:
                busy = [(b"retry-after", b"1"), _CLOSE]
                await send_text(send, 503, "Too many logins at the same time.\n", headers=busy)
                return False
        if header(scope, b"authorization") is not None:
            self._stats.add("auth_failures")
        await send_text(send, 401, "Unauthorized.\n", headers=[_CHALLENGE])
        return False


class Passwords:
    """Checks passwords against bcrypt hashes, in a thread of their own, and remembers the right."""

    def __init__(self) -> None:
        # One thread: guesses may then take one processor at most.
        self._workers = Workers(threads=1, waiting=_CHECKS_WAITING, name="passwords")
        # The key makes the digests worthless to whoever should read this process's memory.
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, None] = {}

    def close(self) -> None:
        """Let the thread end."""
        self._workers.close()

    async def right(self, users: Mapping[str, bytes], user: str, password: bytes) -> bool:
        """Whether the password is that user's. Raises `BusyError` when too many wait."""
        stored = users.get(user)
        if stored is None:
            # The same work for a user who does not exist, so that time tells nothing.
            await self._workers.run(_check, password, _decoy(users))
            return False
        digest = self._digest(user, password, stored)
        if digest in self._known:
            return True
        if not await self._workers.run(_check, password, stored):
            return False
        if len(self._known) >= _CACHE_SIZE:
            del self._known[next(iter(self._known))]
        self._known[digest] = None
        return True

    def _digest(self, user: str, password: bytes, stored: bytes) -> bytes:
        hasher = hashlib.blake2b(key=self._secret, digest_size=32)
        for part in (user.encode(), stored, password):
            hasher.update(len(part).to_bytes(8, "big"))
            hasher.update(part)
        return hasher.digest()


class TokenBucket:
    """Lets `burst` requests through at once, and one more every interval."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rule = (0.0, 0)
        self._tokens = 0.0
        self._updated = 0.0

    def take(self, interval_seconds: float, burst: int) -> bool:
        """Whether one more request may pass now; an interval of 0 lets every one pass."""
        if interval_seconds <= 0:
            return True
        now = self._clock()
        if (interval_seconds, burst) != self._rule:
            self._rule = (interval_seconds, burst)
            self._tokens = float(burst)
        else:
            gained = (now - self._updated) / interval_seconds
            self._tokens = min(float(burst), self._tokens + gained)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def parse_basic(value: bytes | None) -> tuple[str, bytes] | None:
    """Return user and password of an Authorization header (RFC 7617), or None."""
    scheme, _, encoded = (value or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _check(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], stored)
    except ValueError:  # a password that bcrypt cannot take, such as one with a NUL
        return False


def _decoy(users: Mapping[str, bytes]) -> bytes:
    """Return a hash that no password has, as costly as the users' own."""
    cost = next((int(stored[4:6]) for stored in users.values()), _DEFAULT_COST)
    return b"$2b$%02d$" % cost + b"." * 53


def _with_headers(send: Send, headers: tuple[tuple[bytes, bytes], ...]) -> Send:
    names = {name for name, _ in headers}

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own: Headers = [item for item in message["headers"] if item[0].lower() not in names]
            message = {**message, "headers": [*own, *headers]}
        await send(message)

    return send_with_headers
