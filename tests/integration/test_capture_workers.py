"""The capture hook in real workers and clients: what their tasks are, on Redis and RabbitMQ."""

from __future__ import annotations

import base64
import json
import pickle
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, chord
from kombu.exceptions import EncodeError

from tests.support import servers
from tests.support.capturing import Captured, capturing
from z4j_exporter.events.captured import captured
from z4j_exporter.events.decode import event_from_object

SECRET = "correct-horse-battery"


@pytest.fixture(scope="module", params=["prefork-redis", "threads-redis", "prefork-rabbitmq"])
def shop(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """A worker with the hook and a client; shared by the tests, which tell tasks by their uuid."""
    pool, _, kind = request.param.partition("-")
    with servers.valkey() as backend:
        broker = backend.url
        if kind == "rabbitmq":
            broker = request.getfixturevalue("rabbit").vhost().url
        with capturing(broker, backend=backend.url) as made:
            made.worker(pool)
            yield made


def note(shop: Captured, uuid: str, **fields: Any) -> dict[str, Any]:
    """Return the one envelope of a task."""
    found = shop.wait("z4j-envelope", uuid=uuid, **fields)
    assert len(found) == 1
    return found[0]


def test_a_task_is_told_from_its_publishing_to_its_end(shop: Captured) -> None:
    sent = shop.signature("add", 2, 3).apply_async(
        priority=5, headers={"tenant": "ann"}, expires=60, time_limit=50, soft_time_limit=40
    )
    envelope = note(shop, sent.id)
    assert envelope["app"] == "client:app"
    assert envelope["name"] == "add"
    assert envelope["queue"] == "celery"
    assert envelope["priority"] == 5
    assert envelope["headers"] == {"tenant": "ann"}
    assert (envelope["time_limit"], envelope["soft_time_limit"]) == (50, 40)
    assert envelope["expires"]
    assert envelope["replayable"] is True
    assert json.loads(envelope["payload"]["body"])[:2] == [[2, 3], {}]
    [run] = shop.wait("z4j-run", uuid=sent.id)
    assert run["app"] == "tests.support.captureapp:app"
    assert run["queue"] == "celery"
    assert run["hostname"] == "w1@test"
    [end] = shop.wait("z4j-end", uuid=sent.id)
    assert (end["state"], end["retries"], end["exception"]) == ("SUCCESS", 0, "")
    assert end["runtime"] >= 0
    assert end["pid"] == run["pid"]


def test_the_payload_is_what_the_broker_carries(shop: Captured) -> None:
    """The body is sent again by hand under a new id, and does the same."""
    first = shop.signature("add", 2, 3).apply_async()
    payload = note(shop, first.id)["payload"]
    with shop.app.producer_pool.acquire() as producer:
        producer.publish(
            payload["body"],
            routing_key="celery",
            content_type=payload["content_type"],
            content_encoding=payload["content_encoding"],
            headers={"id": "again", "task": "add", "lang": "py"},
            correlation_id="again",
        )
    shop.wait("z4j-end", uuid="again", state="SUCCESS")
    assert shop.app.AsyncResult("again").get(timeout=10) == 5


def test_every_attempt_of_a_retried_task_is_told(shop: Captured) -> None:
    sent = shop.signature("flaky", 2).apply_async()
    shop.wait("z4j-end", uuid=sent.id, state="SUCCESS")
    ends = shop.wait("z4j-end", 3, uuid=sent.id)
    ends.sort(key=lambda end: end["retries"])  # two processes tell them
    assert [(e["state"], e["retries"], e["exception"]) for e in ends] == [
        ("RETRY", 0, "ConnectionError"),
        ("RETRY", 1, "ConnectionError"),
        ("SUCCESS", 2, ""),
    ]
    assert sorted(e["retries"] for e in shop.wait("z4j-envelope", 3, uuid=sent.id)) == [0, 1, 2]


def test_a_chord_tells_its_members_its_body_and_its_size(shop: Captured) -> None:
    result = chord([shop.signature("add", n, n) for n in range(3)])(
        shop.signature("total").set(priority=3)
    )
    shop.wait("z4j-end", uuid=result.id, state="SUCCESS")
    members = shop.wait("z4j-envelope", 3, group_id=result.parent.id, name="add")
    assert {m["chord_id"] for m in members} == {result.parent.id}
    assert sorted(m["group_index"] for m in members) == [0, 1, 2]
    assert [m.get("chord_size") for m in members] == [None, None, 3]
    for member in members:
        assert member["chord_body"]["task"] == "total"
        assert member["chord_body"]["options"]["task_id"] == result.id
    body = note(shop, result.id)
    assert body.get("chord_id") is None  # the body is not a member


def test_a_chain_tells_what_comes_next(shop: Captured) -> None:
    sent = chain(
        shop.signature("add", 1, 1),
        shop.signature("add", 2).on_error(shop.signature("echo", "failed")),
        shop.signature("add", 3),
    ).apply_async()
    shop.wait("z4j-end", uuid=sent.id, state="SUCCESS")
    first = note(shop, sent.parent.parent.id)
    assert [s["args"] for s in first["chain"]] == [[3], [2]]  # the last one first, as in Celery
    second = note(shop, sent.parent.id)
    assert second["errbacks"][0]["task"] == "echo"
    assert second["parent_id"] == first["uuid"]
    assert second["root_id"] == first["uuid"]


def test_groups_inside_of_tasks_and_chains_are_told(shop: Captured) -> None:
    outer = shop.signature("nested").apply_async()
    # A group in front of a task in a chain is a chord.
    members = shop.wait("z4j-envelope", 3, root_id=outer.id, name="add")
    inside = [m for m in members if m["group_id"]]
    assert sorted(m["group_index"] for m in inside) == [0, 1]
    assert {m["chord_body"]["task"] for m in inside} == {"total"}
    shop.wait("z4j-envelope", root_id=outer.id, name="total")
    fan = shop.signature("fan_out", 4).apply_async()
    children = shop.wait("z4j-envelope", 4, parent_id=fan.id)
    assert len({c["group_id"] for c in children}) == 1
    assert sorted(c["group_index"] for c in children) == [0, 1, 2, 3]


def test_a_replaced_task_is_told_under_both_names(shop: Captured) -> None:
    sent = shop.signature("replaced").apply_async()
    shop.wait("z4j-end", uuid=sent.id, name="add", state="SUCCESS")
    both = shop.wait("z4j-envelope", 2, uuid=sent.id)
    # The client and the worker send their notes each by itself.
    told = {(e["name"], e["replaced_task_nesting"]) for e in both}
    assert told == {("replaced", 0), ("add", 1)}
    states = Counter((e["name"], e["state"]) for e in shop.wait("z4j-end", 2, uuid=sent.id))
    assert states == {("replaced", "IGNORED"): 1, ("add", "SUCCESS"): 1}


@pytest.mark.parametrize(
    ("serializer", "content_type", "read"),
    [
        ("yaml", "application/x-yaml", None),
        ("msgpack", "application/x-msgpack", base64.b64decode),
        ("pickle", "application/x-python-serialize", base64.b64decode),
    ],
)
def test_other_serializers_are_captured(
    shop: Captured, serializer: str, content_type: str, read: Any
) -> None:
    """The serializer is that of the call, which the signal does not tell."""
    sent = shop.signature("echo", "plain", [1, 2]).apply_async(serializer=serializer)
    envelope = note(shop, sent.id)
    assert envelope["withheld"] == ""
    assert envelope["payload"]["content_type"] == content_type
    if serializer == "pickle":
        assert pickle.loads(read(envelope["payload"]["body"]))[0] == ("plain", [1, 2])  # noqa: S301
    assert "plain" in str(read(envelope["payload"]["body"]) if read else envelope["payload"])
    shop.wait("z4j-end", uuid=sent.id, state="SUCCESS")


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
def test_a_planted_secret_leaves_in_no_form(shop: Captured, serializer: str) -> None:
    body = {"user": "ann", "password": SECRET, "url": f"https://ann:{SECRET}@shop/"}
    link = shop.signature("echo", kwargs={"api_key": SECRET})
    links = {} if serializer == "yaml" else {"link": link, "link_error": link}  # YAML has none
    sent = shop.signature("echo", body, kwargs={"access_token": SECRET.encode()}).apply_async(
        serializer=serializer,
        headers={"authorization": f"Bearer {SECRET}", "tenant": "ann"},
        **links,
    )
    envelope = note(shop, sent.id)
    assert envelope["withheld"] == "redacted"
    assert envelope["replayable"] is False
    assert "payload" not in envelope
    assert envelope["headers"]["tenant"] == "ann"
    assert "ann" in str(envelope["redacted_args"])
    failing = shop.signature("broken", kwargs={"secret": SECRET}).apply_async()
    shop.wait("z4j-end", uuid=failing.id, state="FAILURE", exception="ValueError")
    if links:
        [linked] = shop.wait("z4j-envelope", name="echo", parent_id=sent.id)
        assert linked["withheld"] == "redacted"
    everything = json.dumps(
        [r.event for r in shop.listener.received if r.event["type"].startswith("z4j-")]
    )
    for form in (SECRET, base64.b64encode(SECRET.encode()).decode(), SECRET.encode().hex()):
        assert form not in everything


def test_huge_and_unserialisable_arguments_are_withheld(shop: Captured) -> None:
    huge = shop.signature("echo", "x" * 100_000).apply_async()
    envelope = note(shop, huge.id)
    assert (envelope["withheld"], envelope["replayable"]) == ("too_large", False)
    assert "payload" not in envelope
    many = shop.signature("echo", {str(n): n for n in range(20_000)}).apply_async()
    assert note(shop, many.id)["withheld"] == "too_large"
    with pytest.raises(EncodeError):  # the publish itself fails, as it does without the hook
        shop.signature("echo", object()).apply_async(task_id="odd")
    assert note(shop, "odd")["withheld"] == "unserialisable"


def test_arguments_changed_after_the_call_do_not_change_what_was_captured(shop: Captured) -> None:
    lines = ["first"]
    sent = shop.signature("echo", lines).apply_async()
    lines.append("second")
    body = json.loads(note(shop, sent.id)["payload"]["body"])
    assert body[0] == [["first"]]


def test_ends_that_no_task_tells_itself(shop: Captured) -> None:
    revoked = shop.signature("add", 1, 1).apply_async(expires=-1)
    shop.wait("z4j-end", uuid=revoked.id, state="REVOKED")
    unknown = shop.signature("no.such.task").apply_async()
    [end] = shop.wait("z4j-end", uuid=unknown.id)
    assert (end["state"], end["exception"]) == ("FAILURE", "NotRegistered")
    if "prefork" in shop.workers[0].output():
        limited = shop.signature("hard_limit").apply_async()
        lost = shop.signature("lost").apply_async()
        leaves = shop.signature("leaves").apply_async()
        shop.wait("z4j-end", uuid=limited.id, state="FAILURE", exception="TimeLimitExceeded")
        shop.wait("z4j-end", uuid=lost.id, state="FAILURE", exception="WorkerLostError")
        shop.wait("z4j-end", uuid=leaves.id, state="FAILURE")
        time.sleep(1)  # a second end would come now
        for task in (limited, lost, leaves):
            assert len(shop.events("z4j-end", uuid=task.id)) == 1


def test_the_exporter_reads_every_note(shop: Captured) -> None:
    """All that the tests above made the hook send keeps to the contract."""
    shop.signature("add", 1, 1).apply_async()
    shop.wait("z4j-end")
    kinds = Counter(
        type(captured(event_from_object(r.event))).__name__
        for r in shop.listener.received
        if r.event["type"].startswith("z4j-")
    )
    assert kinds["Envelope"] >= 1
    assert kinds["RunNote"] >= 1
    assert kinds["EndNote"] >= 1
