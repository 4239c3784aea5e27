"""The decoder reads what kombu itself writes with each serializer, and loads no pickle."""

import base64
import datetime
import json
import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from kombu import Connection, Exchange, Producer, Queue
from kombu.serialization import dumps
from kombu.utils import json as kombu_json

from tests.unit.test_decode import HEARTBEAT, STARTED, decode, envelope, framed, refusal, types
from z4j_exporter.events.content import MAX_YAML_BYTES, MAX_YAML_DEPTH

EVENTS = [
    STARTED,
    {**HEARTBEAT, "loadavg": [0.5, 1.0, 2.0]},
    {**STARTED, "type": "task-failed", "exception": "ValueError('ü')", "traceback": None},
]


def published(body: Any, serializer: str) -> bytes:
    """What kombu puts on a virtual transport, as its Redis transport writes it (_put_fanout)."""
    with Connection("memory://") as connection:
        channel = connection.default_channel
        exchange = Exchange("celeryev", type="topic")
        queue = Queue(f"listener-{serializer}", exchange, routing_key="#", channel=channel)
        queue.declare()
        queue.purge()
        producer = Producer(channel, exchange=exchange, serializer=serializer)
        producer.publish(body, routing_key="task.multi", headers={"hostname": "w@h"})
        return str(kombu_json.dumps(channel._get(queue.name))).encode()


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
@pytest.mark.parametrize("body", [EVENTS, EVENTS[0], EVENTS[1:]], ids=["all", "one", "two"])
def test_what_kombu_writes_is_read(serializer: str, body: Any) -> None:
    if serializer == "msgpack":
        pytest.importorskip("msgpack")
    expected = body if isinstance(body, list) else [body]
    message = published(body, serializer)
    assert json.loads(message)["properties"]["body_encoding"] == "base64"
    for shape in (message, framed_by_kombu(body, serializer)):
        events, refused = decode(shape)
        assert refused == {}
        assert [event.type for event in events] == [item["type"] for item in expected]
        assert [event.exception for event in events] == [i.get("exception") for i in expected]
        assert [event.loadavg for event in events] == [i.get("loadavg") for i in expected]


def framed_by_kombu(body: Any, serializer: str) -> Any:
    content_type, encoding, raw = dumps(body, serializer=serializer)
    return framed(raw if isinstance(raw, bytes) else raw.encode(), content_type, encoding)


class Bomb:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_pickle_is_refused_by_name_and_never_loaded(tmp_path: Path) -> None:
    proof = tmp_path / "loaded"
    raw = pickle.dumps([{**STARTED, "args": Bomb(proof)}])
    assert refusal(published(EVENTS, "pickle")) == "unsafe_content_type"
    assert refusal(framed_by_kombu(EVENTS, "pickle")) == "unsafe_content_type"
    for name in (
        "application/x-python-serialize",
        "Application/X-Python-Serialize; v=4",
        "application/x-python",
        "application/x-pickle",
    ):
        assert refusal(framed(raw, name, "binary")) == "unsafe_content_type"
        assert refusal(envelope(raw, content_type=name)) == "unsafe_content_type"
    for other in ("application/json", "application/x-msgpack", "application/x-yaml", None, "a/b"):
        for encoding in ("binary", "utf-8", "latin-1"):
            events, refused = decode(framed(raw, other, encoding))
            assert events == []
            assert sum(refused.values()) >= 1
    assert not proof.exists()
    pickle.loads(raw)  # noqa: S301  # shows that the bomb is one
    assert proof.exists()


# -- msgpack -------------------------------------------------------------------------------------


def packed(value: Any) -> Any:
    return framed(msgspec.msgpack.encode(value), "application/x-msgpack", "binary")


