"""Users, rate limit and headers in front of an application."""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.web import hashed
from z4j_exporter.web import guard
from z4j_exporter.web.asgi import Message, Scope, send_text
from z4j_exporter.web.guard import AccessPolicy, Guard, Passwords, TokenBucket, parse_basic
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.workers import BusyError

USERS = {"alice": hashed("secret").encode(), "bob": hashed("other").encode()}


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    await send_text(send, 200, "hello")


class Asked:
    """A guard in front of `hello`; keeps the answers."""

    def __init__(self, policy: AccessPolicy) -> None:
        self.policy = policy
        self.now = 0.0
        self.stats = WebStats()
        self.guard = Guard(hello, self, self.stats, clock=lambda: self.now)

    def access(self) -> AccessPolicy:
        return self.policy

    async def get(self, authorization: bytes | None = None) -> tuple[int, dict[bytes, bytes]]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("nobody reads the body")

        headers = [] if authorization is None else [(b"authorization", authorization)]
        await self.guard({"type": "http", "path": "/", "headers": headers}, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("authorization", "status", "failures"),
    [
        (None, 401, 0),
        (basic("alice", "secret"), 200, 0),
        (basic("bob", "other"), 200, 0),
        (basic("alice", "Secret"), 401, 1),
        (basic("alice", "other"), 401, 1),
        (basic("carol", "secret"), 401, 1),
        (basic("alice", ""), 401, 1),
        (basic("", ""), 401, 1),
        (basic("alice", "secret\0"), 401, 1),
        (basic("alice", "x" * 5000), 401, 1),
        (b"Basic", 401, 1),
        (b"Basic !!!", 401, 1),
        (b"Basic " + base64.b64encode(b"no-colon"), 401, 1),
        (b"Basic " + base64.b64encode(b"\xff\xfe:x"), 401, 1),
        (b"Bearer " + base64.b64encode(b"alice:secret"), 401, 1),
        (b"basic " + base64.b64encode(b"alice:secret"), 200, 0),
    ],
)
def test_users(authorization: bytes | None, status: int, failures: int) -> None:
    asked = Asked(AccessPolicy(users=USERS))
    answer, headers = asyncio.run(asked.get(authorization))
    assert answer == status
    assert asked.stats.auth_failures == failures
    assert headers.get(b"www-authenticate", b"").startswith(b"Basic") is (status == 401)


def test_without_users_nobody_is_asked() -> None:
    assert asyncio.run(Asked(AccessPolicy()).get())[0] == 200


def test_a_removed_or_changed_user_is_out_at_once() -> None:
    async def scenario() -> list[int]:
        asked = Asked(AccessPolicy(users=USERS))
        statuses = [(await asked.get(basic("alice", "secret")))[0]]
        asked.policy = AccessPolicy(users={"alice": hashed("new").encode()})
        statuses.append((await asked.get(basic("alice", "secret")))[0])
        statuses.append((await asked.get(basic("alice", "new")))[0])
        asked.policy = AccessPolicy(users={"bob": USERS["bob"]})
        statuses.append((await asked.get(basic("alice", "new")))[0])
        return statuses

    assert asyncio.run(scenario()) == [200, 401, 200, 401]


class Checks:
    """Counts what bcrypt is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashes: list[bytes] = []
        real = guard.bcrypt.checkpw

        def checkpw(password: bytes, stored: bytes) -> bool:
            self.hashes.append(stored)
            return real(password, stored)

        monkeypatch.setattr(guard.bcrypt, "checkpw", checkpw)


def right(*attempts: tuple[Mapping[str, bytes], str, bytes]) -> list[bool]:
    async def scenario() -> list[bool]:
        passwords = Passwords()
        return [await passwords.right(*attempt) for attempt in attempts]

    return asyncio.run(scenario())


def test_a_right_password_is_checked_once_and_a_wrong_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = Checks(monkeypatch)
    good, bad = (USERS, "alice", b"secret"), (USERS, "alice", b"wrong")
    assert right(good, good, bad, bad, good) == [True, True, False, False, True]
    assert len(checks.hashes) == 3


def test_an_unknown_user_costs_what_a_known_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = Checks(monkeypatch)
    users = {"alice": b"$2b$05$" + b"a" * 53}
    assert right((users, "mallory", b"x")) == [False]
    [asked] = checks.hashes
    assert asked[:7] == b"$2b$05$"


def test_the_first_72_bytes_count_as_in_go_and_htpasswd() -> None:
    users = {"alice": hashed("p" * 72).encode()}
    assert right((users, "alice", b"p" * 72 + b"more"), (users, "alice", b"p" * 71)) == [
        True,
        False,
    ]


def test_passwords_known_to_be_right_are_bounded() -> None:
    async def scenario() -> int:
        passwords = Passwords()
        stored = hashed("x").encode()
        for number in range(110):
            assert await passwords.right({f"u{number}": stored}, f"u{number}", b"x")
        return len(passwords._known)

    assert asyncio.run(scenario()) == 100


def test_a_flood_of_logins_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*args: object) -> bool:
        raise BusyError

    monkeypatch.setattr(Passwords, "right", busy)
    status, headers = asyncio.run(Asked(AccessPolicy(users=USERS)).get(basic("alice", "x")))
    assert (status, headers[b"retry-after"]) == (503, b"1")


def test_the_bucket_fills_again() -> None:
    now = 0.0
    bucket = TokenBucket(lambda: now)
    assert [bucket.take(10, 2) for _ in range(3)] == [True, True, False]
    now = 9.0
    assert not bucket.take(10, 2)
    now = 11.0
    assert [bucket.take(10, 2) for _ in range(2)] == [True, False]
    now = 1000.0
    assert [bucket.take(10, 2) for _ in range(3)] == [True, True, False]
    assert [bucket.take(10, 1) for _ in range(2)] == [True, False], "a new rule begins anew"
    assert all(bucket.take(0, 0) for _ in range(100))


def test_too_many_requests() -> None:
    asked = Asked(AccessPolicy(interval_seconds=1.0, burst=1))
    assert asyncio.run(asked.get())[0] == 200
    assert asyncio.run(asked.get())[0] == 429
    assert asked.stats.rate_limited == 1
    asked.now = 1.0
    assert asyncio.run(asked.get())[0] == 200


def test_configured_headers_are_on_every_answer_in_place_of_our_own() -> None:
    policy = AccessPolicy(
        users=USERS, headers=((b"content-type", b"x"), (b"x-frame-options", b"deny"))
    )
    for authorization in (None, basic("alice", "secret")):
        _, headers = asyncio.run(Asked(policy).get(authorization))
        assert headers[b"x-frame-options"] == b"deny"
        assert headers[b"content-type"] == b"x"


@pytest.mark.parametrize("value", [None, b"", b"Basic", b"Digest a", b"Basic YQ"])
def test_what_is_no_basic_authorization(value: bytes | None) -> None:
    assert parse_basic(value) is None


def test_a_password_may_hold_colons_and_any_bytes() -> None:
    value = b"Basic " + base64.b64encode(
        "ü:a:\xff".encode("latin-1").replace(b"\xfc", "ü".encode())
    )
    assert parse_basic(value) == ("ü", b"a:\xff")
