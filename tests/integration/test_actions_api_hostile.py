"""Clients that are slow, oversized, malformed, strangers or web pages: what each of them gets."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.actions_api import Remembered, Served, Stub, office, served
from tests.support.process import wait_until
from tests.support.web import closed_by_peer, dripping, listening, read_response, scrape
from z4j_exporter.actions.api_door import BODY_BYTES
from z4j_exporter.web.connections import Limits


@pytest.fixture
def stub() -> Stub:
    made = Stub()
    made.has("t1")
    return made


@pytest.fixture
def api(tmp_path: Path, stub: Stub) -> Iterator[Served]:
    tasks = Remembered()
    tasks.put("t1", state="failed", name="math.add", queue="celery")
    with office(tmp_path, performer=stub, tasks=tasks) as made, served(made) as running:
        yield running
        assert made.audited().ok


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, object]:
    """The answer is this problem, in the form that every one has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"/docs/actions#{kind}"
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert "set-cookie" not in answer.headers
    return dict(body)


# -- who asks ------------------------------------------------------------------------------------


def test_a_viewer_who_asks_to_terminate_reaches_nobody(api: Served, stub: Stub) -> None:
    answer = api.post("/v1/tasks/t1/cancel", "viewer", json={"terminate": True})
    problem(answer, 403, "forbidden")
    assert stub.calls == []
    assert api.office.journal.list() == []
    denied = json.loads(api.office.lines()[-1])
    assert (denied["stage"], denied["verb"]) == ("denied", "terminate")
    assert denied["actor"]["name"] == "viewer"


@pytest.mark.parametrize("path", ["/v1/tasks/t1/retry", "/v1/nowhere", "/v1/openapi.json", "/"])
def test_nobody_gets_nothing(api: Served, path: str) -> None:
    answer = api.post(path, None)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_wrong_expired_and_revoked_tokens_look_alike(api: Served, stub: Stub) -> None:
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    api.office.tokens.add("old", role="admin", not_after=past)
    api.office.tokens.add("gone", role="admin")
    api.office.tokens.remove("gone")
    api.office.tokens.of["wrong"] = "z4j_" + "x" * 49
    bodies = []
    for name in ("old", "gone", "wrong"):
        body = problem(api.post("/v1/tasks/t1/retry", name), 401, "unauthenticated")
        bodies.append({key: value for key, value in body.items() if key != "request_id"})
    assert bodies[0] == bodies[1] == bodies[2]
    assert stub.calls == []
    outcomes = [json.loads(line)["outcome"] for line in api.office.lines()]
    assert outcomes == [f"unauthenticated: {why}" for why in ("expired", "unknown", "mistyped")]


def test_a_token_in_the_url_is_refused(api: Served) -> None:
    path = f"/v1/tasks/t1?access_token={api.office.tokens.of['viewer']}"
    problem(api.get(path, None), 400, "malformed-credentials")


def test_a_flood_of_strangers_is_counted_and_not_written_down(api: Served) -> None:
    statuses = [api.post("/v1/tasks/t1/retry", None).status_code for _ in range(30)]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    assert len(api.office.lines()) < 15
    # Who has a token is not hindered by those who have none.
    assert api.get("/v1/tasks/t1").status_code == 200


def test_a_scope_hides_what_is_outside_of_it(api: Served, stub: Stub) -> None:
    api.office.tokens.add("web", role="operator", tasks=["web.*"])
    problem(api.get("/v1/tasks/t1", "web"), 404, "task-unknown")
    problem(api.post("/v1/tasks/t1/retry", "web"), 403, "out-of-scope")
    problem(api.post("/v1/tasks/t1/cancel", "web"), 403, "out-of-scope")
    assert stub.sent == []


# -- what is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
def test_requests_of_web_pages_are_refused(
    api: Served, stub: Stub, headers: dict[str, str]
) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = api.ask(method, "/v1/tasks/t1/retry", "admin", headers=headers)
        problem(answer, 403, "cross-site")
    assert stub.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[" * 40_000,
        b'{"args": ' + b"[" * 100 + b"]" * 100 + b', "kwargs": {}}',
        b'{"dry_run": NaN}',
        b'{"dry_run": true, "dry_run": false}',
        b'{"args": ["\\ud800"], "kwargs": {}}',
        b'{"args": [1e999], "kwargs": {}}',
        b'{"args": [' + b"9" * 5000 + b'], "kwargs": {}}',
        b"\xff\xfe",
        b'{"args": ["\xff"], "kwargs": {}}',
    ],
    ids=range(10),
)
def test_what_is_no_json_is_refused(api: Served, stub: Stub, body: bytes) -> None:
    answer = api.post(
        "/v1/tasks/t1/retry", content=body, headers={"Content-Type": "application/json"}
    )
    problem(answer, 400, "malformed-json")
    assert stub.calls == []


