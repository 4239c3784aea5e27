"""Alertmanager's webhook, version 4: lenient about what is new, strict about what is used."""

from typing import Any

import pytest

from z4j_exporter.actions.alert_payload import moment, parse
from z4j_exporter.actions.model import ActionError
from z4j_exporter.actions.schemas import AlertmanagerMessage

ALERT = {
    "status": "firing",
    "labels": {"alertname": "TasksFail", "task": "shop.pay"},
    "annotations": {"summary": "x"},
    "startsAt": "2026-11-20T10:00:00.5Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "0123456789abcdef",
}


def message(*alerts: Any, **more: Any) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "alerts": list(alerts), **more}


def posted(document: dict[str, Any]) -> dict[str, Any]:
    """What the endpoint makes of a post before the rules see it."""
    return AlertmanagerMessage.model_validate(document).model_dump()


def test_what_alertmanager_sends() -> None:
    read = parse(message(ALERT, receiver="exporter", groupKey="{}", truncatedAlerts=7, new=[1]))
    (alert,) = read.alerts
    assert (alert.status, alert.name, alert.fingerprint) == (
        "firing", "TasksFail", "0123456789abcdef",
    )  # fmt: skip
    assert alert.started == 1795168800.5
    assert (read.truncated, read.unusable) == (7, 0)


def test_what_may_be_missing() -> None:
    bare = {"labels": {"b": "2", "a": "1"}, "startsAt": ALERT["startsAt"]}
    turned = {"labels": {"a": "1", "b": "2"}, "startsAt": ALERT["startsAt"]}
    one, other = parse(message(bare, turned, status="resolved")).alerts
    assert (one.status, one.name) == ("resolved", "")
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"labels": None},
        {"labels": {}},
        {"labels": {"a": 1}},
        {"labels": {str(n): "x" for n in range(201)}},
        {"startsAt": None},
        {"startsAt": "yesterday"},
        {"startsAt": "0001-01-01T00:00:00Z"},
        {"startsAt": "2026-13-20T10:00:00Z"},
        {"fingerprint": "x" * 65},
        {"fingerprint": "a/../b"},
        {"fingerprint": 7},
        {"status": "suppressed"},
    ],
)
def test_an_alert_that_cannot_be_used_leaves_the_others(change: dict[str, Any]) -> None:
    read = parse(posted(message(ALERT | change, ALERT)))
    assert (len(read.alerts), read.unusable) == (1, 1)


@pytest.mark.parametrize("alert", [None, 7, "x", []])
def test_no_alert_at_all(alert: Any) -> None:
    read = parse(posted(message(alert, ALERT)))
    assert (len(read.alerts), read.unusable) == (1, 1)


def test_the_endpoint_hands_on_all_that_was_posted() -> None:
    bare = {"labels": {"a": "1"}, "startsAt": ALERT["startsAt"]}
    whole = message(ALERT, bare, receiver="exporter", truncatedAlerts=7, new=[1])
    assert posted(whole) == whole


@pytest.mark.parametrize(
    "given", [{}, {"version": "3", "alerts": []}, {"version": 4, "alerts": []}, {"version": "4"},
              {"version": "4", "alerts": {}}]
)  # fmt: skip
def test_other_messages_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ActionError) as refused:
        parse(given)
    assert refused.value.status == 400


@pytest.mark.parametrize("truncated", [-1, True, "7", 2**60, None, 1.5])
def test_a_count_that_is_none(truncated: Any) -> None:
    assert parse(message(truncatedAlerts=truncated)).truncated == 0


def test_more_alerts_than_are_looked_at() -> None:
    read = parse(message(*[ALERT] * 2100))
    assert (len(read.alerts), read.truncated) == (2000, 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00Z", "1795168800.000000000"),
        ("2026-11-20T10:00:00.123456789Z", "1795168800.123456789"),
        ("2026-11-20T11:00:00.5+01:00", "1795168800.500000000"),
        ("2026-11-20T10:00:00", None),
        ("2026-11-20T10:00:00.1234567890Z", None),
        ("٢٠٢٦-11-20T10:00:00Z", None),
        (1795168800, None),
    ],
)
def test_the_same_moment_is_the_same_text(text: Any, expected: str | None) -> None:
    assert moment(text) == expected
