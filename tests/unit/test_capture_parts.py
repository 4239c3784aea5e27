"""The hook's parts: queue, snapshots, bodies, signatures, names, events."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import pickle
import time
import uuid
from types import ModuleType
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from z4j_exporter.capture import bodies, handlers, signatures
from z4j_exporter.capture.appname import dotted_path
from z4j_exporter.capture.events import EventMaker
from z4j_exporter.capture.intake import Intake
from z4j_exporter.capture.records import Published
from z4j_exporter.capture.redaction import Redactor
from z4j_exporter.capture.sender import _encode
from z4j_exporter.capture.settings import Settings
from z4j_exporter.capture.snapshot import Body, plain, take_body

SECRET = "correct-horse-battery"
redact = Redactor().redact_value
app = Celery("shop", broker="memory://", set_as_current=False)


# The queue.


def test_the_queue_is_bounded_in_items() -> None:
    intake = Intake(2, 1_000)
    assert [intake.put(n, 1) for n in range(3)] == [True, True, False]
    assert intake.take(5) == [0, 1]
    assert intake.put(3, 1)
    assert intake.figures() == {
        "captured": 4,
        "sent": 0,
        "dropped": {"queue_full": 1},
        "errors": 0,
        "payloads_withheld": {},
        "queue": 1,
    }


def test_the_queue_is_bounded_in_bytes() -> None:
    intake = Intake(100, 1_000)
    assert intake.put("a", 600)
    assert not intake.put("b", 600)
    intake.take(1)
    assert intake.put("c", 1_000)


# Snapshots of bodies.


@pytest.mark.parametrize("value", ["x" * 101, b"x" * 101, ["x"] * 101, {n: n for n in range(101)}])
def test_what_is_surely_too_long_is_not_serialised(value: Any) -> None:
    class Loud:
        def __json__(self) -> str:
            raise AssertionError("serialised")

    for body in ((value, Loud()), {}, {}), ((), {"a": value, "b": Loud()}, {}):
        assert take_body(body, "json", 100).withheld == "too_large"


def test_the_limit_is_in_bytes() -> None:
    body = (("ж" * 30,), {}, {})
    size = len(take_body(body, "json", 10_000).data or "")
    assert take_body(body, "json", size).withheld == ""
    assert take_body(body, "json", size - 1).withheld == "too_large"


def test_what_the_serializer_refuses_is_told() -> None:
    class Broken:
        def __json__(self) -> str:
            raise RuntimeError("a bug")

    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    for value in (object(), Broken(), deep):
        assert take_body(((value,), {}, {}), "json", 10**6).withheld == "unserialisable"
    assert take_body(((), {}, {}), "no such", 100).withheld == "unserialisable"


def test_a_plain_copy_is_bounded_and_runs_nothing_of_the_objects() -> None:
    class Loud:
        def __repr__(self) -> str:
            raise AssertionError("asked")

        __str__ = __repr__

    copy = plain({"a": [Loud(), 1, b"x", (2.5, None)], 3: {"when": datetime.date(2026, 1, 2)}})
    assert copy["a"][0].endswith("Loud>")
    assert copy["a"][1:] == [1, "x", [2.5, None]]
    assert copy["3"] == {"when": "2026-01-02"}
    assert plain(decimal.Decimal("1.50")) == "1.50"
    cycle: list[Any] = []
    cycle.append(cycle)
    assert len(json.dumps(plain(cycle))) < 300
    assert len(json.dumps(plain([[n] * 100 for n in range(1_000)]))) < 50_000
    odd = plain([float("nan"), float("-inf"), 10**5_000, -1, 2.5])
    assert odd == ["nan", "-inf", "<int>", -1, 2.5]
    assert len(plain("x" * 10**6)) == 10_000


# Looking inside of bodies.


def body(serializer: str, *args: Any, **kwargs: Any) -> Body:
    taken = take_body((args, kwargs, {"chain": None, "chord": None}), serializer, 10**6)
    assert taken.data is not None
    return taken


class Account:
    """An object as pickle carries them."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
@pytest.mark.parametrize(
    "secret",
    [
        {"password": SECRET},
        {"user": {"accessToken": SECRET}},
        ["https://ann:correct-horse@shop/"],
        "Authorization: Bearer abcdefghij0123456789",
        4111111111111111,
        [{"password": SECRET.encode()}],
    ],
)
def test_secrets_are_found_in_every_serializer(serializer: str, secret: Any) -> None:
    looked = bodies.look(body(serializer, "plain", secret), redact)
    assert (looked.readable, looked.secret) == (True, True)
    assert SECRET not in str(looked)
    clean = bodies.look(body(serializer, "plain", [1, 2.5, None], size=3), redact)
    assert (clean.readable, clean.secret) == (True, False)


