"""Which setting would hear what goes by on another Redis channel."""

import base64
import json

import pytest

from z4j_exporter.doctor.application import _kind, queue_names
from z4j_exporter.doctor.channels import elsewhere, naming, setting
from z4j_exporter.doctor.surroundings import _order

PLAIN = naming({}, 0, "celeryev")
OPTION = "--broker-transport-option"


@pytest.mark.parametrize(
    ("options", "channel", "wanted"),
    [
        ({}, "app1:/0.celeryev", f"{OPTION} global_keyprefix=app1:"),
        ({}, "/3.celeryev", "a broker URL that ends with /3"),
        (
            {},
            "app1:/3.celeryev",
            f"a broker URL that ends with /3 and {OPTION} global_keyprefix=app1:",
        ),
        ({}, "celeryev", f"{OPTION} fanout_prefix=false"),
        ({}, "shop.celeryev", f"{OPTION} fanout_prefix=shop."),
        ({}, "/0.shopev", "--event-exchange shopev"),
        ({}, "/0.two words", "--event-exchange 'two words'"),
        ({}, "elsewhere/0.shopev", ""),
        ({}, "\x1b[2J/0.celeryev", ""),
        ({}, "x" * 500 + "/0.celeryev", ""),
        ({"global_keyprefix": "a:"}, "/0.celeryev", f"{OPTION} global_keyprefix="),
        ({"global_keyprefix": "a:"}, "b:/0.celeryev", f"{OPTION} global_keyprefix=b:"),
        ({"global_keyprefix": "a:"}, "a:/2.celeryev", "a broker URL that ends with /2"),
        ({"global_keyprefix": "a:"}, "a:shop.celeryev", f"{OPTION} fanout_prefix=shop."),
        ({"fanout_prefix": False}, "/0.celeryev", "a broker URL that ends with /0"),
        ({"fanout_prefix": "shop."}, "celeryev", f"{OPTION} fanout_prefix=false"),
    ],
)
def test_settings(options: dict[str, object], channel: str, wanted: str) -> None:
    assert setting(naming(options, 0, "celeryev"), channel) == wanted


def test_channels_of_one_installation_are_one() -> None:
    heard = {
        "/0.celeryev/worker.heartbeat": 9,
        "/0.celeryev": 1,
        "app:/0.celeryev/worker.heartbeat": 3,
        "app:/0.celeryev/task.multi": 4,
        "b:/0.celeryev/task.sent": 1,
    }
    found = elsewhere(PLAIN, heard)
    assert [(each.channel, each.events) for each in found] == [
        ("app:/0.celeryev", 7),
        ("b:/0.celeryev", 1),
    ]


def test_with_sentinel_old_workers_are_heard_too() -> None:
    """kombu before 5.4 did not fill {db} in there; RedisSource listens to both."""
    assert elsewhere(PLAIN, {"/{db}.celeryev/worker.heartbeat": 3}) == ()


def test_no_more_installations_than_anybody_has() -> None:
    heard = {f"p{n}:/0.celeryev/task.sent": 1 for n in range(1000)}
    assert len(elsewhere(PLAIN, heard)) == 20


def test_the_order_is_an_envelope_as_kombu_writes_it() -> None:
    envelope = json.loads(_order("heartbeat", "celery.pidbox"))
    assert json.loads(base64.b64decode(envelope["body"])) == {
        "method": "heartbeat",
        "arguments": {},
        "destination": None,
    }
    assert envelope["properties"]["delivery_info"]["exchange"] == "celery.pidbox"


def test_queues_of_an_application() -> None:
    assert queue_names(None) == set()
    assert queue_names("tests.support.celeryapp") == {"celery"}


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        (None, ""),
        ("disabled://", ""),
        ("redis://:secret@h/0", "redis"),
        ("db+postgresql://u:secret@h/x", "db"),
        ("rpc://", "rpc"),
        ("django-db", "django-db"),
        ("secret with spaces", "configured"),
        (":secret@h", "configured"),
        (object(), "configured"),
    ],
)
def test_of_a_backend_only_the_kind_is_shown(backend: object, kind: str) -> None:
    assert _kind(backend) == kind
