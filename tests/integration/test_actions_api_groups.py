"""Groups and chords sent again through a real worker: failed members alone, or all of it anew."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import chord
from celery.result import AsyncResult

from tests.support import servers
from tests.support.actions_api import Office, Remembered, Served, office, served
from tests.support.capturing import Captured, capturing
from tests.support.journaling import open_journal, write
from tests.support.process import wait_until
from tests.support.redis_servers import Redis
from z4j_exporter.actions.captured import CaptureJournal
from z4j_exporter.actions.celery_backend import BackendOptions
from z4j_exporter.actions.groups_send import ChordSender, captured_size
from z4j_exporter.actions.groups_whole import Chords
from z4j_exporter.actions.perform import Performer
from z4j_exporter.config import Settings
from z4j_exporter.events.decode import event_from_object
from z4j_exporter.journal.journal import Journal


@dataclass
class Stage:
    """A chord whose second member has failed, and an API that knows of it."""

    app: Captured
    api: Served
    tasks: Remembered
    journal: Journal
    path: Path
    group_id: str
    members: list[str]
    body: AsyncResult

    @property
    def made(self) -> Office:
        return self.api.office

    def retry(self, **body: Any) -> Any:
        key = str(time.monotonic())
        return self.api.post(f"/v1/groups/{self.group_id}/retry", key=key, json=body)

    def done(self, answer: Any) -> dict[str, Any]:
        """Wait for the end of a job that was accepted."""
        assert answer.status_code == 202, answer.text
        path = answer.headers["location"]
        wait_until(lambda: self.api.get(path).json()["state"] != "running")
        return dict(self.api.get(path).json())

    def result(self, task_id: str) -> AsyncResult:
        return AsyncResult(task_id, app=self.app.app)

    def copy(self) -> None:
        """Give the journal what the hook told so far."""
        events = [event_from_object(r.event) for r in list(self.app.listener.received)]
        write(self.journal, [e for e in events if e.type == "z4j-envelope"])


@pytest.fixture
def stage(valkey: Redis, tmp_path: Path) -> Iterator[Stage]:
    journal = open_journal(tmp_path, clock=time.time)  # type: ignore[arg-type]  # a clock

    settings, backend = Settings(broker_url=valkey.url), BackendOptions(valkey.url)
    captured = CaptureJournal(journal, settings)
    performer, tasks = Performer(settings, backend=backend, captured=captured), Remembered()
    chords = Chords(performer, ChordSender(settings, backend), partial(captured_size, journal))
    worker = partial(
        servers.worker, "tests.support.chordapp", valkey.url, env={"CHORDAPP_BACKEND": valkey.url}
    )
    directory = tmp_path / "actions"
    directory.mkdir()
    with (
        capturing(valkey.url, backend=valkey.url) as app,
        worker(),
        office(directory, performer=performer, tasks=tasks, groups=captured, chords=chords) as made,
        served(made) as api,
    ):
        path = tmp_path / "there"
        header = [app.signature("need", str(path), number) for number in range(4)]
        body = chord(header)(app.signature("total", kwargs={"more": 1}))
        members = [result.id for result in body.parent.results]
        results = dict(zip(members, ("succeeded", "failed") * 2, strict=True))
        wait_until(lambda: all(AsyncResult(one, app=app.app).ready() for one in members))
        for task_id, state in results.items():
            tasks.put(task_id, state=state, name="need", queue="celery")
        app.wait("z4j-envelope", 4)
        made_stage = Stage(app, api, tasks, journal, path, body.parent.id, members, body)
        made_stage.copy()
        yield made_stage
        assert made.audited().ok
    journal.close()


def test_failed_members_are_sent_again_without_their_chord(stage: Stage) -> None:
    seen = stage.api.get(f"/v1/groups/{stage.group_id}").json()
    assert seen["is_chord"]
    assert seen["states"] == {"succeeded": 2, "failed": 2}
    assert [member["task_id"] for member in seen["members"]] == stage.members
    looked = stage.retry(dry_run=True).json()
    assert looked["result"]["task_ids"] == [stage.members[1], stage.members[3]]
    assert looked["result"]["checked"][0]["dropped"] == ["group", "chord"]

    stage.path.touch()
    job = stage.done(stage.retry())
    assert job["state"] == "done"
    assert [item["task_id"] for item in job["items"]] == [stage.members[1], stage.members[3]]
    assert all(item["detail"]["dropped"] == ["group", "chord"] for item in job["items"])
    results = [stage.result(item["new_task_id"]).get(timeout=10) for item in job["items"]]
    assert results == [1, 3]
    # A body that ran now would have counted members twice.
    assert stage.body.state == "FAILURE"


def test_a_whole_chord_is_sent_again_and_its_body_runs_once(stage: Stage) -> None:
    looked = stage.retry(whole=True, dry_run=True)
    assert looked.status_code == 200, looked.text
    assert looked.json()["total"] == 4
    stage.path.touch()
    job = stage.done(stage.retry(whole=True))
    assert job["state"] == "done", job
    told = job["result"]
    assert stage.result(told["body_task_id"]).get(timeout=20) == 0 + 1 + 2 + 3 + 1
    assert told["new_group_id"] != stage.group_id
    assert all("chord" not in item["detail"]["dropped"] for item in job["items"])
    wait_until(lambda: len(stage.app.events("z4j-run", name="total")) == 1)
    assert stage.body.state == "FAILURE"


def test_a_chord_that_fails_again_can_be_sent_again(stage: Stage) -> None:
    job = stage.done(stage.retry(whole=True))
    assert job["state"] == "done"
    body = stage.result(job["result"]["body_task_id"])
    wait_until(lambda: body.state == "FAILURE")
    again = stage.retry(whole=True)
    assert (again.status_code, again.json()["type"]) == (409, "/docs/actions#already-retried")
    stage.path.touch()
    job = stage.done(stage.retry(whole=True, again=True))
    assert stage.result(job["result"]["body_task_id"]).get(timeout=20) == 7


@pytest.mark.parametrize("state", ["running", "lost", "unseen", "waiting"])
def test_a_member_whose_end_is_not_certain_keeps_the_whole_back(stage: Stage, state: Any) -> None:
    stage.tasks.put(stage.members[0], state=state, name="need", queue="celery")
    answer = stage.retry(whole=True)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/docs/actions#chord-member-active"


def test_what_is_no_known_group(stage: Stage) -> None:
    answer = stage.api.post("/v1/groups/nothing/retry", key="k")
    assert (answer.status_code, answer.json()["type"]) == (404, "/docs/actions#group-unknown")
    assert stage.api.get("/v1/groups/nothing").status_code == 404
