"""The message of a retry: what it keeps of the first one, and what it leaves out."""

import gzip
import json
import pickle
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from celery import Celery, chain, chord, group, signature
from kombu.serialization import dumps

from z4j_exporter.actions.messages import RETRY_COUNT, RETRY_OF, Options, compose, retry_count
from z4j_exporter.actions.messages_body import MAX_BODY_BYTES, expand, look
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.actions.payload import of_message

APP = Celery("messages", broker="memory://", set_as_current=False)
STEP = signature("step", app=APP)


def message(serializer: str = "json", **options: Any) -> Payload:
    """Return what was kept of a message that Celery sent."""
    made = APP.amqp.as_task_v2("old", "t", (1, "two"), {"k": None}, **options)
    kind, encoding, body = dumps(made.body, serializer=serializer)
    raw = body if isinstance(body, bytes) else body.encode()
    headers = {**json.loads(json.dumps(made.headers)), "x-own": "kept"}
    return of_message(raw, kind, encoding, headers, source="capture", name="t", queue="q")


def again(payload: Payload, **options: Any) -> Any:
    return compose(
        payload,
        "new",
        retry_of="old",
        retry_count=2,
        origin="gen1@test",
        options=Options(**options),
    )


def test_the_bytes_of_the_body_are_those_of_the_first_message() -> None:
    for serializer in ("json", "yaml", "pickle", "msgpack"):
        first = message(serializer)
        sent = again(first)
        assert (sent.body, sent.content_type, sent.content_encoding) == (
            first.body, first.content_type, first.content_encoding
        )  # fmt: skip


def test_headers_are_all_that_celery_sets_with_a_new_id_and_lineage() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    first = message(
        root_id="root", parent_id="parent", retries=3, eta=now, expires=now, time_limit=9,
        soft_time_limit=8, shadow="alias", group_id="g", group_index=1, argsrepr="(hidden)",
        reply_to="somebody", ignore_result=True,
    )  # fmt: skip
    sent = again(first)
    assert set(sent.headers) == set(first.headers) | {RETRY_OF, RETRY_COUNT}
    assert {name: sent.headers[name] for name in sent.headers if name not in first.headers} == {
        RETRY_OF: "old",
        RETRY_COUNT: 2,
    }
    changed = {n for n in first.headers if sent.headers[n] != first.headers[n]}
    assert changed == {"id", "retries", "eta", "expires", "group", "group_index", "origin"}
    assert sent.headers["id"] == sent.properties["correlation_id"] == "new"
    assert sent.properties["reply_to"] == ""
    assert set(sent.dropped) == {"eta", "expires", "group"}
    assert retry_count(replace(first, headers=sent.headers)) == 2
    assert retry_count(replace(first, headers={RETRY_COUNT: "9"})) == 0


def test_a_task_of_unknown_descent_is_its_own_root() -> None:
    payload = Payload("t", None, "application/json", "utf-8", (1,), {}, "caller")
    sent = again(payload, eta=datetime(2030, 1, 1, tzinfo=UTC), priority=4, time_limit=5)
    assert (sent.headers["root_id"], sent.headers["parent_id"]) == ("new", None)
    assert sent.headers["eta"] == "2030-01-01T00:00:00+00:00"
    assert sent.headers["timelimit"] == [5, None]
    assert sent.properties["priority"] == 4
    assert (sent.headers["argsrepr"], sent.headers["kwargsrepr"]) == ("(1,)", "{}")
    none = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert json.loads(sent.body) == [[1], {}, none]


def test_a_chord_is_taken_out_of_json_and_nothing_else() -> None:
    first = message(group_id="g", chord=STEP, callbacks=[STEP], errbacks=[STEP])
    sent = again(first)
    assert set(sent.dropped) == {"group", "chord"}
    assert sent.links == ("callbacks", "errbacks")
    before, after = json.loads(first.body or b""), json.loads(sent.body)
    assert before[2].pop("chord")
    assert after[2].pop("chord") is None
    assert after == before


def test_what_it_is_chained_to_leaves_its_chord_too() -> None:
    tail = STEP.clone()
    tail.options.update(chord=dict(STEP), group_id="g", group_index=2, queue="q")
    sent = again(message(chain=[tail]))
    assert sent.dropped == ("chord",)
    assert sent.links == ("chain",)
    assert json.loads(sent.body)[2]["chain"][0]["options"] == {"queue": "q"}


def test_a_chord_that_comes_after_it_stays() -> None:
    after = chord([STEP, STEP], STEP, app=APP)
    sent = again(message(chain=[json.loads(json.dumps(after))]))
    assert sent.dropped == ()
    assert json.loads(sent.body)[2]["chain"][0]["kwargs"]["body"]["task"] == "step"
    whole = again(message(callbacks=[json.loads(json.dumps(group([STEP, STEP], app=APP)))]))
    assert (whole.dropped, whole.links) == ((), ("callbacks",))


