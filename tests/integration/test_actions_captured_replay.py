"""What the real hook captured is sent again: a worker gets what it got the first time, or 422."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import chord
from cryptography.fernet import Fernet

from tests.support.actions import ActionsStage
from tests.support.journaling import open_journal, write
from tests.support.redis_servers import Redis
from tests.support.stage import Listener
from z4j_exporter import capture
from z4j_exporter.actions.captured import CaptureJournal
from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.perform import Performer
from z4j_exporter.actions.perform_receipts import SendReceipt
from z4j_exporter.config import Settings, build_settings
from z4j_exporter.events.decode import event_from_object
from z4j_exporter.journal.journal import Journal

if TYPE_CHECKING:
    from tests.support.rabbitmq import Vhost

SECRET = "correct-horse-battery-staple"
ACCEPTED = {"accept_content": ["json", "pickle", "yaml", "msgpack"]}


@dataclass
class Captured:
    """An application with the hook, what its hook told, and a performer that knows no more."""

    stage: ActionsStage
    listener: Listener
    journal: Journal
    settings: Settings

    def keep(self, task_id: str) -> None:
        """Wait for the note of a task's message, and write all notes into the journal."""
        self.listener.wait(
            lambda events: any(
                e["type"] == "z4j-envelope" and e["z4j"]["uuid"] == task_id for e in events
            ),
            "the hook's note",
        )
        notes = [r.event for r in self.listener.received if r.event["type"] == "z4j-envelope"]
        write(self.journal, map(event_from_object, notes))

    @property
    def performer(self) -> Performer:
        return self.stage.performer(captured=CaptureJournal(self.journal, self.settings))

    def again(self, old: str, **options: Any) -> SendReceipt:
        """Send a task again as an action does."""
        performer = self.performer
        payload = performer.find(old)
        assert payload.source == "capture"
        return performer.send(payload, str(uuid4()), retry_of=old, retry_count=1, **options)


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> str:
    made: Redis | Vhost = request.getfixturevalue(getattr(request, "param", "valkey"))
    return str(made.url)


@pytest.fixture
def options(request: pytest.FixtureRequest, valkey: Redis) -> Mapping[str, Any]:
    kind = getattr(request, "param", "")
    if not kind:
        return {}
    key = Fernet.generate_key().decode() if kind == "encrypted" else ""
    return {"payload": "store", "store_url": valkey.url, "store_key": key}


@pytest.fixture
def captured(
    broker: str, valkey: Redis, tmp_path: Path, options: Mapping[str, Any]
) -> Iterator[Captured]:
    # No backend of results: the journal is all that knows.
    stage = ActionsStage(broker, settings=ACCEPTED)
    journal = open_journal(tmp_path, clock=partial(time.time))  # type: ignore[arg-type]  # a clock
    store = {"capture_store_url": valkey.url, "capture_store_key": options.get("store_key") or None}
    settings = build_settings(store if options else {})
    with Listener(broker) as listener:
        hook = capture.install(stage.app, **{"name": "client:app", **options})
        try:
            yield Captured(stage, listener, journal, settings)
        finally:
            hook.uninstall()
            stage.stop()
            journal.stop(0)
            journal.close()


ARGS: dict[str, Any] = {
    "json": [
        "C:\\new\\table",
        2**70,
        "é\u2028🎉",
        {"a": [[[["deep"]]]]},
        None,
        0.1,
        Decimal("1.10"),
    ],
    "pickle": [{1, 2}, b"\x00\xff", datetime(2026, 1, 2, tzinfo=UTC), (1, (2,)), "\u202e", 1e300],
    "yaml": ["yes", "1e5", [None, {"on": "off"}], 12345678901234567890],
    "msgpack": [b"\x00\xff", "text", [1, {"k": 2.5}]],
}


@pytest.mark.parametrize("broker", ["valkey", "vhost"], indirect=True)
@pytest.mark.parametrize("serializer", list(ARGS))
def test_a_worker_gets_what_it_got_the_first_time(captured: Captured, serializer: str) -> None:
    stage = captured.stage
    stage.worker()
    old = stage.send(
        "record", *ARGS[serializer], kwargs={"x": "it's"}, serializer=serializer,
        priority=3, time_limit=50, soft_time_limit=40, headers={"x-custom": {"tenant": [7]}},
        root_id="the-root", parent_id="the-parent",
    )  # fmt: skip
    first = stage.written("call", old)
    captured.keep(old)
    receipt = captured.again(old)
    assert (receipt.queue, receipt.source) == ("celery", "capture")
    second = stage.written("call", receipt.task_id)
    kept = ("args", "kwargs", "root_id", "parent_id", "timelimit", "priority", "custom")
    assert {key: second[key] for key in kept} == {key: first[key] for key in kept}
    assert repr(second["args"]) == repr(first["args"])
    assert second["custom"] == {"tenant": [7]}
    assert (second["retry_of"], second["retry_count"]) == (old, 1)


