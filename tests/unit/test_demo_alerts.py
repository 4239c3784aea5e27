"""When the demo's alert fires, and that its message is one that Alertmanager would post."""

import pytest

from z4j_exporter.actions.alert_payload import parse
from z4j_exporter.demo.alerts import Alert, OutageWatch, message

LABELS = {"alertname": "Outage", "task": "mail.send"}


def looks(*failures: tuple[float, float]) -> list[tuple[float, str]]:
    """Return when something was posted, and its status."""
    watch = OutageWatch(LABELS)
    told = [(now, watch.look(failed, now, 1000.0 + now)) for now, failed in failures]
    return [(now, alert.status) for now, alert in told if alert is not None]


def test_nothing_is_posted_while_nothing_fails() -> None:
    assert looks(*((float(now), 0.0) for now in range(60))) == []


def test_the_alert_fires_when_failures_have_stopped_and_is_resolved_later() -> None:
    failures = [(float(now), float(min(now, 5))) for now in range(40)]
    assert looks(*failures) == [
        (8.0, "firing"), (13.0, "firing"), (18.0, "firing"), (23.0, "resolved")
    ]  # fmt: skip


def test_failures_that_go_on_keep_it_silent() -> None:
    assert looks(*((float(now), float(now)) for now in range(60))) == []


def test_a_second_outage_fires_anew() -> None:
    failures = [(float(now), 1.0 if now < 40 else 2.0) for now in range(70)]
    assert [now for now, status in looks(*failures) if status == "resolved"] == [18.0, 58.0]


def test_all_posts_of_one_firing_have_its_start() -> None:
    watch = OutageWatch(LABELS)
    alerts = [watch.look(1.0, float(now), 1000.0 + now) for now in range(40)]
    assert {alert.started for alert in alerts if alert} == {1003.0}


@pytest.mark.parametrize("status", ["firing", "resolved"])
def test_the_message_is_read_as_alertmanagers(status: str) -> None:
    alert = Alert(status, LABELS, 1_800_000_000.25)  # type: ignore[arg-type]
    read = parse(message(alert, 1_800_000_060.0 if status == "resolved" else None))
    assert (read.truncated, read.unusable) == (0, 0)
    (one,) = read.alerts
    assert (one.status, one.labels, one.starts_at) == (status, LABELS, "1800000000.250000000")
    assert len(one.fingerprint) == 16


def test_the_same_labels_have_the_same_fingerprint() -> None:
    told = [
        message(Alert("firing", labels, 1.0))["alerts"][0]["fingerprint"]
        for labels in (LABELS, dict(reversed(LABELS.items())), {**LABELS, "task": "other"})
    ]
    assert told[0] == told[1] != told[2]
