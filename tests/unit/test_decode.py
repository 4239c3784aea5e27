"""The decoder: every shape in which Celery sends events, taken apart; each refusal counted."""

import base64
import json
from typing import Any

import pytest

from z4j_exporter.events.decode import (
    DEFAULT_MAX_MESSAGE_BYTES,
    MAX_EVENTS_PER_MESSAGE,
    Decoder,
    RefusedError,
    decode_objects,
    event_from_object,
)
from z4j_exporter.events.message import OVERSIZED_CONTENT_TYPE, Framed, Message
from z4j_exporter.events.model import Event
from z4j_exporter.events.refusal import REFUSAL_REASONS

STARTED = {"type": "task-started", "timestamp": 1.5, "hostname": "w@h", "uuid": "u1"}
HEARTBEAT = {"type": "worker-heartbeat", "timestamp": 1.5, "hostname": "w@h", "processed": 3}


def framed(
    body: Any, content_type: str | None = "application/json", encoding: str | None = "utf-8"
) -> Framed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Framed(raw, content_type, encoding)


def envelope(body: Any, **changes: Any) -> bytes:
    """kombu's envelope as it is published to Redis; a value of None removes a key."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    made = {
        "body": base64.b64encode(raw).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"hostname": "w@h"},
        "properties": {"delivery_mode": 1, "body_encoding": "base64", "delivery_tag": "t"},
    }
    made.update({key.replace("_", "-"): value for key, value in changes.items()})
    return json.dumps({k: v for k, v in made.items() if v is not None}).encode()


def decode(message: Message, **options: Any) -> tuple[list[Event], dict[str, int]]:
    """The events of a message, and what was refused of it, by reason."""
    told: list[str] = []
    decoder = Decoder(on_refused=told.append, **options)
    events = decoder.decode(message)
    assert sorted(decoder.refused.elements()) == sorted(told)
    assert set(told) <= set(REFUSAL_REASONS)
    return events, dict(decoder.refused)


def types(message: Message) -> list[str]:
    events, refused = decode(message)
    assert refused == {}
    return [event.type for event in events]


def refusal(message: Message, **options: Any) -> str:
    """The one reason for which a message is refused as a whole."""
    events, refused = decode(message, **options)
    assert events == []
    assert list(refused.values()) == [1]
    return next(iter(refused))


# -- shapes --------------------------------------------------------------------


def test_a_single_event_and_a_list() -> None:
    for wrap in (framed, envelope):
        assert types(wrap(STARTED)) == ["task-started"]
        assert types(wrap([STARTED])) == ["task-started"]
        assert types(wrap([STARTED, HEARTBEAT])) == ["task-started", "worker-heartbeat"]


def test_every_field_arrives() -> None:
    sent = {
        "type": "task-sent",
        "timestamp": 1_700_000_000.25,
        "hostname": "gen1@h",
        "uuid": "u",
        "name": "web.visit",
        "queue": "web",
        "root_id": "r",
        "parent_id": "p",
        "retries": 2,
        "eta": "2026-01-01T00:00:00+00:00",
        "expires": None,
        "args": "(1,)",
        "kwargs": "{}",
        "clock": 7,
        "utcoffset": -1,
        "pid": 42,
        "exchange": "",
        "routing_key": "web",
    }
    ((event,), _) = decode(envelope(sent))
    for name, value in sent.items():
        if name not in ("args", "kwargs", "clock", "utcoffset", "exchange", "routing_key"):
            assert getattr(event, name) == value, name


def test_a_raw_body_in_the_envelope() -> None:
    text = json.dumps([STARTED, {**HEARTBEAT, "hostname": "w@höst"}], ensure_ascii=False)
    for properties in ({}, {"body_encoding": None}, {"body_encoding": ""}, None):
        message = json.loads(envelope(STARTED, properties=properties))
        message["body"] = text
        events, refused = decode(json.dumps(message).encode())
        assert refused == {}
        assert [event.hostname for event in events] == ["w@h", "w@höst"]


@pytest.mark.parametrize("spaced", [b" [%s]\n", b"\n\t%s ", b"\r\n[ %s ,%s]"])
def test_white_space_around(spaced: bytes) -> None:
    one = json.dumps(STARTED).encode()
    body = spaced % ((one,) * spaced.count(b"%s"))
    assert set(types(framed(body))) == {"task-started"}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "text/json",
        "",
        None,
    ],
)
def test_names_of_json(content_type: str | None) -> None:
    assert types(framed(STARTED, content_type)) == ["task-started"]
    assert types(envelope(STARTED, content_type=content_type)) == ["task-started"]


@pytest.mark.parametrize(
    ("encoding", "python"),
    [
        ("utf-8", "utf-8"),
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("binary", "utf-8"),
        ("ascii-8bit", "utf-8"),
        ("", "utf-8"),
        (None, "utf-8"),
        ("latin-1", "latin-1"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("utf-8-sig", "utf-8-sig"),
    ],
)
def test_encodings(encoding: str | None, python: str) -> None:
    body = json.dumps({**STARTED, "hostname": "wörker@h"}, ensure_ascii=False).encode(python)
    for message in (framed(body, encoding=encoding), envelope(body, content_encoding=encoding)):
        events, refused = decode(message)
        assert refused == {}
        assert events[0].hostname == "wörker@h"


def test_latin_1_that_could_pass_for_utf_8() -> None:
    body = json.dumps({**STARTED, "hostname": "Ã¶"}, ensure_ascii=False).encode("latin-1")
    for message in (
        framed(body, encoding="latin-1"),
        envelope(body, content_encoding="latin-1"),
    ):
        assert decode(message)[0][0].hostname == "Ã¶"


# -- a message that is refused as a whole --------------------------------------


@pytest.mark.parametrize(
    "encoding",
    ["klingon", "hex", "zip", "rot13", "punycode", "idna", "undefined", "a\0b", "é" * 99],
)
def test_unknown_encodings(encoding: str) -> None:
    assert refusal(framed(STARTED, encoding=encoding)) == "bad_encoding"
    assert refusal(envelope(STARTED, content_encoding=encoding)) == "bad_encoding"


def test_unknown_encodings_leave_nothing_behind() -> None:
    import encodings

    before = len(encodings._cache)  # type: ignore[attr-defined]  # what grows, in CPython
    for n in range(50):
        refusal(framed(STARTED, encoding=f"unheard-of-{n}"))
    assert len(encodings._cache) == before  # type: ignore[attr-defined]  # as above


def test_a_body_that_is_not_in_its_encoding() -> None:
    bad = b'{"type": "x", "timestamp": 1, "hostname": "\xff"}'
    assert refusal(framed(bad)) == "bad_encoding"
    assert refusal(envelope(bad)) == "bad_encoding"
    assert refusal(framed(bad, encoding="ascii")) == "bad_encoding"
    assert refusal(framed(b"\x00", encoding="utf-16")) == "bad_encoding"


def test_bad_utf_8_in_each_string_that_is_read() -> None:
    for name in ("type", "hostname", "uuid", "name", "queue", "root_id", "exception", "eta"):
        text = json.dumps({**STARTED, name: "@@"}).encode().replace(b"@@", b"\xc3\x28")
        assert refusal(framed(text)) == "bad_encoding", name
        assert refusal(envelope(text)) == "bad_encoding", name


def test_a_body_that_is_not_base64() -> None:
    for body in ("@@@", "YWJj\n", "YWJ", "ä"):
        message = json.loads(envelope(STARTED))
        message["body"] = body
        assert refusal(json.dumps(message).encode()) == "bad_encoding"


def test_a_body_encoding_that_kombu_does_not_know() -> None:
    for name in ("gzip", "BASE64", "utf-8"):
        message = envelope(STARTED, properties={"body_encoding": name})
        assert refusal(message) == "bad_encoding"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"\xff\xfe",
        b'{"body": "e30="',
        b'{"body": 5}',
        b'{"body": null}',
        b'{"body": "e30=", "content-type": 5}',
        b'{"body": "e30=", "properties": []}',
        b'{"body": "e30=", "content-type": "\xff"}',
        b'{"body": "\xff"}',
        b'{"body": "e30=", "properties": ' + b"[" * 5000,
        b'{"body": "e30="} x',
        json.dumps(STARTED).encode(),
    ],
    ids=repr,
)
def test_what_is_no_envelope(message: bytes) -> None:
    assert refusal(message) == "bad_envelope"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[",
        b'{"type": "task-started", "timestamp": 1',
        b'[{"type": "a", "timestamp": 1},]',
        b"{'type': 'a'}",
        b'{"type": "a", "timestamp": 01}',
        b'{"type": "a" "timestamp": 1}',
        b"\xef\xbb\xbf{}",
        b'{"type": "a\nb", "timestamp": 1}',
        b'{"type": "a\x00b", "timestamp": 1}',
        b'{"type": "a", "timestamp": 1}{}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type": "a", "timestamp": 1, "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_json(body: bytes) -> None:
    assert refusal(framed(body)) == "malformed"
    assert refusal(envelope(body)) == "malformed"


def test_unknown_content_types() -> None:
    for name in ("application/data", "text/plain", "application/xml", "json", "x" * 9999, ";"):
        expected = "not_an_event" if name == ";" else "unknown_content_type"
        assert refusal(framed(b"[]", name)) == expected
        assert refusal(envelope(b"[]", content_type=name)) == expected


def test_large_messages() -> None:
    limit = len(envelope(STARTED))
    assert refusal(envelope(STARTED) + b" ", max_message_bytes=limit) == "too_large"
    assert decode(envelope(STARTED), max_message_bytes=limit)[1] == {}
    body = json.dumps(STARTED).encode()
    assert refusal(framed(body), max_message_bytes=len(body) - 1) == "too_large"
    assert decode(framed(body), max_message_bytes=len(body))[1] == {}
    assert refusal(framed(b" " * (DEFAULT_MAX_MESSAGE_BYTES + 1), "x/y")) == "too_large"
    assert refusal(envelope(b" " * (DEFAULT_MAX_MESSAGE_BYTES + 1))) == "too_large"


def test_what_a_source_found_too_large() -> None:
    assert refusal(Framed(b"", OVERSIZED_CONTENT_TYPE, None)) == "too_large"


def test_more_events_than_celery_ever_sends() -> None:
    for item in (STARTED, {**STARTED, "uuid": 5}, 0):
        assert refusal(framed([item] * (MAX_EVENTS_PER_MESSAGE + 1))) == "too_many"
    events, refused = decode(framed([STARTED] * MAX_EVENTS_PER_MESSAGE))
    assert len(events) == MAX_EVENTS_PER_MESSAGE
    assert refused == {}


def test_nothing_at_all() -> None:
    for wrap in (framed, envelope):
        assert refusal(wrap([])) == "not_an_event"
        assert refusal(wrap(b" [ ] ")) == "not_an_event"
        assert refusal(wrap({})) == "not_an_event"
        assert refusal(wrap(None)) == "not_an_event"


# -- one bad event among good ones ---------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"timestamp": True}, "bad_field"),
        ({"timestamp": None}, "bad_field"),
        ({"timestamp": "1.5"}, "bad_field"),
        ({"timestamp": -1}, "bad_field"),
        ({"timestamp": -0.001}, "bad_field"),
        ({"timestamp": 253_402_300_800}, "bad_field"),
        ({"timestamp": 1e300}, "bad_field"),
        ({"timestamp": 10**400}, "bad_field"),
        ({"timestamp": []}, "bad_field"),
        ({"type": 5}, "bad_field"),
        ({"type": None}, "bad_field"),
        ({"type": "x" * 2000}, "bad_field"),
        ({"uuid": 5}, "bad_field"),
        ({"uuid": ""}, "bad_field"),
        ({"uuid": "x" * 600}, "bad_field"),
        ({"uuid": ["u"]}, "bad_field"),
        ({"hostname": 5}, "bad_field"),
        ({"hostname": {"a": 1}}, "bad_field"),
        ({"hostname": "x" * 2000}, "bad_field"),
        ({"name": 5}, "bad_field"),
        ({"name": "x" * 100_000}, "bad_field"),
        ({"queue": []}, "bad_field"),
        ({"retries": "1"}, "bad_field"),
        ({"retries": -1}, "bad_field"),
        ({"retries": 1.5}, "bad_field"),
        ({"retries": 10**9}, "bad_field"),
        ({"runtime": "fast"}, "bad_field"),
        ({"exception": 5}, "bad_field"),
        ({"terminated": 1}, "bad_field"),
        ({"requeue": "yes"}, "bad_field"),
        ({"eta": 5}, "bad_field"),
        ({"parent_id": 5}, "bad_field"),
        ({"uuid": None}, "missing_field"),
    ],
    ids=str,
)
def test_a_bad_field_costs_its_event_and_no_other(changes: dict[str, Any], reason: str) -> None:
    bad = {**STARTED, **changes}
    for wrap in (framed, envelope):
        events, refused = decode(wrap([STARTED, bad, HEARTBEAT]))
        assert [event.type for event in events] == ["task-started", "worker-heartbeat"]
        assert refused == {reason: 1}
        assert refusal(wrap(bad)) == reason


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("type", "not_an_event"), ("timestamp", "not_an_event"), ("uuid", "missing_field")],
)
def test_a_task_event_without(missing: str, reason: str) -> None:
    bad = {name: value for name, value in STARTED.items() if name != missing}
    events, refused = decode(framed([bad, STARTED]))
    assert len(events) == 1
    assert refused == {reason: 1}


def test_a_worker_event_without_hostname() -> None:
    bad = {name: value for name, value in HEARTBEAT.items() if name != "hostname"}
    for more in ({}, {"uuid": "u"}, {"hostname": ""}, {"hostname": "", "uuid": "u"}):
        assert refusal(framed({**bad, **more})) == "missing_field", more


def test_a_task_event_without_hostname_passes() -> None:
    bare = {name: value for name, value in STARTED.items() if name != "hostname"}
    assert types(framed(bare)) == ["task-started"]


@pytest.mark.parametrize("item", [None, 5, "x", [], [STARTED], True, 1.5])
def test_an_item_that_is_no_object(item: Any) -> None:
    events, refused = decode(framed([item, STARTED]))
    assert len(events) == 1
    assert refused == {"not_an_event": 1}


@pytest.mark.parametrize("name", ["processed", "active", "pid"])
def test_wrong_counts_of_a_worker(name: str) -> None:
    for value in ("3", 1.5, [1]):
        assert refusal(framed({**HEARTBEAT, name: value})) == "bad_field"


def test_wrong_loads_of_a_worker() -> None:
    for value in ("1", [1, "2"], {"1": 2}, 3):
        assert refusal(framed({**HEARTBEAT, "loadavg": value})) == "bad_field"


# -- numbers and strings that JSON cannot really say ---------------------------


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000])
def test_numbers_out_of_range_stand_for_no_value(literal: str) -> None:
    def text(event: dict[str, Any]) -> str:
        return json.dumps(event).replace('"@"', literal)

    good = json.dumps(STARTED)
    events, refused = decode(framed(f"[{text({**STARTED, 'runtime': '@'})}, {good}]".encode()))
    assert [event.runtime for event in events] == [None, None]
    assert refused == {}
    events, refused = decode(framed(f"[{text({**STARTED, 'timestamp': '@'})}, {good}]".encode()))
    assert len(events) == 1
    assert refused == {"bad_field": 1}
    custom = {"type": "my-event", "timestamp": 1, "value": "@"}
    assert types(framed(text(custom).encode())) == ["my-event"]


def test_duplicate_keys_take_the_last() -> None:
    body = b'{"type": "a", "timestamp": 1, "type": "task-started", "uuid": "u", "uuid": "v"}'
    ((event,), _) = decode(framed(body))
    assert (event.type, event.uuid) == ("task-started", "v")


def test_half_a_surrogate_pair_and_nul_pass() -> None:
    for text in ("\\ud800", "\\udc80", "\\u0000", "\\u2028"):
        body = json.dumps({**STARTED, "args": "@", "name": "@"}).replace("@", text).encode()
        assert types(framed(body)) == ["task-started"]
        assert types(envelope(body)) == ["task-started"]


def test_far_times_within_the_calendar_pass() -> None:
    for timestamp in (0, 0.0, 1, 253_402_300_799):
        assert types(framed({**STARTED, "timestamp": timestamp})) == ["task-started"]


# -- custom events -------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"uuid": 5, "name": None, "hostname": 7, "runtime": "x", "pid": "p", "loadavg": {}},
        {"hostname": "w@h", "uuid": "u"},
        {"hostname": "w" * 5000},
        {"deep": [[[[{"a": [1]}]]]]},
        {"retries": -5},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_a_custom_event_is_read_by_its_head_alone(fields: dict[str, Any]) -> None:
    custom = {"type": "order-shipped", "timestamp": 5, **fields}
    for wrap in (framed, envelope):
        events, refused = decode(wrap([custom, STARTED]))
        assert [event.type for event in events] == ["order-shipped", "task-started"]
        assert refused == {}
        assert len(events[0].hostname) <= 1024


def test_a_custom_event_needs_a_head() -> None:
    assert refusal(framed({"type": "order-shipped", "timestamp": "now"})) == "bad_field"
    assert refusal(framed({"type": "order-shipped"})) == "not_an_event"
    assert refusal(framed({"timestamp": 5})) == "not_an_event"


# -- the parts -----------------------------------------------------------------


def test_refusals_add_up() -> None:
    decoder = Decoder()
    for message in (b"", b"", framed([]), framed([STARTED, {}, {}])):
        decoder.decode(message)
    assert decoder.refused == {"bad_envelope": 2, "not_an_event": 3}


def test_plain_objects_for_those_who_want_every_field() -> None:
    assert decode_objects(framed([{"a": 1}, 2])) == [{"a": 1}, 2]
    assert decode_objects(framed([])) == []
    assert decode_objects(envelope({"a": None})) == [{"a": None}]
    with pytest.raises(RefusedError, match="too_large"):
        decode_objects(framed({"a": 1}), max_message_bytes=3)


def test_one_object_alone() -> None:
    assert event_from_object(STARTED) == decode(framed(STARTED))[0][0]
    for item in (None, [], {1: 2}, {"type": "a", "timestamp": 1, 3: 4}):
        with pytest.raises(RefusedError):
            event_from_object(item)