@pytest.mark.parametrize("compression", ["zlib", None])
def test_the_message_is_the_one_that_celery_made(
    captured: Captured, valkey: Redis, compression: str | None
) -> None:
    stage = captured.stage
    link = stage.app.signature("record", args=("after",))
    old = stage.send(
        "record", 1, queue="web", compression=compression, link=link, stamped_headers=["who"],
        who="ann", expires=600, headers={"x-custom": 1}, group_id="g", group_index=2,
    )  # fmt: skip
    captured.keep(old)
    (message,) = [json.loads(each) for each in valkey.client().lrange("web", 0, -1)]
    found = captured.performer.find(old)
    # shadow and the reprs are not told; what was compressed is sent as it was before.
    untold = {"shadow", "argsrepr", "kwargsrepr", "compression"}
    headers = {key: value for key, value in message["headers"].items() if key not in untold}
    assert found.headers == headers
    assert (found.queue, found.exchange) == ("web", None)
    if compression is None:
        from_queue = stage.performer().find(old)
        assert from_queue.source == "queue"
        assert from_queue.body == found.body


@pytest.mark.parametrize(
    "sent",
    [
        {"kwargs": {"password": SECRET}},
        {"args": [f"postgres://me:{SECRET}@db/x"]},
        {"args": [{"api_key": SECRET}], "serializer": "pickle"},
        {"args": [1], "headers": {"authorization": SECRET}},
    ],
    ids=["kwargs", "url", "pickle", "header"],
)
def test_what_was_redacted_is_refused_and_said_so(captured: Captured, sent: dict[str, Any]) -> None:
    task_id = str(uuid4())
    captured.stage.app.send_task("record", task_id=task_id, queue="web", **sent)
    captured.stage.app.connection().channel().queue_purge("web")
    captured.keep(task_id)
    with pytest.raises(ActionError, match="redacted") as caught:
        captured.performer.find(task_id, timeout_seconds=3)
    assert (caught.value.kind, caught.value.status) == ("payload-withheld", 422)
    assert "Give args and kwargs" in caught.value.hint
    assert SECRET not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("options", ["plain", "encrypted"], indirect=True)
def test_a_payload_in_the_store_is_sent_again(
    captured: Captured, valkey: Redis, options: Mapping[str, Any]
) -> None:
    stage = captured.stage
    stage.worker()
    secret = {"password": SECRET} if options["store_key"] else {}
    old = stage.send("record", 1, "two", kwargs=secret)
    first = stage.written("call", old)
    captured.keep(old)
    second = stage.written("call", captured.again(old).task_id)
    assert (second["args"], second["kwargs"]) == (first["args"], first["kwargs"])
    assert second["kwargs"] == secret
    # Its time in the store is over before the journal's.
    for key in valkey.client().scan_iter("z4j:payload:*"):
        valkey.client().delete(key)
    with pytest.raises(ActionError, match="does not have it any more") as caught:
        captured.performer.find(old, timeout_seconds=3)
    assert caught.value.kind == "payload-withheld"


@pytest.mark.parametrize("options", ["", "plain"], indirect=True)
def test_a_chords_body_is_whole_or_not_there(captured: Captured) -> None:
    stage = captured.stage
    stage.app.conf.result_backend = "cache+memory://"  # nothing runs: any that can count will do
    journal = CaptureJournal(captured.journal, captured.settings)
    for kwargs, whole in (({"more": 1}, True), ({"password": SECRET}, False)):
        header = [stage.app.signature("record", args=(n,)) for n in range(3)]
        body = stage.app.signature("record", kwargs=kwargs, queue="web")
        result = chord(header)(body)
        members = [one.id for one in result.parent.results]
        for one in members:
            captured.keep(one)
        found = journal.group(result.parent.id)
        assert found is not None
        assert [one.uuid for one in found.members] == members
        assert found.is_chord
        if not whole:
            assert found.chord_body is None
            continue
        assert found.chord_body is not None
        assert found.chord_body["kwargs"] == kwargs
        assert found.chord_body["options"]["queue"] == "web"
        assert found.chord_body["options"]["task_id"] == result.id