@pytest.mark.parametrize("serializer", ["yaml", "pickle", "msgpack"])
def test_a_chord_in_another_serializer_is_refused(serializer: str) -> None:
    plain = json.loads(json.dumps(STEP))
    tail = {**plain, "options": {"chord": plain, "group_id": "g"}}
    for options in ({"chord": plain}, {"chain": [tail]}):
        with pytest.raises(ActionError) as refused:
            again(message(serializer, **options))
        assert (refused.value.kind, refused.value.status) == ("payload-opaque", 422)


@pytest.mark.parametrize("serializer", ["yaml", "pickle", "msgpack"])
def test_links_in_another_serializer_go_along(serializer: str) -> None:
    plain = {**json.loads(json.dumps(STEP)), "options": {"queue": "q"}}
    first = message(serializer, callbacks=[plain], chain=[plain])
    assert again(first).body == first.body


def test_pickle_is_looked_at_and_not_loaded() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("loaded",))

    none = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        body = pickle.dumps(((Bomb(),), {}, none), protocol)
        assert not look(body, "application/x-python-serialize", "binary", {}).has_chord
    hidden = [
        pickle.dumps(((), {}, {**none, "chord": {"task": "x"}})),
        # The words stand before as well: then those in the end are references.
        pickle.dumps((("chord", "chain"), {}, none)),
        pickle.dumps(((), {}, {"chain": None, "chord": None, "more": 1})),
        pickle.dumps(((), {}, {**none, "chain": [{"options": {"group_id": "g"}}]})),
        pickle.dumps([(), {}, none]),
        b"",
        b"not a pickle",
    ]
    for body in hidden:
        with pytest.raises(ActionError, match="chord"):
            look(body, "application/x-python-serialize", "binary", {})


@pytest.mark.parametrize(
    ("body", "kind", "headers"),
    [
        (b"[[], {}]", "application/json", {}),
        (b'{"task": "t", "args": []}', "application/json", {}),
        (b"[" * 100_000, "application/json", {}),
        (b"[[" + b"9" * 5000 + b"], {}, {}]", "application/json", {}),
        (b"\xff\xfe", "application/json", {}),
        (b"[[], {}, {}]", "application/data", {}),
        (b"[[], {}, {}]", "application/json", {"compression": "snappy"}),
        (b"[[], {}, {}]", "application/json", {"compression": "application/x-gzip"}),
        (b"- []\n- {}\n", "application/x-yaml", {}),
        (b"\xc1", "application/x-msgpack", {}),
    ],
)
def test_what_cannot_be_looked_into_is_refused(
    body: bytes, kind: str, headers: dict[str, Any]
) -> None:
    with pytest.raises(ActionError) as refused:
        look(body, kind, "utf-8", headers)
    assert (refused.value.kind, refused.value.status) == ("payload-opaque", 422)


def test_aliases_and_compression_cannot_be_bombs() -> None:
    layers = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30))
    embed = "{callbacks: null, errbacks: null, chain: *l29, chord: null}"
    body = "- []\n- l0: &l0 [x]\n" + "".join(f"  {line}\n" for line in layers.splitlines())
    assert not look(f"{body}- {embed}\n".encode(), "application/x-yaml", "utf-8", {}).has_chord
    assert yaml.compose(body) is not None
    bomb = zlib.compress(b"0" * (MAX_BODY_BYTES + 1))
    with pytest.raises(ActionError, match="too large"):
        expand(bomb, "application/x-gzip")
    with pytest.raises(ActionError):
        expand(gzip.compress(b"x"), "application/x-gzip")
    assert expand(zlib.compress(b"x"), "application/x-gzip") == b"x"


def test_a_compressed_body_goes_as_it_is_and_a_rewritten_one_without_compression() -> None:
    for options, kept in (({}, True), ({"chord": STEP, "group_id": "g"}, False)):
        first = message(**options)
        packed = zlib.compress(first.body or b"")
        headers = {**first.headers, "compression": "application/x-gzip"}
        payload = replace(first, body=packed, headers=headers)
        sent = again(payload)
        assert ("compression" in sent.headers) is kept
        assert (sent.body == packed) is kept
        assert json.loads(zlib.decompress(sent.body) if kept else sent.body)[:2] == [
            [1, "two"], {"k": None}
        ]  # fmt: skip


def test_protocol_1_is_refused() -> None:
    with pytest.raises(ActionError, match="protocol 1"):
        of_message(b"{}", "application/json", "utf-8", {}, source="queue", name="t")


def test_a_whole_chain_of_celerys_own_making_is_understood() -> None:
    steps = chain(STEP.clone(), STEP.clone(), app=APP)
    links = [json.loads(json.dumps(step)) for step in steps.tasks]
    assert again(message(chain=links)).links == ("chain",)
