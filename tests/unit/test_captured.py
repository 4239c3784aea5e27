"""The hook's events are read strictly where they count, and never take anything else with them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.grouping import Taking
from tests.support.tracking import Stage, event
from z4j_exporter.events.captured import (
    Captured,
    EndNote,
    Envelope,
    Report,
    RunNote,
    body_of,
    captured,
    signature,
    signatures,
)
from z4j_exporter.events.decode import Decoder
from z4j_exporter.events.message import Framed
from z4j_exporter.events.model import CAPTURE_EVENT_TYPES, NO_RAW, Event
from z4j_exporter.events.refusal import REFUSAL_REASONS, RefusedError

#: One contents each type takes.
SOUND: dict[str, dict[str, Any]] = {
    "z4j-envelope": {"v": 1, "uuid": "u1", "name": "add", "group_id": "g", "group_index": 0},
    "z4j-run": {"v": 1, "uuid": "u1", "pid": 7, "thread": "MainThread", "redelivered": False},
    "z4j-end": {"v": 1, "uuid": "u1", "state": "SUCCESS", "runtime": 0.5},
    "z4j-report": {"v": 1, "captured": 3, "dropped": {"queue_full": 1}, "queue": 2},
}


def decoded(
    kind: str, contents: object, content_type: str = "application/json", **fields: Any
) -> list[Event]:
    body = {"type": kind, "timestamp": 1.5, "hostname": "w1@h", "pid": 3, "z4j": contents, **fields}
    return Decoder().decode(Framed(json.dumps(body).encode(), content_type, "utf-8"))


def note(kind: str, contents: object) -> Captured:
    (each,) = decoded(kind, contents)
    return captured(each)


def refusal(kind: str, contents: object) -> str:
    with pytest.raises(RefusedError) as refused:
        note(kind, contents)
    assert refused.value.reason in REFUSAL_REASONS
    return refused.value.reason


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("z4j-envelope", Envelope),
        ("z4j-run", RunNote),
        ("z4j-end", EndNote),
        ("z4j-report", Report),
    ],
)
def test_each_type_is_read(kind: str, expected: type) -> None:
    read = note(kind, SOUND[kind])
    assert type(read) is expected
    for name, value in SOUND[kind].items():
        assert getattr(read, name) == value


@pytest.mark.parametrize("kind", sorted(CAPTURE_EVENT_TYPES))
def test_fields_to_come_are_passed_over(kind: str) -> None:
    assert note(kind, {**SOUND[kind], "to_come": [1, {"x": None}]})


@pytest.mark.parametrize("kind", sorted(CAPTURE_EVENT_TYPES))
def test_the_slow_way_reads_the_same(kind: str) -> None:
    (slow,) = decoded(kind, SOUND[kind], content_type="text/json")
    assert captured(slow) == note(kind, SOUND[kind])
    assert (slow.hostname, slow.pid, slow.timestamp) == ("w1@h", 3, 1.5)


def test_a_payload_comes_through_as_it_was() -> None:
    body = '[["ä", "\\u2028"], {}, {}]'
    payload = {"content_type": "application/json", "content_encoding": "utf-8", "body": body}
    read = note("z4j-envelope", {**SOUND["z4j-envelope"], "payload": payload, "replayable": True})
    assert isinstance(read, Envelope)
    assert read.payload is not None
    assert read.payload.body == body
    assert read.replayable


@pytest.mark.parametrize("version", [0, 2, 99, -1])
def test_another_version_is_refused_by_name(version: int) -> None:
    assert refusal("z4j-run", {**SOUND["z4j-run"], "v": version}) == "capture_version"
    # A version to come may look quite different.
    assert refusal("z4j-run", {"v": version, "uuid": {"id": 1}}) == "capture_version"


def test_no_version_is_none_that_is_known() -> None:
    assert refusal("z4j-run", {"uuid": "u1"}) == "capture_version"


@pytest.mark.parametrize(
    "contents",
    [
        None,
        [],
        "text",
        {"v": "1"},
        {"v": 1},
        {"v": 1, "uuid": ""},
        {"v": 1, "uuid": "u" * 600},
        {"v": 1, "uuid": "u1", "name": "n" * 300},
        {"v": 1, "uuid": "u1", "group_index": -1},
        {"v": 1, "uuid": "u1", "priority": 256},
        {"v": 1, "uuid": "u1", "priority": "high"},
        {"v": 1, "uuid": "u1", "chord_size": 2**40},
        {"v": 1, "uuid": "u1", "payload": {"content_type": "x"}},
    ],
)
def test_what_is_wrong_is_refused(contents: object) -> None:
    assert refusal("z4j-envelope", contents) == "bad_capture"


def test_a_report_is_bounded() -> None:
    many = {f"r{n}": 1 for n in range(65)}
    assert refusal("z4j-report", {"v": 1, "dropped": many}) == "bad_capture"
    assert refusal("z4j-report", {"v": 1, "dropped": {"r": -1}}) == "bad_capture"
    assert refusal("z4j-report", {"v": 1, "captured": 2**60}) == "bad_capture"


def test_an_event_without_contents_is_refused() -> None:
    with pytest.raises(RefusedError, match="bad_capture"):
        captured(Event(type="z4j-run", timestamp=1.0))
    with pytest.raises(RefusedError, match="bad_capture"):
        captured(Event(type="task-sent", timestamp=1.0))


def test_what_cannot_be_passed_on_is_refused_by_the_decoder() -> None:
    decoder = Decoder()
    lone = b'{"type":"z4j-run","timestamp":1.0,"hostname":"w","z4j":{"uuid":"\\ud800"}}'
    assert decoder.decode(Framed(lone, "application/json", "utf-8")) == []
    pid = b'{"type":"z4j-run","timestamp":1.0,"hostname":"w","pid":"x","z4j":{}}'
    assert decoder.decode(Framed(pid, "application/json", "utf-8")) == []
    assert decoder.refused == {"bad_capture": 2}


@pytest.mark.parametrize("content_type", ["application/json", "text/json"])
def test_a_task_event_with_the_field_stays_a_task_event(content_type: str) -> None:
    (each,) = decoded("task-sent", {"any": "thing"}, content_type, uuid="u1", name="add")
    assert (each.type, each.uuid, each.name) == ("task-sent", "u1", "add")


def test_signatures_are_read_one_by_one() -> None:
    chain = [{"task": "last", "options": {"task_id": "t"}}, "…", {"task": 7}, {"task": "first"}]
    read = note("z4j-envelope", {**SOUND["z4j-envelope"], "chain": chain})
    assert isinstance(read, Envelope)
    assert [s.task for s in signatures(read.chain)] == ["last", "first"]
    assert signatures(read.chord_body) == []
    assert signature(NO_RAW) is None


@pytest.mark.parametrize("chain", [None, "…", {}, 7])
def test_a_chain_that_is_none_has_no_signatures(chain: object) -> None:
    read = note("z4j-envelope", {**SOUND["z4j-envelope"], "chain": chain})
    assert isinstance(read, Envelope)
    assert signatures(read.chain) == []


def test_the_body_of_a_chord_is_found() -> None:
    body = {"task": "total", "options": {"task_id": "b", "group_id": "g", "group_index": 1}}
    read = note(
        "z4j-envelope",
        {
            **SOUND["z4j-envelope"],
            "chain": [
                {"task": "celery.chord", "subtask_type": "chord", "kwargs": {"body": body}},
                {"task": "celery.chord", "subtask_type": "chord", "kwargs": "…"},
                {"task": "add"},
            ],
        },
    )
    assert isinstance(read, Envelope)
    found = [body_of(each) for each in signatures(read.chain)]
    assert found[0] is not None
    assert found[0].options.group_index == 1
    assert found[1:] == [None, None]


TEXT = st.text('aZ0-"\\\0é\u2028\U0001f600', max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["v", "uuid", "name", "group_id", "group_index", "chord_body", "chain", "payload", "dropped",
     "state", "traceparent", "headers", "priority", "since", "expires"]
)  # fmt: skip


@given(st.sampled_from(sorted(CAPTURE_EVENT_TYPES)), st.dictionaries(FIELDS, JSON, max_size=4))
def test_hostile_contents_are_read_or_refused(kind: str, contents: dict[str, object]) -> None:
    seen: list[Captured] = []
    stage = Stage(notes=Taking(lambda each, _event, _now: seen.append(each)))
    stage.play(decoded(kind, {**SOUND[kind], **contents}))
    refused = stage.cluster.refused
    assert len(seen) + sum(refused.values()) == 1
    assert set(refused) <= {"bad_capture", "capture_version"}
    assert stage.cluster.events[kind] == len(seen)


def test_they_count_under_their_own_names() -> None:
    stage = Stage()
    stage.play([event(kind, uuid=None) for kind in sorted(CAPTURE_EVENT_TYPES)])
    assert {kind: stage.cluster.events[kind] for kind in CAPTURE_EVENT_TYPES} == dict.fromkeys(
        CAPTURE_EVENT_TYPES, 1
    )
    assert stage.cluster.events["other"] == 0
    assert stage.told == []
