"""What the real hook tells goes through the journal and comes back; secrets are never in it."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet
from msgspec import Raw

from tests.support.capturing import Captured, capturing
from tests.support.journaling import open_journal, write
from tests.support.servers import Redis
from z4j_exporter.config import build_settings
from z4j_exporter.errors import BrokerUrlError, ConfigError
from z4j_exporter.events.model import Event
from z4j_exporter.journal.journal import Journal
from z4j_exporter.journal.model import StoreError
from z4j_exporter.journal.notes import unpack
from z4j_exporter.journal.store import PayloadStore, make_payload_store

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = open_journal(tmp_path)
    yield made
    made.close()


def stored(captured: Captured, journal: Journal, count: int) -> None:
    """Write so many messages' notes, as they came over the wire."""
    captured.wait("z4j-envelope", count)
    events = [
        Event(
            type=r.event["type"],
            timestamp=r.event["timestamp"],
            hostname=r.event["hostname"],
            z4j=Raw(msgspec.json.encode(r.event["z4j"])),
        )
        for r in captured.listener.received
        if r.event["type"] == "z4j-envelope"
    ]
    write(journal, events)


def at_rest(directory: Path) -> bytes:
    """Return all the bytes of the journal's files, and all its notes inflated."""
    raw = [each.read_bytes() for each in directory.iterdir()]
    with closing(sqlite3.connect(directory / "journal.db")) as connection:
        raw += [unpack(*row) for row in connection.execute("SELECT format, note FROM entry")]
        raw += [json.dumps(r).encode() for r in connection.execute("SELECT uuid, name FROM entry")]
    return b"\n".join(raw)


def test_a_planted_secret_is_nowhere_in_the_files(
    valkey: Redis, journal: Journal, tmp_path: Path
) -> None:
    with capturing(valkey.url) as captured:
        secret: dict[str, Any] = {"kwargs": {"password": SECRET, "x": "marker-to-find"}}
        echo = captured.signature("echo", **secret)
        echo.apply_async(headers={"authorization": SECRET})
        echo.apply_async(link=captured.signature("echo", **secret))
        captured.signature("echo", f"postgres://me:{SECRET}@db/x").apply_async(serializer="pickle")
        captured.signature("echo", {"deep": [{"api_key": SECRET}]}).apply_async()
        captured.signature("echo", "clean").apply_async(link_error=echo)
        stored(captured, journal, 5)
    found = journal.search()
    assert len(found) == 5
    assert [f.replayable for f in found] == [False] * 5
    content = at_rest(tmp_path)
    assert b"marker-to-find" in content
    assert SECRET.encode() not in content
    assert SECRET.encode("utf-16-le") not in content


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_the_bytes_of_the_message_come_back(
    valkey: Redis, journal: Journal, serializer: str
) -> None:
    with capturing(valkey.url) as captured:
        args = ({"a": [1, 2.5, None, "C:\\new\\table", "ä\u2028"]}, 2**40)
        sent = captured.signature("echo", *args, kwargs={"y": "z"}).apply_async(
            serializer=serializer, queue="other", priority=3
        )
        stored(captured, journal, 1)
        (message,) = _messages(valkey, "other")
    found = journal.payload(sent.id)
    assert found is not None
    assert found.body is not None
    assert found.body.content_type == message["content-type"]
    assert found.body.content_encoding == message["content-encoding"]
    # kombu's virtual transports wrap the body in base64.
    assert message["properties"]["body_encoding"] == "base64"
    assert found.body.data == base64.b64decode(message["body"])
    assert (found.envelope.queue, found.envelope.priority) == ("other", 3)


def _messages(server: Redis, queue: str) -> list[dict[str, Any]]:
    client = server.client()
    keys = [key for key in client.scan_iter() if key.startswith(queue.encode())]
    return [json.loads(each) for key in keys for each in client.lrange(key, 0, -1)]  # type: ignore[union-attr]


# -- the store -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", Fernet.generate_key().decode()], ids=["plain", "encrypted"])
def test_a_stored_payload_is_fetched(valkey: Redis, journal: Journal, key: str) -> None:
    options = {"payload": "store", "store_url": valkey.url, "store_key": key}
    with capturing(valkey.url, options=options) as captured:
        sent = captured.signature("echo", 1, "two").apply_async()
        stored(captured, journal, 1)
    found = journal.payload(sent.id)
    assert found is not None
    assert found.body is None
    assert found.envelope.withheld == "stored"
    stored_key = found.envelope.stored_key
    assert stored_key is not None
    store = make_payload_store(
        build_settings({"capture_store_url": valkey.url, "capture_store_key": key or None})
    )
    assert store is not None
    body = store.fetch(stored_key)
    assert body is not None
    assert json.loads(body.data)[0] == [1, "two"]
    assert (body.content_type, body.content_encoding) == ("application/json", "utf-8")
    assert store.fetch("z4j:payload:none") is None
    valkey.client().set("z4j:payload:bad", b"{}")
    valkey.client().hset("z4j:payload:hash", "a", "b")
    for name, words in (("bad", "not as the capture hook"), ("hash", "refused: WRONGTYPE")):
        with pytest.raises(StoreError, match=words):
            store.fetch(f"z4j:payload:{name}")
    with pytest.raises(StoreError, match="none of the capture hook's"):
        store.fetch("celery")
    if key:
        with pytest.raises(StoreError, match="is encrypted") as caught:
            PayloadStore(valkey.url).fetch(stored_key)
        assert "--capture-store-key" in caught.value.hint
        with pytest.raises(StoreError, match="another key"):
            PayloadStore(valkey.url, Fernet.generate_key().decode()).fetch(stored_key)


def test_a_store_that_hangs_or_is_away_is_one_error(valkey: Redis) -> None:
    store = PayloadStore(valkey.url)
    valkey.pause()
    try:
        with pytest.raises(StoreError, match="does not answer"):
            store.fetch("z4j:payload:1", timeout_seconds=0.3)
    finally:
        valkey.resume()
    with pytest.raises(StoreError, match="does not answer"):
        PayloadStore("redis://127.0.0.1:1/0").fetch("z4j:payload:1")


def test_settings_of_the_store_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_payload_store(build_settings({})) is None
    key = Fernet.generate_key().decode()
    for given, words in (
        ({"capture_store_url": "redis://h/0", "capture_store_key": "s3cret"}, "no Fernet key"),
        ({"capture_store_key": key}, "needs --capture-store-url"),
        ({"capture_store_url": "amqp://me:s3cret@h"}, "no Redis"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            make_payload_store(build_settings(given))
        assert "s3cret" not in caught.value.message
    with pytest.raises(BrokerUrlError):
        make_payload_store(build_settings({"capture_store_url": "redis://h/x"}))
    monkeypatch.setitem(__import__("sys").modules, "cryptography.fernet", None)
    with pytest.raises(ConfigError, match="needs the package cryptography"):
        PayloadStore("redis://h/0", key)