def test_kombus_marks_are_read_without_its_decoders() -> None:
    values = [uuid.UUID(int=1), datetime.date(2026, 1, 2), b"\xff api_key=abcdefgh12345678 "]
    looked = bodies.look(body("json", *values), redact)
    assert looked.secret
    assert looked.args[1] == "2026-01-02"
    assert "abcdefgh12345678" not in str(looked)


def test_a_pickle_is_read_and_never_run(tmp_path: Any) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "sprung"), "w")

    looked = bodies.look(body("pickle", Trap(), Account(name="ann")), redact)
    assert (looked.readable, looked.secret) == (True, False)
    assert bodies.look(body("pickle", Account(api_key=SECRET)), redact).secret
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("application/x-own", "x"),
        ("application/json", "{not json"),
        ("application/x-yaml", "!!python/object/apply:os.getpid []"),
        ("application/x-msgpack", b"\xc1"),
        ("application/x-python-serialize", b"\x80\x05not a pickle"),
        ("application/json", "[" * 100_000),
    ],
)
def test_what_cannot_be_looked_into_is_not_readable(content_type: str, data: Any) -> None:
    assert not bodies.look(Body(content_type, "utf-8", data), redact).readable


# Signatures.


def test_a_bare_signature_keeps_the_form_and_no_arguments() -> None:
    s = app.signature
    canvas = chord(
        [s("a", args=(SECRET,)), chain(s("b", kwargs={"x": SECRET}), s("c"))],
        group([s("d", args=(SECRET,)), s("e")], app=app),
        app=app,
    )
    bare = signatures.bare(json.loads(json.dumps(canvas)))
    assert SECRET not in json.dumps(bare)
    assert bare["subtask_type"] == "chord"
    header = bare["kwargs"]["header"]
    header = header["kwargs"]["tasks"] if isinstance(header, dict) else header
    assert [t["task"] for t in header] == ["a", "celery.chain"]
    assert [t["task"] for t in bare["kwargs"]["body"]["kwargs"]["tasks"]] == ["d", "e"]


def test_a_signature_that_is_too_large_is_left_out_whole() -> None:
    embed = {"chain": [app.signature("a", args=("x" * 200,))], "callbacks": [{"task": "b"}]}
    assert signatures.links(embed, whole=True, limit=100) == {
        "callbacks": [{"task": "b"}],
        "omitted": ["chain"],
    }
    assert signatures.links({"chain": [{"args": [float("nan")]}]}, whole=True, limit=100) == {
        "omitted": ["chain"]
    }


def test_a_signature_of_which_only_a_part_was_copied_is_left_out() -> None:
    """Of a pickle the signatures are copied, within limits; the payload is exact."""
    _, _, message, _ = app.amqp.create_task_message(
        "id-1", "echo", (), {}, chain=[app.signature("a", args=("x" * 20_000,))]
    )
    body = take_body(message, "pickle", 10**6)
    told = note(published(body=body, embed=handlers._embed(message[2], body)))
    assert told["omitted"] == ["chain"]
    assert told["replayable"] is True


def test_deep_canvases_are_no_secrets() -> None:
    canvas = app.signature("a")
    for _ in range(10):
        canvas = chain(app.signature("b"), chord([app.signature("c")], canvas, app=app), app=app)
    _, _, message, _ = app.amqp.create_task_message("id-1", "echo", (canvas,), {})
    assert note(published(body=take_body(message, "json", 10**6)))["withheld"] == ""


# The application's name.


def module(name: str, **attributes: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(attributes)
    return made


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({"shop": "celery_app", "shop.celery": "app", "shop.tasks": "app"}, "shop.celery:app"),
        ({"shop.tasks": "app", "shop.other": "queue_app"}, "shop.tasks:app"),
        ({"config.celery_app": "app", "config": "celery_app"}, "config.celery_app:app"),
        ({"celery._state": "default_app"}, "main name"),
        ({"__main__": "app", "worker": "app"}, "worker:app"),
        ({}, "main name"),
    ],
)
def test_an_application_is_named_by_where_it_lives(places: dict[str, str], expected: str) -> None:
    class App:
        main = "main name"

    thing = App()
    modules = {name: module(name, **{attribute: thing}) for name, attribute in places.items()}
    assert dotted_path(thing, modules) == expected


# Events.


