"""What Alertmanager would post of the demo's tasks: when an alert fires, and the message. Pure."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

#: The alerts of alerts/alerts.yaml that the demo's rules know.
OUTAGE = "CeleryTasksFailedInAnOutage"
RATIO = "CeleryTaskFailureRatioHigh"

#: Seconds without a new failure after which an outage is taken to be over.
_QUIET_SECONDS = 3.0
#: Seconds that the alert then fires, and between two posts of it.
_FIRING_SECONDS = 12.0
_REPEAT_SECONDS = 5.0

Status = Literal["firing", "resolved"]


class Alert(NamedTuple):
    """An alert at one moment."""

    status: Status
    labels: Mapping[str, str]
    #: When it began, epoch seconds.
    started: float


class OutageWatch:
    """Tells when an outage's alert is to be posted: failures came, and now there are no more."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._failures = 0.0
        self._grew_seconds: float | None = None
        self._fired_seconds = 0.0
        self._firing: Alert | None = None
        self._next_seconds = 0.0

    def look(self, failures: float, now_seconds: float, wall: float) -> Alert | None:
        """Return what is to be posted, None for nothing.

        ``failures`` is how many there were so far, at ``now_seconds`` of a monotonic clock.
        """
        if self._firing is not None:
            return self._again(now_seconds)
        if failures > self._failures:
            self._failures = failures
            self._grew_seconds = now_seconds
        if self._grew_seconds is None or now_seconds < self._grew_seconds + _QUIET_SECONDS:
            return None
        self._grew_seconds = None
        self._fired_seconds = now_seconds
        self._next_seconds = now_seconds + _REPEAT_SECONDS
        self._firing = Alert("firing", self._labels, wall)
        return self._firing

    def _again(self, now_seconds: float) -> Alert | None:
        firing = self._firing
        if firing is None or now_seconds < self._next_seconds:
            return None
        self._next_seconds = now_seconds + _REPEAT_SECONDS
        if now_seconds < self._fired_seconds + _FIRING_SECONDS:
            return firing
        self._firing = None
        return firing._replace(status="resolved")


def message(alert: Alert, ended: float | None = None) -> dict[str, Any]:
    """Return what Alertmanager (0.25 and later) posts of one alert: version 4 of its payload.

    ``ended`` is when a resolved one ended, epoch seconds.
    """
    labels = dict(sorted(alert.labels.items()))
    annotations = {"summary": f"{labels['alertname']} of {labels.get('task', 'the demo')}"}
    group = {"alertname": labels["alertname"]}
    return {
        "receiver": "celery-actions",
        "status": alert.status,
        "alerts": [
            {
                "status": alert.status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": _moment(alert.started),
                # What Go writes for a time that is not known.
                "endsAt": "0001-01-01T00:00:00Z" if ended is None else _moment(ended),
                "generatorURL": "",
                "fingerprint": _fingerprint(labels),
            }
        ],
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://demo.invalid",
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{labels["alertname"]}"}}',
        "truncatedAlerts": 0,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _fingerprint(labels: Mapping[str, str]) -> str:
    # As long as Alertmanager's, and as it the same for the same labels.
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]