def test_msgpack_has_numbers_that_json_has_not() -> None:
    nan, inf = float("nan"), float("inf")
    for bad in (nan, inf, -inf, -1.0):
        assert refusal(packed({**STARTED, "timestamp": bad})) == "bad_field"
    assert types(packed({**STARTED, "runtime": None})) == ["task-started"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed"),
        (b"\xc1", "malformed"),
        (b"\xdd\xff\xff\xff\xff", "malformed"),
        (b"\xdf\xff\xff\xff\xff", "malformed"),
        (b"\xdb\xff\xff\xff\xff", "malformed"),
        (b"\x91" * 100_000, "malformed"),
        (b"\x81\x81\x01\x01\x01", "malformed"),
        (b"\xa1\xff", "malformed"),
        (b"\x81\xa4type\xa1\xff", "malformed"),
        (b"\x90\x90", "malformed"),
        (b"\x90", "not_an_event"),
        (b"\xc0", "not_an_event"),
        (b"\x80", "not_an_event"),
        (b"\xd6\xff\x00\x00\x00\x01", "not_an_event"),
        (b"\xc7\x03\x05abc", "not_an_event"),
        (b"\x81\x91\x01\x01", "not_an_event"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_odd_msgpack(body: bytes, reason: str) -> None:
    assert refusal(framed(body, "application/msgpack", None)) == reason


def test_msgpack_with_keys_that_are_no_text() -> None:
    for key in (1, b"type", None, 1.5, (1, 2)):
        events, refused = decode(packed([{**STARTED, key: 1}, STARTED]))
        assert len(events) == 1
        assert sum(refused.values()) == 1


# -- YAML ----------------------------------------------------------------------------------------


def written(text: str | bytes) -> Any:
    return framed(text if isinstance(text, bytes) else text.encode(), "application/x-yaml")


def test_yaml_by_each_of_its_names() -> None:
    body = yaml.safe_dump(EVENTS).encode()
    for name in ("application/x-yaml", "application/yaml", "text/yaml; a=b"):
        assert len(types(framed(body, name))) == len(EVENTS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x [1]\nb: *x\n", "malformed"),
        ("[" * (MAX_YAML_DEPTH + 1) + "]" * (MAX_YAML_DEPTH + 1), "malformed"),
        ("[" * 60_000, "malformed"),
        ("{a: " * 15_000, "malformed"),
        ("- " * 30_000, "malformed"),
        ("? " * 30_000, "malformed"),
        ("!!python/object/apply:os.system ['false']", "malformed"),
        ("!!python/name:os.system", "malformed"),
        ("!<tag:yaml.org,2002:python/object/new:os.mkdir> [x]", "malformed"),
        ("a: b: c", "malformed"),
        ("\x00", "malformed"),
        ("{type: a, timestamp: .nan}", "bad_field"),
        ("{type: a, timestamp: .inf}", "bad_field"),
        ("{type: a, timestamp: 2026-01-01}", "bad_field"),
        ("{type: a, timestamp: 2026-01-01 10:00:00}", "bad_field"),
        ("{type: a, timestamp: yes}", "bad_field"),
        ("{type: a, timestamp: " + "1" * 20_000 + "}", "malformed"),
        ("{type: 2026-01-01, timestamp: 1}", "bad_field"),
        ("{type: !!binary YQ==, timestamp: 1}", "bad_field"),
        ("!!set {type, timestamp}", "not_an_event"),
        ("!!omap [type: a, timestamp: 1]", "not_an_event"),
        ("", "not_an_event"),
        ("---", "not_an_event"),
        ("--- a\n--- b", "malformed"),
        ("{1: 2, type: a, timestamp: 1}", "bad_field"),
        ("{? [a, b] : 1}", "malformed"),
        ("1999-99-99", "malformed"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_odd_yaml(text: str, reason: str) -> None:
    message = written(text)
    events, refused = decode(message)
    assert events == []
    assert set(refused) == {reason}


def test_yaml_is_held_to_a_tighter_limit() -> None:
    text = yaml.safe_dump(STARTED)
    assert types(written(text + " " * (MAX_YAML_BYTES - len(text)))) == ["task-started"]
    assert refusal(written(text + " " * (MAX_YAML_BYTES - len(text) + 1))) == "too_large"


def test_bad_utf_8_and_other_encodings_in_yaml() -> None:
    assert refusal(written(b"a: \xff")) == "bad_encoding"
    body = yaml.safe_dump({**STARTED, "hostname": "wörker"}, allow_unicode=True)
    message = framed(body.encode("latin-1"), "application/x-yaml", "latin-1")
    assert decode(message)[0][0].hostname == "wörker"


def test_dates_in_custom_events_pass() -> None:
    when = datetime.date(2026, 1, 1)
    body = yaml.safe_dump({"type": "shipped", "timestamp": 1, "on": when})
    assert types(written(body)) == ["shipped"]


def test_base64_of_everything_in_the_envelope() -> None:
    raw = base64.b64encode(yaml.safe_dump(STARTED).encode()).decode()
    message = json.loads(envelope(STARTED, content_type="application/x-yaml"))
    assert types(json.dumps({**message, "body": raw}).encode()) == ["task-started"]
