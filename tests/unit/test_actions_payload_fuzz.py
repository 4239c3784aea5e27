"""Ten thousand argument sets by every way they can come back: the same, or refused."""

import base64
import json
import random
from collections import Counter
from typing import Any

import pytest
from celery import Celery
from kombu.serialization import dumps, enable_insecure_serializers, loads

from tests.support.actions_values import SERIALIZERS, arguments, same
from z4j_exporter.actions.locate import Held
from z4j_exporter.actions.messages import Outgoing, compose
from z4j_exporter.actions.model import ActionError, Payload
from z4j_exporter.actions.payload import Seen, of_capture, of_envelope
from z4j_exporter.actions.payload_backend import of_metadata, read_metadata
from z4j_exporter.actions.payload_worker import of_worker

#: Sets for each of the four serializers.
SETS = 2_500
ACCEPT = {
    "application/json",
    "application/x-yaml",
    "application/x-python-serialize",
    "application/x-msgpack",
}


class Captured:
    """What the capture hook kept of one message."""

    name, queue, exchange, routing_key, priority = "t", "q", "", "q", None
    replayable, withheld = True, ""

    def __init__(self, body: bytes, kind: str, encoding: str, headers: dict[str, Any]) -> None:
        self.body, self.content_type, self.content_encoding = body, kind, encoding
        self.headers = headers

    def payload(self, _task_id: str) -> "Captured":
        return self


@pytest.fixture(scope="module")
def app() -> Celery:
    enable_insecure_serializers(["pickle", "yaml", "msgpack"])
    return Celery("fuzz", broker="memory://", set_as_current=False)


def first_message(
    app: Celery, serializer: str, args: Any, kwargs: Any
) -> tuple[bytes, str, str, dict[str, Any]]:
    message = app.amqp.as_task_v2("old", "t", args, kwargs)
    kind, encoding, body = dumps(message.body, serializer=serializer)
    return (
        body if isinstance(body, bytes) else body.encode("utf-8"),
        kind,
        encoding,
        # As the broker gives them back.
        json.loads(json.dumps(message.headers)),
    )


def received(message: Outgoing) -> tuple[Any, Any]:
    """Return what a worker makes of a message (kombu/message.py, celery/worker/request.py)."""
    body = loads(message.body, message.content_type, message.content_encoding, accept=ACCEPT)
    assert message.headers["id"] == "new"
    assert body[2]["chord"] is None
    return body[0], body[1]


def sent_again(payload: Payload) -> tuple[Any, Any]:
    return received(compose(payload, "new", retry_of="old", retry_count=1, origin="gen@test"))


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_arguments_come_back_the_same_or_not_at_all(app: Celery, serializer: str) -> None:
    rng = random.Random(f"seed of {serializer}")
    outcomes: Counter[str] = Counter()
    for number in range(SETS):
        args, kwargs = arguments(rng, serializer)
        body, kind, encoding, headers = first_message(app, serializer, args, kwargs)
        first = loads(body, kind, encoding, accept=ACCEPT)[:2]
        for source, again in ways(rng, first, body, kind, encoding, headers):
            if again is None:
                outcomes[f"{source} refused"] += 1
                continue
            outcomes[f"{source} same"] += 1
            assert same(list(again[0]), list(first[0])), (number, source, args)
            assert same(again[1], first[1]), (number, source, kwargs)
    # Neither may it all have been refused.
    assert outcomes["capture same"] + outcomes["capture refused"] == SETS
    assert outcomes["queue same"] == outcomes["capture same"] > SETS * 0.9
    if serializer == "json":
        assert outcomes["capture same"] == SETS
    # A number, a text or nothing is safe whatever the serializer is.
    assert outcomes["backend same"] > SETS * 0.05
    assert outcomes["changed refused"] > SETS * 0.05


def ways(
    rng: random.Random,
    first: Any,
    body: bytes,
    kind: str,
    encoding: str,
    headers: dict[str, Any],
) -> list[tuple[str, tuple[Any, Any] | None]]:
    seen = Seen(args=headers["argsrepr"], kwargs=headers["kwargsrepr"])
    if rng.random() < 0.3:
        seen = Seen()
    json_only = kind == "application/json" and rng.random() < 0.5
    captured = Captured(body, kind, encoding, headers)
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-type": kind,
        "content-encoding": encoding,
        "headers": headers,
        "properties": {"body_encoding": "base64", "delivery_info": {}},
    }
    found = [
        ("capture", attempt(lambda: of_capture(captured, "old"))),
        ("queue", attempt(lambda: of_envelope(envelope, "q"))),
    ]
    written = metadata(first)
    if written is not None:
        values = read_metadata(written, "old")
        assert values
        found.append(("backend", attempt(lambda: of_metadata(values, seen, json_only=json_only))))
        info = json.loads(written)
        held = Held("w", "active", {**info, "type": "t"}, "prefork", seen.args, seen.kwargs)
        found.append(("worker", attempt(lambda: of_worker([held], seen, json_only=json_only))))
        changed = metadata((with_change(first[0]), first[1]))
        if changed != written:
            again = read_metadata(changed, "old")
            assert again
            kept = attempt(lambda: of_metadata(again, seen, json_only=json_only))
            assert kept is None, (first, seen)
            found.append(("changed", None))
    return found


def attempt(find: Any) -> tuple[Any, Any] | None:
    try:
        payload = find()
        return None if payload is None else sent_again(payload)
    except ActionError as error:
        if error.status != 422 or not error.kind.startswith("payload-"):
            raise
        return None


def metadata(first: Any) -> bytes | None:
    """Return what a backend in JSON keeps (celery/backends/base.py), None where it cannot."""
    meta = {"task_id": "old", "status": "FAILURE", "name": "t"}
    try:
        _, _, text = dumps({**meta, "args": first[0], "kwargs": first[1]}, serializer="json")
    except Exception:  # noqa: BLE001 - kombu wraps what its serializers raise
        return None
    return text.encode()


def with_change(args: Any) -> list[Any]:
    """Return the arguments after a task has changed the first list or mapping in place."""
    changed = list(args)
    for position, value in enumerate(changed):
        if isinstance(value, list):
            changed[position] = [*value, "changed"]
            break
        if isinstance(value, dict):
            changed[position] = {**value, "changed": 1}
            break
    return changed