@pytest.mark.parametrize(
    "body",
    [
        "[]", "7", '"x"', '{"dry_run": "yes"}', '{"dry_run": 1}', '{"dry_rum": true}',
        '{"from_state": ["dead"]}', '{"args": []}', '{"eta": 5}', '{"eta": "2027-01-01T00:00:00"}',
        '{"priority": -1}', '{"queue": "a\\u0000b"}', '{"queue": ""}', '{"time_limit": 0}',
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_refused(api: Served, stub: Stub, body: str) -> None:
    answer = api.post(
        "/v1/tasks/t1/retry", content=body, headers={"Content-Type": "application/json"}
    )
    assert problem(answer, 422, "invalid-request")["errors"]
    assert stub.calls == []


def test_no_answer_echoes_what_was_sent(api: Served) -> None:
    secret = "hunter2hunter2"  # the value of a key that went to the wrong place
    key = "z9" * 150
    answers = [
        api.post("/v1/tasks/t1/retry", json={secret: secret}),
        api.post("/v1/tasks/t1/retry", json={"queue": secret + "\n"}),
        api.post("/v1/tasks/t1/retry", json={"from_state": [secret]}),
        api.post("/v1/bulk-retry", key=secret, json={"filter": {secret: 1}}),
        api.post("/v1/bulk-retry", key=key, json={"task_ids": ["t1"]}),
        api.post(f"/v1/tasks/{secret}/retry"),
        api.get(f"/v1/tasks/{secret}?limit={secret}&ask={secret}"),
        api.get(f"/v1/{secret}"),
        api.ask(secret, "/v1/tasks/t1"),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500
        assert secret not in answer.text
        assert key not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {},
    ],
)
def test_other_content_is_refused(api: Served, headers: dict[str, str]) -> None:
    answer = api.post("/v1/tasks/t1/retry", content=b"{}", headers=headers)
    problem(answer, 415, "unsupported-media-type")


def test_large_bodies_are_refused_while_they_are_read(api: Served, stub: Stub) -> None:
    large = json.dumps({"args": ["x" * BODY_BYTES], "kwargs": {}}).encode()
    headers = {"Content-Type": "application/json"}
    answer = api.post("/v1/tasks/t1/retry", content=large, headers=headers)
    problem(answer, 413, "body-too-large")
    chunks = (large[at : at + 4096] for at in range(0, len(large), 4096))
    answer = api.post("/v1/tasks/t1/retry", content=chunks, headers=headers)
    problem(answer, 413, "body-too-large")
    assert api.post("/v1/tasks/t1/retry", json={"dry_run": True}).status_code == 200
    # Alerts may be larger, and end too.
    answer = api.post("/v1/alertmanager", "alert", content=large, headers=headers)
    problem(answer, 422, "invalid-request")
    answer = api.post("/v1/alertmanager", "alert", content=large * 20, headers=headers)
    problem(answer, 413, "body-too-large")
    assert stub.sent == []


def test_a_body_that_is_announced_and_huge_is_not_waited_for(api: Served) -> None:
    token = api.office.tokens.of["operator"]
    with socket.create_connection(("127.0.0.1", api.listener.port), timeout=10) as sock:
        sock.sendall(
            f"POST /v1/tasks/t1/retry HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n".encode()
        )
        assert read_response(sock)[0].status == 413
        wait_until(lambda: closed_by_peer(sock))


def test_other_methods(api: Served) -> None:
    head = api.ask("HEAD", "/v1/tasks/t1")
    assert (head.status_code, head.content) == (200, b"")
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = api.ask(method, "/v1/tasks/t1")
        problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "GET"
    assert api.ask("GET", "/v1/tasks/t1/retry").headers["allow"] == "POST"


def test_requests_that_are_replayed_do_nothing_twice(api: Served, stub: Stub) -> None:
    first = api.post("/v1/tasks/t1/retry", key="k")
    again = api.post("/v1/tasks/t1/retry", key="k")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    other = api.post("/v1/tasks/t1/retry", key="k", json={"priority": 3})
    problem(other, 422, "idempotency-key-reused")
    without = problem(api.post("/v1/tasks/t1/retry"), 409, "already-retried")
    assert without["retried_as"] == [first.json()["new_task_id"]]
    assert len(stub.sent) == 1


@pytest.mark.parametrize("path", ["/v1/bulk-retry", "/v1/groups/g/retry", "/v1/queues/q/purge"])
def test_some_actions_need_a_key(api: Served, stub: Stub, path: str) -> None:
    problem(api.post(path, "admin", json={"task_ids": ["t1"]}), 400, "idempotency-key-needed")
    assert stub.calls == []


def test_alertmanager_never_sees_409_or_429(api: Served) -> None:
    for _ in range(15):
        answer = api.post("/v1/alertmanager", None, json={"version": "4", "alerts": []})
        assert answer.status_code == 401
    answer = api.post("/v1/alertmanager", "alert", json={"version": "4", "alerts": []})
    problem(answer, 404, "no-rules")
    answer = api.post("/v1/alertmanager", "admin", json={"version": "4", "alerts": []})
    problem(answer, 403, "forbidden")


# -- slow ----------------------------------------------------------------------------------------


def test_150_slow_clients_delay_neither_a_good_one_nor_a_scrape(api: Served) -> None:
    with listening() as metrics, dripping(api.listener, 150):
        wait_until(lambda: api.listener.stats.open_connections >= 150)
        for _ in range(3):
            begun = time.monotonic()
            assert api.post("/v1/tasks/t1/retry", json={"dry_run": True}).status_code == 200
            assert time.monotonic() - begun < 1.0
            begun = time.monotonic()
            assert scrape(metrics).status_code == 200
            assert time.monotonic() - begun < 1.0


def test_150_bodies_that_drip_delay_nobody_and_end(tmp_path: Path, stub: Stub) -> None:
    limits = Limits(request_seconds=1.5, body_bytes=1 << 40)
    tasks = Remembered()
    tasks.put("t1", state="failed", name="math.add", queue="celery")
    with (
        office(tmp_path, performer=stub, tasks=tasks) as made,
        served(made, limits=limits) as api,
    ):
        head = (
            "POST /v1/tasks/t1/retry HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {made.tokens.of['operator']}\r\nContent-Length: 1000\r\n\r\n"
        ).encode()
        port = api.listener.port
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
        for sock in sockets:
            sock.sendall(head + b"{")
        wait_until(lambda: api.listener.stats.open_connections >= 150)
        begun = time.monotonic()
        assert api.post("/v1/tasks/t1/retry", json={"dry_run": True}).status_code == 200
        assert time.monotonic() - begun < 1.0
        wait_until(lambda: api.listener.stats.slow_connections_closed >= 150, 10)
        for sock in sockets:
            sock.close()
    assert stub.sent == []


def test_actions_that_hang_delay_neither_looks_nor_alerts(api: Served, stub: Stub) -> None:
    """Eight threads act; all of them wait for workers."""
    statuses: list[int] = []
    task = api.office.engine.tasks.put("t2", state="running", name="math.add", queue="celery")  # type: ignore[attr-defined]  # Remembered

    def cancel() -> httpx.Response:
        return api.post(f"/v1/tasks/{task.task_id}/cancel")

    stub.held_up.clear()
    threads = [
        threading.Thread(target=lambda: statuses.append(cancel().status_code), daemon=True)
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(stub.calls) == 8)
    try:
        answer = api.post("/v1/alertmanager", "alert", json={"version": "4", "alerts": []})
        problem(answer, 404, "no-rules")
        begun = time.monotonic()
        assert api.get("/v1/tasks/t1").status_code == 200
        assert time.monotonic() - begun < 1.0
        # 8 at work, 32 wait: the others were told to come again.
        wait_until(lambda: statuses.count(503) == 10)
    finally:
        stub.held_up.set()
        for thread in threads:
            thread.join(20)
    assert sorted(statuses) == [200] * 40 + [503] * 10


# -- what is counted -----------------------------------------------------------------------------


def test_requests_are_counted_by_route_and_not_by_what_stands_in_it(api: Served) -> None:
    for task in ("t1", "nobody", "%01%ff", "x" * 5000, "retry", "{task_id}"):
        api.get(f"/v1/tasks/{task}")
    api.get("/v1/tasks/t1", None)
    api.post("/v1/tasks/t1/retry", "viewer", json={})
    api.get("/v1/openapi.json")
    for path in ("/", "/v1", "/v1/tasks", "/v1/tasks/t1/retry/x", "/v2/tasks/t1"):
        api.get(path)
    counted: dict[str, int] = {}
    for (path, _), number in api.listener.stats.requests_snapshot().items():
        counted[path] = counted.get(path, 0) + number
    assert counted == {
        "/v1/tasks/{task_id}": 7,
        "/v1/tasks/{task_id}/retry": 1,
        "/v1/openapi.json": 1,
        "other": 5,
    }


def test_every_route_of_the_document_has_a_label(api: Served) -> None:
    stats = api.listener.stats
    paths = api.get("/v1/openapi.json").json()["paths"]
    assert len(paths) > 10
    for path in paths:
        stats.count_request(path.replace("{", "").replace("}", ""), 299)
    assert {path for path, code in stats.requests_snapshot() if code == 299} == set(paths)
