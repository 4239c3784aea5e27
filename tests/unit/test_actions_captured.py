"""What the journal holds of a message is that message again, or withheld: never another one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.journaling import envelope, open_journal, write
from z4j_exporter.actions.captured import CapturedMessage, CaptureJournal, Reads
from z4j_exporter.actions.messages import compose, retry_count
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.actions.payload import Seen, first_of, of_capture
from z4j_exporter.config import Settings
from z4j_exporter.journal.journal import Journal
from z4j_exporter.journal.model import Body, JournalError, StoreError
from z4j_exporter.journal.store import PayloadStore

BODY = {"task": "total", "args": [], "kwargs": {"more": 1}, "options": {"task_id": "b"}}
STORE = Settings(capture_store_url="redis://127.0.0.1:1/0")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = open_journal(tmp_path)
    yield made
    made.stop(0)
    made.close()


def json_body(args: Any = (), kwargs: Any = None, **embed: Any) -> dict[str, Any]:
    links = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **embed}
    return {
        "body": json.dumps([list(args), kwargs or {}, links]),
        "content_type": "application/json",
        "content_encoding": "utf-8",
    }


def captured(journal: Journal, settings: Settings | None = None, **note: Any) -> CapturedMessage:
    write(journal, [envelope("u1", **note)])
    found = CaptureJournal(journal, settings or Settings()).payload("u1")
    assert found is not None
    return found


def payload(journal: Journal, **note: Any) -> Payload:
    write(journal, [envelope("u1", **note)])
    found = of_capture(CaptureJournal(journal, Settings()), "u1")
    assert found is not None
    return found


# -- a message that may be sent again ----------------------------------------------------------


def test_a_message_comes_back_with_all_that_a_retry_keeps(journal: Journal) -> None:
    link = {"task": "log", "args": [2**70], "kwargs": {}, "options": {}}
    found = payload(
        journal,
        name="pay", root_id="r", parent_id="p", group_id="g", group_index=3, retries=2,
        queue="web", exchange="x", routing_key="a.b", priority=7, time_limit=10,
        soft_time_limit=5.5, ignore_result=True, replaced_task_nesting=1,
        eta="2026-01-01T00:00:00+00:00", expires="2026-01-02T00:00:00+00:00",
        headers={"tenant": {"id": 7}, "z4j-retry-of": "u0", "z4j-retry-count": 1},
        stamps={"s": ["1"]},
        payload=json_body([1, "C:\\new\\table"], {"x": None}, callbacks=[link], chord=BODY),
    )  # fmt: skip
    assert (found.source, found.name, found.queue) == ("capture", "pay", "web")
    assert (found.exchange, found.routing_key, found.priority) == ("x", "a.b", 7)
    assert (found.args, found.kwargs) == ((1, "C:\\new\\table"), {"x": None})
    assert found.callbacks == (link,)
    assert (found.group_id, found.chord) == ("g", BODY)
    assert retry_count(found) == 1

    sent = compose(found, "u2", retry_of="u1", retry_count=2, origin="me")
    assert sent.dropped == ("eta", "expires", "group", "chord")
    kept = {
        "task": "pay", "id": "u2", "root_id": "r", "parent_id": "p", "timelimit": [10.0, 5.5],
        "ignore_result": True, "replaced_task_nesting": 1, "tenant": {"id": 7},
        "stamped_headers": ["s"], "stamps": {"s": ["1"]}, "retries": 0, "group": None,
        "z4j-retry-of": "u1", "z4j-retry-count": 2,
    }  # fmt: skip
    assert {key: sent.headers[key] for key in kept} == kept
    assert sent.properties["priority"] == 7


def test_the_body_is_the_bytes_that_were_sent(journal: Journal) -> None:
    odd = '[ ["\\u00e4", 1e400, 12345678901234567890123],{} ,{"chord":null}]'
    note = {"body": odd, "content_type": "application/json", "content_encoding": "utf-8"}
    found = payload(journal, payload=note)
    assert found.body == odd.encode()
    assert compose(found, "u2", retry_of="u1", retry_count=1, origin="").body == odd.encode()


def test_a_queue_that_was_not_named_is_none(journal: Journal) -> None:
    found = captured(journal, queue="", exchange="", routing_key="")
    assert (found.queue, found.exchange, found.routing_key) == (None, None, None)
    assert found.replayable


def test_redacted_copies_beside_an_exact_body_do_not_count(journal: Journal) -> None:
    found = captured(journal, omitted=["callbacks", "chord_body"], errbacks="no list")
    assert found.replayable


def test_what_was_not_captured_is_none(journal: Journal) -> None:
    write(journal, [envelope("u1")])
    assert CaptureJournal(journal, Settings()).payload("nobody") is None
    assert CaptureJournal(journal, Settings()).group("nothing") is None
    assert CaptureJournal(journal, Settings()).payload("\ud800") is None


# -- a message that may not --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ({"withheld": "redacted"}, "it holds a secret"),
        ({"withheld": "too_large"}, "it was too large"),
        ({"withheld": "disabled"}, "keep no payloads"),
        ({"withheld": "unserialisable"}, "looked into for secrets"),
        ({"withheld": "store_failed"}, "did not take it"),
        ({"withheld": "<b>of a hook to come"}, "the hook says so"),
        ({"replayable": True, "name": None}, "name is not known"),
        ({"replayable": True, "name": "n" * 255}, "name is not known"),
        ({"replayable": True, "headers_redacted": True}, "headers were redacted"),
        ({"replayable": True, "stamps_redacted": True}, "headers were redacted"),
        ({"replayable": True, "headers": "cut …"}, "too long to keep"),
        ({"replayable": True, "headers": {"a": [{"b": "…"}]}}, "cannot be kept"),
        ({"replayable": True, "headers": {"a": "<shop.models.Order>"}}, "cannot be kept"),
        ({"replayable": True, "stamps": {"a": "<int>"}}, "cannot be kept"),
    ],
)
def test_what_is_not_exact_is_withheld(journal: Journal, note: dict[str, Any], words: str) -> None:
    note = {"replayable": False, **note}
    if note.get("withheld"):
        note["payload"] = None
    write(journal, [envelope("u1", **note)])
    capture = CaptureJournal(journal, Settings())
    with pytest.raises(ActionError, match=words) as caught:
        of_capture(capture, "u1")
    assert (caught.value.kind, caught.value.status) == ("payload-withheld", 422)
    assert "Give args and kwargs" in caught.value.hint
    assert "<b>" not in caught.value.detail
    found = capture.payload("u1")
    assert found is not None
    assert (found.replayable, found.body) == (False, None)


def test_a_body_that_cannot_be_read_is_withheld(journal: Journal) -> None:
    broken = {"body": "no base64!", "content_type": "application/x-python-serialize"}
    found = captured(journal, payload={**broken, "content_encoding": "binary"})
    assert (found.replayable, found.withheld) == (False, "its payload cannot be read")


# -- the store of payloads ---------------------------------------------------------------------

STORED = {"payload": None, "withheld": "stored", "stored_key": "z4j:payload:1", "replayable": True}


def test_a_stored_payload_is_fetched_within_its_time(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(_self: PayloadStore, key: str, timeout_seconds: float) -> Body:
        asked.append((key, timeout_seconds))
        return Body(b'[[1], {}, {"chord": null}]', "application/json", "utf-8")

    monkeypatch.setattr(PayloadStore, "fetch", fetch)
    found = captured(journal, STORE, **STORED)
    assert (found.replayable, found.body) == (True, b'[[1], {}, {"chord": null}]')
    assert (found.content_type, found.content_encoding) == ("application/json", "utf-8")
    assert asked == [("z4j:payload:1", 2.0)]


def test_a_stored_payload_that_is_gone_or_nowhere_to_be_found(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PayloadStore, "fetch", lambda *_: None)
    assert "does not have it any more" in captured(journal, STORE, **STORED).withheld
    assert "--capture-store-url" in captured(journal, **STORED).withheld
    assert "is not there" in captured(journal, STORE, **{**STORED, "stored_key": None}).withheld
    refused = captured(journal, STORE, **{**STORED, "replayable": False})
    assert refused.withheld == "it is in the store of payloads, and may not be sent again"


def test_a_store_that_does_not_answer_is_503_and_others_are_asked(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: Any) -> Body:
        raise StoreError("the store of payloads does not answer", hint="Check the URL.")

    monkeypatch.setattr(PayloadStore, "fetch", fetch)
    write(journal, [envelope("u1", **STORED)])
    capture = CaptureJournal(journal, STORE)
    with pytest.raises(ActionError) as caught:
        capture.payload("u1")
    assert (caught.value.kind, caught.value.status) == ("capture-store-unavailable", 503)
    assert caught.value.hint == "Check the URL."
    other = payload(journal, payload=json_body([1]), at=1.0)
    found = first_of([lambda: of_capture(capture, "u1"), lambda: other], None, Seen())
    assert found.args == (1,)


def test_a_journal_that_cannot_be_read_is_503() -> None:
    class Broken:
        def payload(self, _uuid: str) -> None:
            raise JournalError("the journal cannot be read: locked")

        def group(self, _group_id: str, _limit: int = 1) -> None:
            raise JournalError("the journal cannot be read: locked")

    capture = CaptureJournal(cast("Reads", Broken()), Settings())
    for ask in (capture.payload, capture.group):
        with pytest.raises(ActionError) as caught:
            ask("u1")
        assert (caught.value.kind, caught.value.status) == ("capture-journal-unavailable", 503)
        assert caught.value.hint == "the journal cannot be read: locked"


# -- groups and chords -------------------------------------------------------------------------


def member(uuid: str, index: int, **note: Any) -> Any:
    chord = {"group_id": "g", "chord_id": "g", "group_index": index, "chord_body": BODY}
    return envelope(uuid, **{**chord, "payload": json_body(chord=BODY), **note})


def test_members_come_in_the_order_of_their_indexes(journal: Journal) -> None:
    write(journal, [member("c", 2), member("a", 0), member("b", 1)])
    found = CaptureJournal(journal, Settings()).group("g")
    assert found is not None
    assert [one.uuid for one in found.members] == ["a", "b", "c"]
    assert found.is_chord
    assert found.chord_body == BODY


def test_a_group_without_a_body_needs_no_payloads(journal: Journal) -> None:
    write(journal, [envelope("a", group_id="g", group_index=0)])
    found = CaptureJournal(journal, Settings()).group("g")
    assert found is not None
    assert (found.is_chord, found.chord_body) == (False, None)


@pytest.mark.parametrize(
    "note",
    [
        # What stands beside these has no arguments, or redacted ones.
        {"payload": None, "withheld": "redacted", "replayable": False},
        {"payload": None, "withheld": "too_large", "replayable": False},
        {**STORED},
        # The copy that a pickle's note has is for people.
        {"payload": {**json_body(), "content_type": "application/x-python-serialize"}},
        {"payload": json_body(chord=None)},
        {"payload": json_body(chord=["no signature"])},
        {"payload": {**json_body(), "body": "no JSON"}},
    ],
)
def test_a_chords_body_is_the_one_that_was_sent_or_none(
    journal: Journal, note: dict[str, Any]
) -> None:
    write(journal, [member("a", 0, **note)])
    found = CaptureJournal(journal, Settings()).group("g")
    assert found is not None
    assert (found.is_chord, found.chord_body) == (True, None)
    write(journal, [member("b", 1)])
    known = CaptureJournal(journal, Settings()).group("g")
    assert known is not None
    assert known.chord_body == BODY
