"""Reads what Alertmanager posts: payload version 4 of its webhook. Pure.

Fields that are not known are passed over. One alert that cannot be used does not take the others
with it: it is told apart, and counted by who asks.
See https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from z4j_exporter.actions.model import ActionError

VERSION: Final = "4"
#: Alerts of one post that are looked at; each is tried on each rule.
_MOST_ALERTS: Final = 2000
#: Labels of one alert; Prometheus has a limit only where somebody sets one.
_MOST_LABELS: Final = 200
_FINGERPRINT = re.compile(r"[0-9A-Za-z]{1,64}")
#: What Go writes: RFC 3339 with up to nine digits of a second.
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a group."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    #: Alertmanager's hash of the labels; made here where it sent none.
    fingerprint: str
    #: Epoch seconds with nine digits, as text: the same moment is the same text.
    starts_at: str

    @property
    def started(self) -> float:
        """When it began, epoch seconds."""
        return float(self.starts_at)

    @property
    def name(self) -> str:
        """What the rule in Prometheus is called; "" without."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True, slots=True)
class Notification:
    """One post."""

    alerts: tuple[Alert, ...]
    #: Alerts that were left out: by Alertmanager (max_alerts of the receiver), or here.
    truncated: int = 0
    #: Alerts that cannot be used: no labels, no start, or in another form than said.
    unusable: int = 0


def parse(document: Mapping[str, Any]) -> Notification:
    """Return what was posted. Raises ActionError (400): Alertmanager gives up then, rightly."""
    if document.get("version") != VERSION:
        raise _refused("payload-version", f"Only version {VERSION} of the payload is known.")
    alerts = document.get("alerts")
    if not isinstance(alerts, list):
        raise _refused("malformed", "The payload has no list of alerts.")
    taken = alerts[:_MOST_ALERTS]
    usable = [one for each in taken if (one := _alert(each, document.get("status"))) is not None]
    truncated = document.get("truncatedAlerts", 0)
    if type(truncated) is not int or not 0 <= truncated < 2**53:
        truncated = 0
    truncated += len(alerts) - len(taken)
    return Notification(tuple(usable), truncated, len(taken) - len(usable))


def moment(text: Any) -> str | None:
    """Return a time of Go's as epoch seconds with nine digits; None when it is none."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        whole = datetime.fromisoformat(found[1] + found[3]).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    seconds = int(whole.timestamp())
    # A zero time of Go's (year 1) is before any task: it means that nobody said.
    return f"{seconds}.{(found[2] or ''):0<9}" if seconds > 0 else None


def _alert(given: Any, group_status: Any) -> Alert | None:
    if not isinstance(given, dict):
        return None
    status = given.get("status", group_status)
    labels: Any = given.get("labels")
    starts_at = moment(given.get("startsAt"))
    if status not in ("firing", "resolved") or starts_at is None or not _are_labels(labels):
        return None
    fingerprint = given.get("fingerprint") or _fingerprint(labels)
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        return None
    return Alert(status, labels, fingerprint, starts_at)


def _are_labels(labels: Any) -> bool:
    return (
        isinstance(labels, dict)
        and 0 < len(labels) <= _MOST_LABELS
        and all(isinstance(value, str) for value in labels.values())
    )


def _fingerprint(labels: dict[str, str]) -> str:
    canonical = json.dumps(sorted(labels.items()), separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:32]


def _refused(kind: str, detail: str) -> ActionError:
    return ActionError(kind, 400, detail, hint="See docs/alertmanager.md.")
