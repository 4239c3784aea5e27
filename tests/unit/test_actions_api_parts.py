"""Small parts of the API: JSON as it was meant, confirm tokens, problems, where it listens."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4j_exporter.actions import problems
from z4j_exporter.actions.api_door import for_alerts
from z4j_exporter.actions.api_json import MAX_DEPTH, parse
from z4j_exporter.actions.engine_confirm import CONFIRM_SECONDS, Confirmations
from z4j_exporter.actions.engine_parts import Refusal
from z4j_exporter.actions.engine_request import Given, Request, Sending
from z4j_exporter.actions.model import ActionError, Actor, Verb
from z4j_exporter.actions.serve import actions_listener, check_exposure
from z4j_exporter.errors import ConfigError
from z4j_exporter.web.address import parse_address
from z4j_exporter.web.gate import TlsPolicy
from z4j_exporter.web.guard import AccessPolicy

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_json_comes_out_as_it_went_in(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary())
def test_bytes_are_json_or_refused(data: bytes) -> None:
    with contextlib.suppress(ActionError):
        assert parse(data) == json.loads(data)


def test_nesting_ends() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(ActionError):
        parse(b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2))


def test_confirm_tokens_are_good_once_for_one_actor_and_queue() -> None:
    now = [1000.0]
    made = Confirmations(lambda: now[0])
    token, expires_at = made.give("ada", "celery")
    assert expires_at == 1000.0 + CONFIRM_SECONDS
    other = made.give("ada", "celery")[0]
    assert not made.take(token, "bob", "celery")
    assert not made.take(token, "ada", "vip")
    assert not made.take(token + "0", "ada", "celery")
    assert not Confirmations(lambda: now[0]).take(token, "ada", "celery")
    assert made.take(token, "ada", "celery")
    assert not made.take(token, "ada", "celery")
    now[0] = expires_at
    assert not made.take(other, "ada", "celery")


@given(st.text())
def test_no_text_is_a_confirm_token(text: str) -> None:
    assert not Confirmations().take(text, "ada", "celery")


def test_alertmanager_gets_503_where_others_get_409_or_429() -> None:
    for status in (409, 429):
        assert for_alerts(ActionError("x", status, "y")).status == 503
    for status in (400, 401, 403, 413, 422, 500, 503):
        assert for_alerts(ActionError("x", status, "y")).status == status


def test_a_problem_says_what_is_known() -> None:
    error = Refusal(
        "state-differs", 409, "It is running.", unknown=True, action_id="a1",
        extra={"state": "running"},
    )  # fmt: skip
    assert problems.problem_of(error, "r1") == {
        "type": "/docs/actions#state-differs",
        "title": "State differs",
        "status": 409,
        "detail": "It is running.",
        "request_id": "r1",
        "unknown": True,
        "action_id": "a1",
        "state": "running",
    }
    assert problems.headers_of(ActionError("x", 503, "y")) == {"retry-after": "1"}


def test_a_request_is_known_again_by_all_that_matters() -> None:
    def asked(**more: object) -> str:
        actor = Actor("a", "operator", "token")
        return Request(**{"verb": Verb.RETRY, "actor": actor, "task_id": "t", **more}).digest()  # type: ignore[arg-type]  # fields as named

    first = asked()
    assert first == asked(dry_run=True) == asked(idempotency_key="k")
    others = [
        asked(task_id="u"), asked(verb=Verb.CANCEL), asked(from_state=("failed",)),
        asked(sending=Sending(priority=3)), asked(given=Given("n", (), {})),
        asked(given=Given("n", (1,), {})), asked(given=Given("n", (True,), {})),
        asked(task_ids=("t",)), asked(whole=True), asked(limit=3), asked(rate=1.0),
    ]  # fmt: skip
    assert len({first, *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("address", "open_to_others"),
    [
        ("127.0.0.1:9809", False), ("[::1]:0", False), ("localhost:1", False),
        ("unix:/run/x.sock", False), ("127.9.9.9:1", False), (":9809", True),
        ("0.0.0.0:1", True), ("[::]:1", True), ("10.0.0.1:1", True), ("example.org:1", True),
    ],
)  # fmt: skip
def test_tokens_do_not_go_over_a_network_in_the_clear(address: str, open_to_others: bool) -> None:
    parsed = parse_address(address)
    check_exposure(parsed, encrypted=True, insecure=False)
    check_exposure(parsed, encrypted=False, insecure=True)
    if not open_to_others:
        check_exposure(parsed, encrypted=False, insecure=False)
        return
    with pytest.raises(ConfigError, match="without TLS"):
        check_exposure(parsed, encrypted=False, insecure=False)


def test_passwords_and_tokens_do_not_mix() -> None:
    class Passwords:
        def tls(self) -> TlsPolicy | None:
            return None

        def access(self) -> AccessPolicy:
            return AccessPolicy(users={"ada": b"hash"})

    async def app(*_: object) -> None: ...

    with pytest.raises(ConfigError, match="basic_auth_users"):
        actions_listener(app, "127.0.0.1:0", web_config=Passwords())
