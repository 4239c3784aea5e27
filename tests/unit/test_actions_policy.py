"""Who is let in, and what they may do: every role against every verb, every kind of header."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter.actions.model import ActionError, Actor, Role, Verb
from z4j_exporter.actions.policy import Admission, Authorizer, for_rule
from z4j_exporter.actions.rates import Rate, RateLimitedError, RateLimits
from z4j_exporter.actions.tokens import make_token, stored
from z4j_exporter.actions.tokens_bearer import (
    AuthenticationError,
    authorization_of,
    bearer_token,
)
from z4j_exporter.actions.tokens_file import parse
from z4j_exporter.actions.tokens_set import TokenSet
from z4j_exporter.actions.tokens_stats import AccessStats

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
TOKENS = {name: make_token() for name in ("ops", "old", "new", "seer", "boss", "am")}
FILE = f"""
tokens:
- {{name: ops, role: operator, hash: {stored(TOKENS["ops"])}, tasks: [shop.*], queues: [high]}}
- {{name: old, role: admin, hash: {stored(TOKENS["old"])}, not_after: "2026-01-01T00:00:00Z"}}
- {{name: new, role: admin, hash: {stored(TOKENS["new"])}, not_before: "2026-01-01T00:00:01Z"}}
- {{name: seer, role: viewer, hash: {stored(TOKENS["seer"])}}}
- {{name: boss, role: admin, hash: {stored(TOKENS["boss"])}}}
- {{name: am, role: alert, hash: {stored(TOKENS["am"])}, tasks: [shop.*]}}
certificates:
- {{name: cert, role: operator, email: ops@example.org}}
- {{name: other, role: viewer, dns: host.example.org}}
- {{name: past, role: viewer, dns: past.example.org, not_after: "2025-01-01T00:00:00Z"}}
"""


class Entries:
    """A token file that tests change."""

    def __init__(self) -> None:
        self.text = FILE

    def tokens(self) -> TokenSet:
        return parse(self.text, name="t.yml")


def authorizer(entries: Entries | None = None) -> tuple[Authorizer, AccessStats]:
    stats = AccessStats()
    return Authorizer(entries or Entries(), stats, clock=lambda: NOW), stats


def certificate(*san: tuple[str, str], end: str = "Feb  1 00:00:00 2026 GMT") -> dict[str, Any]:
    return {"subjectAltName": san, "notAfter": end}


OPS_CERTIFICATE = certificate(("email", "ops@example.org"))


def bearer(name: str) -> bytes:
    return b"Bearer " + TOKENS[name].encode()


def test_a_token_is_its_actor() -> None:
    access, stats = authorizer()
    actor = access.authenticate(bearer("ops"), None)
    assert actor == Actor("ops", "operator", "token", ("shop.*",), ("high",))
    assert access.authenticate(bearer("ops").decode(), {}) == actor
    assert access.authenticate(bearer("boss"), OPS_CERTIFICATE).name == "boss", "the header counts"
    assert stats.authentications() == {"accepted": 3}


def test_a_certificate_is_its_actor() -> None:
    access, _ = authorizer()
    assert access.authenticate(None, OPS_CERTIFICATE) == Actor("cert", "operator", "certificate")


@pytest.mark.parametrize(
    ("header", "peer_certificate", "reason"),
    [
        (None, None, "missing"),
        (None, {}, "missing"),
        (bearer("old"), None, "expired"),
        (bearer("new"), None, "not_yet"),
        (b"Bearer " + make_token().encode(), None, "unknown"),
        (bearer("ops")[:-1], None, "mistyped"),
        (bearer("ops").lower(), None, "mistyped"),
        (b"Bearer hunter2", None, "mistyped"),
        (b"Basic b3BzOmh1bnRlcjI=", None, "scheme"),
        (b"Token " + TOKENS["ops"].encode(), None, "scheme"),
        (b"Digest username=x, nonce=y", None, "scheme"),
        # A good certificate does not help where the header is wrong.
        (b"Basic b3BzOmh1bnRlcjI=", OPS_CERTIFICATE, "scheme"),
        (bearer("old"), OPS_CERTIFICATE, "expired"),
        (None, certificate(("DNS", "else.example.org")), "certificate_unknown"),
        (None, certificate(("DNS", "ops@example.org")), "certificate_unknown"),
        (None, certificate(("DNS", "past.example.org")), "expired"),
        (
            None,
            certificate(("DNS", "host.example.org"), ("email", "ops@example.org")),
            "certificate_ambiguous",
        ),
        (
            None,
            certificate(("email", "ops@example.org"), end="Dec 31 23:59:59 2025 GMT"),
            "certificate_ended",
        ),
    ],
)
def test_all_others_get_the_same_401(
    header: bytes | None, peer_certificate: dict[str, Any] | None, reason: str
) -> None:
    access, stats = authorizer()
    with pytest.raises(AuthenticationError) as caught:
        access.authenticate(header, peer_certificate)
    error = caught.value
    with pytest.raises(AuthenticationError) as plain:
        access.authenticate(None, None)
    assert (error.status, error.kind) == (401, "unauthenticated")
    assert (error.detail, error.hint) == (plain.value.detail, plain.value.hint)
    assert error.reason == reason
    assert sum(stats.authentications().values()) == 2
    assert reason in stats.authentications()


@pytest.mark.parametrize(
    "header",
    [
        b"bearer " + TOKENS["ops"].encode(),
        b"BEARER " + TOKENS["ops"].encode(),
        b"Bearer    " + TOKENS["ops"].encode() + b"   ",
        b"  Bearer " + TOKENS["ops"].encode(),
        b"Bearer" + b" " * 400 + TOKENS["ops"].encode(),
    ],
)
def test_what_http_says_is_the_same_is_the_same(header: bytes) -> None:
    assert authorizer()[0].authenticate(header, None).name == "ops"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Bearer" + TOKENS["ops"].encode(),
        b"Bearer\t" + TOKENS["ops"].encode(),
        bearer("ops") + b" " + TOKENS["boss"].encode(),
        bearer("ops") + b", " + bearer("boss"),
        bearer("ops") + b"," + TOKENS["boss"].encode(),
        b'Bearer token="' + TOKENS["ops"].encode() + b'"',
        bearer("ops") + b"\0",
        bearer("ops") + b"\n",
        bearer("ops") + b"\r\nX-Forwarded-User: boss",
        b"Bearer \xff\xfe",
        "Bearer ключ".encode(),
        "Bearer \N{FULLWIDTH LATIN SMALL LETTER Z}4j_",
        "Bearer \ud800",
        b"Bearer " + b"a" * 1_000_000,
        b"Bearer" + b" " * 1_000_000 + TOKENS["ops"].encode(),
        b"\x1b[31mBearer x",
    ],
)
def test_what_cannot_be_read_is_400_and_never_repeated(header: bytes | str) -> None:
    access, stats = authorizer()
    with pytest.raises(AuthenticationError) as caught:
        access.authenticate(header, OPS_CERTIFICATE)
    assert (caught.value.status, caught.value.kind) == (400, "malformed-credentials")
    assert "z4j_" not in caught.value.detail + caught.value.hint
    assert len(caught.value.detail) < 100
    assert stats.authentications() == {"malformed": 1}


@settings(deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda b: b"Bearer " + b) | st.text())
def test_no_header_does_more_than_being_refused(header: bytes | str) -> None:
    access, stats = authorizer()
    with pytest.raises(AuthenticationError) as caught:
        access.authenticate(header, None)
    assert caught.value.status in (400, 401)
    assert stats.authentications() == {caught.value.reason: 1}


@settings(deadline=None)
@given(st.from_regex(rb"[A-Za-z0-9._~+/-]{1,64}={0,2}", fullmatch=True))
def test_a_token_comes_out_as_it_went_in(token: bytes) -> None:
    assert bearer_token(b"Bearer " + token) == token.decode()


def test_the_header_of_a_request() -> None:
    header = (b"authorization", bearer("ops"))
    assert authorization_of([(b"host", b"x"), (b"Authorization", bearer("ops"))]) == bearer("ops")
    assert authorization_of([(b"cookie", b"token=" + TOKENS["ops"].encode())]) is None
    assert authorization_of([header], b"limit=3&state=failed&q=z4") == bearer("ops")
    with pytest.raises(AuthenticationError, match="more than one") as caught:
        authorization_of([header, header])
    assert (caught.value.status, caught.value.reason) == (400, "malformed")


@pytest.mark.parametrize(
    "query",
    [
        b"access_token=x",
        b"a=1&ACCESS_TOKEN=",
        b"%61ccess_token=x",
        b"token=x",
        b"api_key=x",
        b"x=" + TOKENS["ops"].encode(),
        b"x=%7a4j_abc",
    ],
)
def test_a_token_in_the_url_is_refused_even_beside_a_good_one(query: bytes) -> None:
    with pytest.raises(AuthenticationError, match="URL") as caught:
        authorization_of([(b"authorization", bearer("ops"))], query)
    assert (caught.value.status, caught.value.reason) == (400, "token_in_url")
    assert "Revoke it" in caught.value.hint


OPERATOR_VERBS = {Verb.RETRY, Verb.CANCEL, Verb.TERMINATE, Verb.RETRY_GROUP, Verb.BULK_RETRY}


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize(
    ("role", "verbs"),
    [("viewer", set()), ("operator", OPERATOR_VERBS), ("admin", set(Verb)), ("alert", set())],
)
def test_each_role_and_verb(role: Role, verbs: set[Verb], verb: Verb) -> None:
    access, stats = authorizer()
    actor = Actor("a", role, "token")
    if verb in verbs:
        access.permit_role(actor, verb)
        access.permit(actor, verb, task_name=None, queue=None)
        assert stats.denials() == {}
        return
    with pytest.raises(ActionError) as caught:
        access.permit(actor, verb, task_name="x", queue="y")
    assert (caught.value.status, caught.value.kind) == (403, "forbidden")
    assert stats.denials() == {"role": 1}


@pytest.mark.parametrize("verb", Verb)
def test_rules_never_terminate_and_never_purge(verb: Verb) -> None:
    access, _ = authorizer()
    poster = access.authenticate(bearer("am"), None)
    rule = for_rule(poster, "retry-mail")
    assert rule == Actor("retry-mail", "alert", "alert", ("shop.*",), ())
    if verb in (Verb.RETRY, Verb.CANCEL, Verb.BULK_RETRY):
        access.permit(rule, verb, task_name="shop.mail", queue=None)
        with pytest.raises(ActionError) as caught:
            access.permit(rule, verb, task_name="bank.pay", queue=None)
        assert caught.value.kind == "out-of-scope", "what posted the alert bounds the rule"
    else:
        with pytest.raises(ActionError) as caught:
            access.permit(rule, verb, task_name="shop.mail", queue=None)
        assert (caught.value.status, caught.value.kind) == (403, "forbidden")


@pytest.mark.parametrize(
    ("task_name", "queue", "reason"),
    [
        ("shop.mail", "high", None),
        ("bank.pay", "high", "task_scope"),
        ("shop.mail", "low", "queue_scope"),
        ("shop.mail", "high2", "queue_scope"),
        (None, "high", "task_unknown"),
        ("shop.mail", None, "queue_unknown"),
    ],
)
def test_task_and_queue_must_lie_in_the_scope(
    task_name: str | None, queue: str | None, reason: str | None
) -> None:
    access, stats = authorizer()
    actor = access.authenticate(bearer("ops"), None)
    assert access.may_see(actor, task_name=task_name, queue=queue) is (reason is None)
    assert stats.denials() == {}, "what is left out of a list is not a denial"
    if reason is None:
        access.permit(actor, Verb.RETRY, task_name=task_name, queue=queue)
        return
    with pytest.raises(ActionError) as caught:
        access.permit(actor, Verb.RETRY, task_name=task_name, queue=queue)
    assert (caught.value.status, caught.value.kind) == (403, "out-of-scope")
    assert "bank" not in caught.value.detail
    assert stats.denials() == {reason: 1}


def test_a_purge_checks_the_queue_and_touches_every_task() -> None:
    access, stats = authorizer()
    by_queue = Actor("a", "admin", "token", (), ("high",))
    access.permit(by_queue, Verb.PURGE, task_name=None, queue="high")
    with pytest.raises(ActionError, match="queue is not among"):
        access.permit(by_queue, Verb.PURGE, task_name=None, queue="low")
    by_task = Actor("a", "admin", "token", ("shop.*",))
    with pytest.raises(ActionError, match="some tasks only"):
        access.permit(by_task, Verb.PURGE, task_name="shop.mail", queue="high")
    assert stats.denials() == {"queue_scope": 1, "task_unknown": 1}


def test_alert_tokens_are_good_for_their_route_alone_and_others_not_for_it() -> None:
    access, _ = authorizer()
    alert = access.authenticate(bearer("am"), None)
    access.permit_alerts(alert)
    with pytest.raises(ActionError) as caught:
        access.permit_read(alert)
    assert caught.value.status == 403
    assert not access.may_see(alert, task_name="shop.mail", queue="high")
    for name in ("seer", "ops", "boss"):
        actor = access.authenticate(bearer(name), None)
        access.permit_read(actor)
        with pytest.raises(ActionError) as caught:
            access.permit_alerts(actor)
        assert caught.value.status == 403


def test_what_goes_on_for_long_ends_with_its_token() -> None:
    entries = Entries()
    access, _ = authorizer(entries)
    actors = [access.authenticate(bearer(name), None) for name in ("ops", "boss", "am")]
    actors[2] = for_rule(actors[2], "rule")
    assert [access.still_holds(actor) for actor in actors] == [True] * 3
    entries.text = FILE.replace("tasks: [shop.*]", "tasks: [bank.*]").replace(
        "boss, role: admin", "boss, role: operator"
    )
    assert [access.still_holds(actor) for actor in actors] == [False] * 3
    entries.text = "tokens: []"
    assert [access.still_holds(actor) for actor in actors] == [False] * 3
    with pytest.raises(AuthenticationError):
        access.authenticate(bearer("ops"), None)
    entries.text = FILE
    assert not access.still_holds(Actor("old", "admin", "token")), "expired"


class Door:
    """An admission with a clock that tests step."""

    def __init__(self) -> None:
        self.now = 100.0
        access, self.stats = authorizer()
        limits = RateLimits(1.0, failures=Rate(per_second=0.5, burst=2.0))
        self.admission = Admission(access, limits, self.stats, clock=lambda: self.now)

    def ask(self, header: bytes | None, peer: str = "192.0.2.1", **more: Any) -> Actor:
        headers = [] if header is None else [(b"authorization", header)]
        return self.admission.admit(headers, b"", None, peer, **more)

    def status(self, header: bytes | None, peer: str = "192.0.2.1", **more: Any) -> int:
        try:
            self.ask(header, peer, **more)
        except ActionError as error:
            return error.status
        return 200


def test_failures_are_limited_by_peer_and_the_good_still_come_in() -> None:
    door = Door()
    assert [door.status(None), door.status(b"\xff"), door.status(None)] == [401, 400, 429]
    assert door.status(None, "192.0.2.2") == 401
    assert door.status(bearer("ops")) == 200, "others behind the same address are let in"
    with pytest.raises(RateLimitedError) as caught:
        door.ask(None)
    assert caught.value.retry_after == 2
    assert door.stats.rate_limited == {"peer": 2}
    assert door.stats.authentications()["missing"] == 4
    door.now += 2
    assert door.status(None) == 401


def test_requests_are_limited_by_actor() -> None:
    door = Door()
    assert [door.status(bearer("ops"), f"192.0.2.{n}") for n in range(7)] == [200] * 5 + [429] * 2
    assert door.status(bearer("boss")) == 200
    assert door.stats.rate_limited == {"actor": 2}
    door.now += 1
    assert door.status(bearer("ops")) == 200


def test_alertmanager_is_never_told_to_come_later() -> None:
    door = Door()
    assert {door.status(bearer("am"), limited=False) for _ in range(50)} == {200}
    quiet = []
    for _ in range(5):
        with pytest.raises(AuthenticationError) as caught:
            door.ask(None, limited=False)
        assert caught.value.status == 401
        quiet.append(caught.value.quiet)
    assert quiet == [False, False, True, True, True], "a flood is counted, not written down"
    assert door.stats.rate_limited == {}


def test_two_headers_and_tokens_in_the_url_are_counted_too() -> None:
    door = Door()
    header = (b"authorization", bearer("ops"))
    with pytest.raises(AuthenticationError):
        door.admission.admit([header, header], b"", None, "192.0.2.1")
    with pytest.raises(AuthenticationError):
        door.admission.admit([header], b"token=x", None, "192.0.2.1")
    assert door.stats.authentications() == {"malformed": 1, "token_in_url": 1}
    assert door.status(None) == 429
