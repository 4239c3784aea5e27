"""What the hook told of a message comes back out of the journal, exactly."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.journaling import T0, envelope, open_journal, write
from z4j_exporter.journal.journal import Journal
from z4j_exporter.journal.model import JournalError
from z4j_exporter.journal.notes import pack, unpack


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = open_journal(tmp_path)
    yield made
    made.stop(0)
    made.close()


def payload(body: str, encoding: str, kind: str = "application/json") -> dict[str, Any]:
    return {"body": body, "content_encoding": encoding, "content_type": kind}


def test_everything_that_a_retry_needs(journal: Journal) -> None:
    link = {"task": "log", "args": [2**70], "kwargs": {}, "options": {}}
    told = {
        "app": "shop:app", "root_id": "r", "parent_id": "p", "retries": 2, "exchange": "x",
        "routing_key": "a.b", "priority": 7, "eta": "2026-01-01T00:00:00+00:00", "expires": 12.5,
        "time_limit": 10, "soft_time_limit": 5.5, "ignore_result": True,
        "callbacks": [link], "errbacks": [link], "chain": [link], "chord_body": link,
        "headers": {"tenant": "a"}, "stamps": {"s": 1}, "traceparent": "00-1-2-01", "origin": "me",
    }  # fmt: skip
    write(journal, [envelope("u1", 3.0, **told)])
    found = journal.payload("u1")
    assert found is not None
    assert found.uuid == "u1"
    assert found.published_at == T0 + 3
    assert found.hostname == "gen1@client"
    assert found.body is not None
    assert found.body.data == b'[[1, 2], {}, {"callbacks": null}]'
    assert (found.body.content_type, found.body.content_encoding) == ("application/json", "utf-8")
    plain = (
        "app", "root_id", "parent_id", "retries", "exchange", "routing_key", "priority", "eta",
        "expires", "time_limit", "soft_time_limit", "ignore_result", "traceparent", "origin",
    )  # fmt: skip
    assert {key: getattr(found.envelope, key) for key in plain} == {k: told[k] for k in plain}
    parsed = ("callbacks", "errbacks", "chain", "chord_body", "headers", "stamps")
    assert {key: getattr(found, key) for key in parsed} == {key: told[key] for key in parsed}
    assert found.envelope.replayable
    assert found.incomplete == frozenset()
    assert journal.payload("u2") is None


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=2000))
def test_any_bytes_come_back(journal: Journal, data: bytes) -> None:
    kind = "application/x-python-serialize"
    body = payload(base64.b64encode(data).decode(), "binary", kind)
    write(journal, [envelope("same", payload=body)])
    found = journal.payload("same")
    assert found is not None
    assert found.body is not None
    assert (found.body.data, found.body.content_type) == (data, kind)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=300), encoding=st.sampled_from(["utf-8", "UTF-8", "utf-16", ""]))
def test_any_text_comes_back(journal: Journal, text: str, encoding: str) -> None:
    write(journal, [envelope("same", payload=payload(text, encoding))])
    found = journal.payload("same")
    assert found is not None
    assert found.body is not None
    assert found.body.data == text.encode(encoding or "utf-8")


@pytest.mark.parametrize(
    ("body", "encoding"), [("äö", "ascii"), ("x", "no-such"), ("?*", "binary"), ("x", "base64")]
)
def test_a_body_that_is_not_what_it_says_is_none(
    journal: Journal, body: str, encoding: str
) -> None:
    write(journal, [envelope(payload=payload(body, encoding))])
    found = journal.payload("u1")
    assert found is not None
    assert found.body is None
    assert "payload" in found.incomplete


def test_what_is_withheld_says_why(journal: Journal) -> None:
    fields: dict[str, Any] = {"payload": None, "replayable": False}
    events = [
        envelope("a", withheld="redacted", redacted_args=[1, "***"], redacted_kwargs={}, **fields),
        envelope("b", withheld="too_large", omitted=["chain"], headers_redacted=True, **fields),
        envelope("c", withheld="stored", stored_key="z4j:payload:1", payload=None),
    ]
    write(journal, events)
    a, b, c = (journal.payload(uuid) for uuid in "abc")
    assert a is not None
    assert b is not None
    assert c is not None
    assert (a.body, a.redacted_args, a.envelope.replayable) == (None, [1, "***"], False)
    assert b.incomplete == {"chain", "headers"}
    assert (c.envelope.stored_key, c.envelope.replayable) == ("z4j:payload:1", True)


# -- which message of a task -----------------------------------------------------------------------


def queue_of(journal: Journal) -> str | None:
    found = journal.payload("u1")
    return None if found is None else found.envelope.queue


@pytest.mark.parametrize(
    ("messages", "latest"),
    [
        ([(0, {"retries": 0}), (5, {"retries": 1})], 1),
        # The retry's note overtook; and the worker's clock is behind.
        ([(5, {"retries": 1}), (0, {"retries": 0})], 0),
        ([(0, {"retries": 0}), (-20, {"retries": 1})], 1),
        ([(0, {"retries": 1}), (20, {"retries": 0})], 0),
        # A replacement counts its retries anew.
        ([(0, {"retries": 3}), (1, {"retries": 0, "replaced_task_nesting": 1})], 1),
        # The same attempt, told twice.
        ([(1, {}), (0, {})], 0),
        ([(0, {}), (1, {})], 1),
        # The id was used again, much later.
        ([(0, {"retries": 3}), (100, {"retries": 0})], 1),
    ],
)
def test_the_last_message_wins(
    journal: Journal, messages: list[tuple[float, dict[str, Any]]], latest: int
) -> None:
    write(
        journal,
        [envelope("u1", at, queue=f"q{n}", **fields) for n, (at, fields) in enumerate(messages)],
    )
    assert queue_of(journal) == f"q{latest}"
    stats = journal.stats()
    assert stats.entries == 1
    assert stats.records == {"stored": 1, "replaced" if latest else "outdated": 1}


# -- groups ----------------------------------------------------------------------------------------


def test_a_groups_members_stand_in_order(journal: Journal) -> None:
    write(journal, [envelope(f"m{i}", group_id="g", group_index=i) for i in (2, 10, 0, 1)])
    found = journal.group("g")
    assert found is not None
    assert [(m.uuid, m.index, m.name) for m in found.members] == [
        ("m0", 0, "add"), ("m1", 1, "add"), ("m2", 2, "add"), ("m10", 10, "add")
    ]  # fmt: skip
    assert not found.is_chord
    assert found.chord_body is None
    assert not found.truncated
    assert journal.group("other") is None
    few = journal.group("g", limit=2)
    assert few is not None
    assert (len(few.members), few.truncated) == (2, True)


def test_a_chord_has_its_body(journal: Journal) -> None:
    body = {"task": "total", "args": [], "kwargs": {}, "options": {"task_id": "b"}}
    write(
        journal,
        [
            # Of one the body was too large.
            envelope("h0", group_id="g", chord_id="g", group_index=0, omitted=["chord_body"]),
            envelope("h1", group_id="g", chord_id="g", group_index=1, chord_body=body),
            # The body is a group: its members have the header's id, and are none of it.
            envelope("b0", group_id="g", group_index=0),
        ],
    )
    found = journal.group("g")
    assert found is not None
    assert found.is_chord
    assert [m.uuid for m in found.members] == ["h0", "h1"]
    assert found.chord_body == body


def test_members_that_are_announced_or_learned_are_not_published(journal: Journal) -> None:
    last = {"task": "last", "options": {"task_id": "end", "group_id": "g", "group_index": 1}}
    write(journal, [envelope("m0", group_id="g", group_index=0), envelope("first", chain=[last])])
    journal.learn("other", "g")
    journal.learn("m0", "g")
    assert journal.step()
    found = journal.group("g")
    assert found is not None
    assert [(m.uuid, m.index, m.published) for m in found.members] == [
        ("m0", 0, True), ("end", 1, False), ("other", None, False)
    ]  # fmt: skip


# -- search ----------------------------------------------------------------------------------------


def test_a_search_by_name_queue_and_time_goes_on(journal: Journal) -> None:
    write(
        journal,
        [envelope(f"u{i:02}", i, name="ab"[i % 2], queue="xyz"[i % 3]) for i in range(30)],
    )
    found = journal.search(name="b", queue="z", since=T0 + 5, until=T0 + 23)
    assert [f.uuid for f in found] == ["u05", "u11", "u17"]
    assert [(f.name, f.queue, f.published_at) for f in found[:1]] == [("b", "z", T0 + 5)]
    seen: list[str] = []
    cursor = None
    while page := journal.search(after=cursor, limit=7):
        seen += [f.uuid for f in page]
        cursor = page[-1].cursor
    assert seen == [f"u{i:02}" for i in range(30)]


@pytest.mark.parametrize(
    "condition", ["name = ?", "queue = ?", "name = ? AND published >= 5", "published > ?"]
)
def test_searches_use_an_index(journal: Journal, condition: str, tmp_path: Path) -> None:
    write(journal, [envelope()])
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT id FROM entry WHERE {condition} ORDER BY published, id",  # noqa: S608  # ours
            ("x",),
        ).fetchall()
    assert all("USING" in step[3] and "TEMP" not in step[3] for step in plan), plan


# -- hostile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("uuid", ["a\0b", "a", "'; DROP TABLE entry; --", "é" * 512, "%", "\u202e"])
def test_hostile_texts_are_only_texts(journal: Journal, uuid: str) -> None:
    short = uuid[:255]
    write(journal, [envelope(uuid, name=short, queue=short, group_id=uuid, group_index=0)])
    found = journal.payload(uuid)
    assert found is not None
    assert found.envelope.name == short
    assert [f.uuid for f in journal.search(name=short, queue=short)] == [uuid]
    group = journal.group(uuid)
    assert group is not None
    assert [m.uuid for m in group.members] == [uuid]


def test_half_a_surrogate_pair_is_not_there(journal: Journal) -> None:
    write(journal, [envelope()])
    assert journal.payload("\ud800") is None
    assert journal.group("\ud800") is None
    assert journal.search(name="\ud800") == []


def test_deep_and_strange_parts_are_named(journal: Journal) -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    write(journal, [envelope("u1", callbacks=5, errbacks=deep, chord_body=True, headers=[1])])
    found = journal.payload("u1")
    assert found is not None
    assert found.body is not None
    assert (found.callbacks, found.chord_body, found.headers) == ([], None, {})
    assert {"callbacks", "headers", "chord_body"} <= found.incomplete


def test_a_record_that_is_too_large_is_counted(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_bytes=4 * 1024**2)
    write(journal, [envelope("big", payload=payload("x" * 300_000, "utf-8")), envelope("small")])
    assert journal.stats().dropped == {"too_large": 1}
    assert journal.payload("big") is None
    assert journal.payload("small") is not None
    journal.close()


def test_a_note_that_somebody_spoilt_is_one_sentence(journal: Journal, tmp_path: Path) -> None:
    write(journal, [envelope()])
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        for stored_as, note in ((1, b"x"), (0, b"{}"), (0, b"\xff"), (7, b"")):
            connection.execute("UPDATE entry SET format = ?, note = ?", (stored_as, note))
            connection.commit()
            with pytest.raises(JournalError, match="cannot be read"):
                journal.payload("u1")
    assert unpack(*pack(b"x" * 10_000)) == b"x" * 10_000
    with pytest.raises(JournalError):
        unpack(1, pack(b"x" * 10_000)[1][:-3])


def test_the_queue_is_bounded_and_counts(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, queue_records=3)
    for i in range(5):
        journal.learn(f"u{i}", "g")
    assert journal.stats().dropped == {"queue_full": 2}
    assert journal.stats().waiting == 3
    small = open_journal(tmp_path, queue_bytes=1000)
    for i in range(5):
        small.learn(f"u{i}", "g")
    assert small.stats().dropped == {"queue_full": 3}
