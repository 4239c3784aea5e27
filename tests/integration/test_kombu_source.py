"""The kombu source: files between processes, memory within one."""

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support import servers
from z4j_exporter.errors import BrokerUrlError, SourceLostError
from z4j_exporter.sources.base import Framed, Session
from z4j_exporter.sources.kombu import KombuSource


def events_until(session: Session, *types: str, timeout: float = 20.0) -> list[dict[str, Any]]:
    """Read until an event of each type has come; return all events."""
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + timeout
    while not set(types) <= {event["type"] for event in events}:
        assert time.monotonic() < deadline, f"only {[event['type'] for event in events]}"
        for message in session.read(0.2)[0]:
            assert isinstance(message, Framed)
            assert message.content_type == "application/json"
            assert message.content_encoding == "utf-8"
            content = json.loads(message.body)
            events += content if isinstance(content, list) else [content]
    return events


def test_a_missing_driver_is_named_at_once() -> None:
    if importlib.util.find_spec("pymongo"):
        pytest.skip("pymongo is installed")
    with pytest.raises(BrokerUrlError, match="pymongo") as refused:
        KombuSource("mongodb://me:s3cret@h/db")
    assert refused.value.hint == "Install its driver: pip install 'kombu[mongodb]'."
    assert "s3cret" not in refused.value.message


def test_a_url_for_another_source_is_refused() -> None:
    with pytest.raises(BrokerUrlError):
        KombuSource("amqp://h")


def test_memory_within_one_process() -> None:
    source = KombuSource("memory://")
    assert source.system == "memory"
    assert "this process only" in source.location
    session = source.connect()
    app = Celery(broker="memory://")
    with app.connection() as connection, app.events.Dispatcher(connection, enabled=True) as sender:
        sender.send("task-custom", uuid="u1")
        sender.send("worker-heartbeat", freq=2.0)
    events = events_until(session, "task-custom", "worker-heartbeat")
    assert [event.get("uuid") for event in events] == ["u1", None]
    assert session.read(0.01) == ([], 0)
    session.close()


def folder_options(directory: Path) -> dict[str, str]:
    for name in ("data", "control"):
        (directory / name).mkdir()
    return {
        "data_folder_in": str(directory / "data"),
        "data_folder_out": str(directory / "data"),
        "control_folder": str(directory / "control"),
    }


APP = """
from celery import Celery

app = Celery("files", broker="filesystem://")
app.conf.broker_transport_options = {options!r}


@app.task(name="files.add")
def add(x, y):
    return x + y
"""


def test_files_from_a_worker_in_another_process(tmp_path: Path) -> None:
    options = folder_options(tmp_path)
    (tmp_path / "files_app.py").write_text(APP.format(options=options))
    source = KombuSource("filesystem://", transport_options=options)
    session = source.connect()
    with servers.worker("files_app", "filesystem://", pool="solo", cwd=tmp_path):
        client = Celery(broker="filesystem://")
        client.conf.broker_transport_options = options
        sent = client.send_task("files.add", (1, 2), ignore_result=True)
        events = events_until(session, "worker-online", "task-received", "task-succeeded")
    done = [event for event in events if event["type"] == "task-succeeded"]
    assert [(event["uuid"], event["result"]) for event in done] == [(sent.id, "3")]

    session.close()
    bindings = (tmp_path / "control" / "celeryev.exchange").read_text()
    assert json.loads(bindings) == [], "close leaves no binding that would gather files for ever"
    assert not list((tmp_path / "data").glob("*celeryev*"))


def test_a_file_that_is_no_message_is_handed_on_to_be_refused(tmp_path: Path) -> None:
    options = folder_options(tmp_path)
    session = KombuSource("filesystem://", transport_options=options).connect()
    queue = json.loads((tmp_path / "control" / "celeryev.exchange").read_text())[0][2]
    (tmp_path / "data" / f"0_a.{queue}.msg").write_text("no JSON")
    (tmp_path / "data" / f"0_b.{queue}.msg").write_text('{"no": "message"}')
    app = Celery(broker="filesystem://")
    app.conf.broker_transport_options = options
    with app.connection() as connection, app.events.Dispatcher(connection, enabled=True) as sender:
        sender.send("worker-heartbeat", freq=2.0)
    messages: list[Any] = []
    deadline = time.monotonic() + 10
    while len(messages) < 3 and time.monotonic() < deadline:
        messages += session.read(0.1)[0]
    assert messages[:2] == [Framed(b"", None, None)] * 2
    assert json.loads(messages[2].body)["type"] == "worker-heartbeat"
    session.close()


def test_folders_that_are_not_there_are_a_lost_source(tmp_path: Path) -> None:
    options = {"data_folder_in": str(tmp_path / "no"), "control_folder": str(tmp_path / "no/ctl")}
    source = KombuSource("filesystem://", transport_options=options)
    with pytest.raises(SourceLostError):
        source.connect()