def published(**changes: Any) -> Published:
    headers, _, message, _ = app.amqp.create_task_message(
        changes.pop("uuid", "id-1"), "echo", changes.pop("args", ("x",)), {}
    )
    headers.update(changes.pop("headers", {}))
    item = Published(
        at=1.5,
        name="echo",
        body=take_body(message, changes.pop("serializer", "json"), 10**6),
        embed=None,
        headers=headers,
        custom={},
        stamps=None,
        exchange="",
        routing_key="celery",
        queue="",
        priority=None,
        traceparent="",
        chord_size=None,
        old=None,
    )
    return item._replace(**changes)


def note(item: Any, **settings: Any) -> dict[str, Any]:
    intake = Intake(10, 10)
    event = json.loads(_encode(EventMaker(app, Settings(**settings), intake).event(item)))
    assert event["type"] == "z4j-envelope"
    assert event["timestamp"] == 1.5
    return dict(event["z4j"])


def test_tracing_that_comes_after_the_hook_is_seen() -> None:
    item = published()
    item.headers["traceparent"] = "00-1-2-01"  # a later receiver of the same signal
    item.headers["later"] = "value"
    told = note(item)
    assert told["traceparent"] == "00-1-2-01"
    assert told["headers"]["later"] == "value"


def test_hostile_values_are_cut_or_left_out() -> None:
    told = note(
        published(
            uuid="i" * 9_000,
            name="\ud800" + "n" * 9_000,
            priority=10**9,
            headers={"retries": "many", "group_index": -1},
        )
    )
    assert len(told["uuid"]) == 512
    assert len(told["name"]) == 255
    assert told["priority"] is None
    assert told["retries"] is None
    assert told["group_index"] is None


def test_redacted_arguments_are_shown_within_limits() -> None:
    told = note(published(args=({"password": SECRET}, ["x" * 5_000] * 10)))
    assert told["withheld"] == "redacted"
    assert len(json.dumps(told)) < 20_000
    assert SECRET not in json.dumps(told)


def test_of_a_redacted_pickle_celerys_reprs_are_shown() -> None:
    told = note(published(args=({"password": SECRET}, "ann"), serializer="pickle", embed={}))
    assert told["withheld"] == "redacted"
    assert "ann" in told["redacted_args"]
    assert SECRET not in json.dumps(told)


# The first are where the hook itself would cut them, the others where Celery does.
@pytest.mark.parametrize("before", [*range(180, 250, 5), *range(940, 1025, 5)])
def test_reprs_are_redacted_before_they_are_cut(before: int) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZS1zZWNyZXQifQ.c2lnbmF0dXJlLW9mLWEtdGVzdA"
    told = note(published(args=(" x" * (before // 2), token), serializer="pickle", embed={}))
    assert told["withheld"] == "redacted"
    assert "eyJhbGci" not in json.dumps(told)


def test_own_keys_and_patterns_are_redacted() -> None:
    item = published(args=({"shoe_size": "44"}, "acct-12345"))
    assert note(item)["withheld"] == ""
    told = note(item, redact_keys=("shoe",), redact_patterns=(r"acct-\d+",))
    assert told["withheld"] == "redacted"
    assert "44" not in json.dumps(told["redacted_args"])
    assert "12345" not in json.dumps(told["redacted_args"])


def test_binary_bodies_travel_as_base64() -> None:
    payload = note(published(serializer="pickle", embed={}))["payload"]
    args, _, _ = pickle.loads(base64.b64decode(payload["body"]))  # noqa: S301  # our own
    assert args == ("x",)


def test_a_body_that_is_not_its_encoding_is_withheld() -> None:
    told = note(published(body=Body("application/json", "no-such-codec", b"[[],{},{}]")))
    assert (told["withheld"], told["replayable"]) == ("unserialisable", False)


def test_the_old_message_protocol_is_read() -> None:
    old = {"id": "old-1", "retries": 2, "group": "g", "eta": None, "timelimit": (9, 8)}
    message = {**old, "args": [1], "kwargs": {}, "task": "echo"}
    told = note(published(body=take_body(message, "json", 10**6), headers={}, old=old)._replace(
        headers={}
    ))  # fmt: skip
    assert (told["uuid"], told["retries"], told["group_id"]) == ("old-1", 2, "g")
    assert (told["time_limit"], told["soft_time_limit"]) == (9, 8)
    assert json.loads(told["payload"]["body"])["args"] == [1]


def test_a_second_signal_for_one_end_is_no_second_end() -> None:
    now = time.monotonic()
    key = (f"id-{now}", None)
    assert not handlers._told_before(key, now)
    assert handlers._told_before(key, now + 1)
    assert not handlers._told_before(key, now + 100)
