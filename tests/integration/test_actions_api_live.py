"""Every verb over HTTP, through real brokers and workers, and who may ask with a certificate."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery

from tests.support import servers
from tests.support.actions_api import Remembered, Served, Tokens, office, served
from tests.support.celeryapp import client
from tests.support.certs import certificates
from tests.support.process import wait_until
from tests.support.redis_servers import Redis
from tests.support.web import client_context, tls_section, write_config
from z4j_exporter.actions.celery_backend import BackendOptions
from z4j_exporter.actions.perform import Performer
from z4j_exporter.config import Settings
from z4j_exporter.web.reload import WebConfig

SETTINGS = {"result_extended": True}


@dataclass
class Stage:
    """An API in front of a broker; results are in Redis."""

    api: Served
    tasks: Remembered
    app: Celery
    broker: str
    backend: str

    def worker(self, pool: str = "prefork") -> servers.Worker:
        env = {"CELERYAPP_BACKEND": self.backend, "CELERYAPP_SETTINGS": json.dumps(SETTINGS)}
        return servers.worker("tests.support.celeryapp", self.broker, pool=pool, env=env)

    def send(self, name: str, *args: Any, state: str = "failed", **more: Any) -> str:
        """Send a task, and remember it in that state."""
        result = self.app.send_task(name, args, **more)
        self.tasks.put(result.id, state=state, name=name, queue=more.get("queue", "celery"))
        return str(result.id)

    def post(self, path: str, role: str = "operator", **more: Any) -> dict[str, Any]:
        answer = self.api.post(path, role, **more)
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())


@pytest.fixture(params=["redis", "rabbitmq"])
def stage(request: pytest.FixtureRequest, valkey: Redis, tmp_path: Path) -> Iterator[Stage]:
    broker = valkey.url
    if request.param == "rabbitmq":
        broker = request.getfixturevalue("vhost").url
    performer = Performer(Settings(broker_url=broker), backend=BackendOptions(valkey.url))
    tasks = Remembered()
    with (
        office(tmp_path, performer=performer, tasks=tasks) as made,
        served(made) as api,
        client(broker, valkey.url, SETTINGS) as app,
    ):
        yield Stage(api, tasks, app, broker, valkey.url)
        assert made.audited().ok


def test_a_failed_task_is_retried_with_its_arguments(stage: Stage) -> None:
    with stage.worker():
        task_id = stage.send("math.add", 'C:\\new\\table "ü"', 5)  # a text and a number: fails
        wait_until(lambda: stage.app.AsyncResult(task_id).state == "FAILURE")
        looked = stage.post(f"/v1/tasks/{task_id}/retry", json={"dry_run": True})
        assert looked["result"]["source"] == "backend"
        done = stage.post(f"/v1/tasks/{task_id}/retry", key="k")
        again = stage.app.AsyncResult(done["new_task_id"])
        wait_until(lambda: again.state == "FAILURE")
        assert list(again.args) == ['C:\\new\\table "ü"', 5]
        seen = stage.api.get(f"/v1/tasks/{task_id}").json()
        assert [one["task_id"] for one in seen["retried_as"]] == [done["new_task_id"]]
        newer = stage.api.get(f"/v1/tasks/{done['new_task_id']}?ask=true").json()
        assert newer["retry_of"] == task_id
        assert newer["asked"]["backend_state"] == "FAILURE"
        # Of the retry itself nobody knows any more what it was sent with.
        again.forget()
        third = stage.post(f"/v1/tasks/{done['new_task_id']}/retry")
        assert third["result"]["source"] == "backend (of the task it retries)"
        wait_until(lambda: stage.app.AsyncResult(third["new_task_id"]).state == "FAILURE")
        assert list(stage.app.AsyncResult(third["new_task_id"]).args) == ['C:\\new\\table "ü"', 5]


def test_a_task_that_waits_is_cancelled(stage: Stage) -> None:
    with stage.worker():
        first = stage.send("work.sleep", 3, state="running")
        task_id = stage.send("math.add", 1, 2, state="waiting")
        done = stage.post(f"/v1/tasks/{task_id}/cancel", json={"from_state": ["waiting"]})
        assert done["result"]["workers"] == ["w1@test"]
        wait_until(lambda: stage.app.AsyncResult(first).state == "SUCCESS", 20)
        wait_until(lambda: stage.app.AsyncResult(task_id).state == "REVOKED", 20)


def test_a_task_that_runs_is_ended_and_a_viewer_ends_nothing(stage: Stage) -> None:
    with stage.worker():
        task_id = stage.send("work.sleep", 60, state="running")
        path = f"/v1/tasks/{task_id}/cancel"

        def running() -> bool:
            looked = stage.api.get(f"/v1/tasks/{task_id}?ask=true").json()
            return [one["phase"] for one in looked["asked"]["held_by"]] == ["active"]

        wait_until(running, 20)
        refused = stage.api.post(path, "viewer", json={"terminate": True})
        assert refused.status_code == 403
        looked = stage.post(path, json={"terminate": True, "dry_run": True})
        assert looked["result"] == {"worker": "w1@test", "pool": "prefork", "signal": "SIGTERM"}
        assert running()
        done = stage.post(path, json={"terminate": True})
        assert done["verb"] == "terminate"
        wait_until(lambda: stage.app.AsyncResult(task_id).state == "REVOKED", 20)


def test_threads_cannot_be_ended_and_nothing_is_sent(stage: Stage) -> None:
    with stage.worker("threads"):
        task_id = stage.send("work.sleep", 4, state="running")
        path = f"/v1/tasks/{task_id}/cancel"
        kinds = set()

        def refused() -> bool:
            answer = stage.api.post(path, json={"terminate": True})
            assert answer.status_code == 409
            kinds.add(answer.json()["type"])
            return "/docs/actions#pool-cannot-terminate" in kinds

        wait_until(refused, 20)
        wait_until(lambda: stage.app.AsyncResult(task_id).state == "SUCCESS", 20)


def test_when_no_worker_answers_that_is_said(stage: Stage) -> None:
    task_id = stage.send("math.add", 1, 2, state="running")
    for body in ({"terminate": True}, {}):
        answer = stage.api.post(f"/v1/tasks/{task_id}/cancel", json=body)
        assert answer.status_code == 504
        assert "unknown" in answer.json()["detail"]
    assert answer.json()["unknown"]  # the revocation was sent
    action = stage.api.get(f"/v1/actions/{answer.json()['action_id']}").json()
    assert action["state"] == "unknown"


def test_one_queue_is_purged_in_two_steps(stage: Stage) -> None:
    with stage.worker():  # it declares the queues on RabbitMQ, and leaves
        pass
    for number in range(3):
        stage.send("math.add", number, 1, priority=number)
    path = "/v1/queues/celery/purge"
    assert stage.api.post(path, "operator", key="a", json={"dry_run": True}).status_code == 403
    looked = stage.post(path, "admin", key="a", json={"dry_run": True})
    assert looked["result"]["messages"] == 3
    body = {"confirm": looked["result"]["confirm"]}
    done = stage.post(path, "admin", key="a", json=body)
    assert done["result"]["messages"] == 3
    # The same request again is answered, and not done again.
    stage.send("math.add", 9, 9)
    assert stage.post(path, "admin", key="a", json=body) == done
    looked = stage.post(path, "admin", key="b", json={"dry_run": True})
    assert looked["result"]["messages"] == 1


def test_many_are_retried_in_bulk(stage: Stage) -> None:
    with stage.worker():
        failed = [stage.send("errors.raise", f"e{number}") for number in range(5)]
        fine = stage.send("math.add", 1, 2, state="succeeded")
        wait_until(lambda: all(stage.app.AsyncResult(one).ready() for one in [*failed, fine]), 20)
        begun = stage.post("/v1/bulk-retry", key="k", json={"filter": {"task": "errors.*"}})
        assert (begun["total"], begun["truncated"]) == (5, False)
        path = f"/v1/actions/{begun['id']}"
        wait_until(lambda: stage.api.get(path).json()["state"] == "done", 20)
        seen: list[dict[str, Any]] = []
        offset: int | None = 0
        while offset is not None:
            page = stage.api.get(f"{path}?offset={offset}&limit=2").json()
            seen += page["items"]
            offset = page["next_offset"]
        assert [item["task_id"] for item in seen] == failed
        for item, old in zip(seen, failed, strict=True):
            again = stage.app.AsyncResult(item["new_task_id"])
            wait_until(again.ready)
            assert again.args == stage.app.AsyncResult(old).args


@pytest.mark.parametrize("known", [True, False])
def test_a_client_certificate_is_as_good_as_a_token(tmp_path: Path, known: bool) -> None:
    tokens, tasks = Tokens(), Remembered()
    tasks.put("t1", state="failed", name="math.add", queue="celery")
    san = "client@example.org" if known else "other@example.org"
    tokens.certify("ci", role="viewer", email=san)
    section = tls_section(
        client_auth_type="VerifyClientCertIfGiven", client_ca_file=certificates().ca
    )
    config = WebConfig(write_config(tmp_path, section))
    with (
        office(tmp_path, tasks=tasks, tokens=tokens) as made,
        served(made, web_config=config) as api,
    ):
        url = f"{api.listener.url}/v1/tasks/t1"
        with httpx.Client(verify=client_context(certificate=True)) as shows:
            assert shows.get(url).status_code == (200 if known else 401)
            # A token that is wrong is not made good by a certificate.
            wrong = shows.get(url, headers={"Authorization": "Bearer z4j_wrong"})
            assert wrong.status_code == 401
        with httpx.Client(verify=client_context()) as shows_none:
            assert shows_none.get(url).status_code == 401
            bearer = {"Authorization": f"Bearer {tokens.of['viewer']}"}
            assert shows_none.get(url, headers=bearer).status_code == 200


def test_two_requests_of_one_key_at_the_same_time_are_done_once(stage: Stage) -> None:

    with stage.worker():
        task_id = stage.send("errors.raise", "x")
        wait_until(lambda: stage.app.AsyncResult(task_id).ready())
    answers: list[httpx.Response] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        answers.append(stage.api.post(f"/v1/tasks/{task_id}/retry", key="k"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {answer.status_code for answer in answers} <= {200, 409}
    done = [answer.json() for answer in answers if answer.status_code == 200]
    assert len({one["new_task_id"] for one in done}) == 1
    assert len(stage.api.office.journal.items.retried_as(task_id)) == 1
    assert time.time() - done[0]["requested_at"] < 30
