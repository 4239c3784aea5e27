"""The two exporters that the drop-in profiles stand in for, as models to compare with.

celery-exporter is no library: its rules are written down here, over the same
``celery.events.state.State`` that it uses. Flower is itself: its ``EventsState`` and metrics.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from unittest import mock

import prometheus_client
from celery.events.state import State
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.exposed import Samples, parsed

_COUNTERS = ("sent", "received", "started", "succeeded", "rejected", "revoked", "retried")


class CeleryExporter:
    """danihodovic/celery-exporter's handling of task events."""

    def __init__(self) -> None:
        self._state = State()
        #: By (name of the sample, sorted labels), as a scrape shows them.
        self.samples: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def event(self, event: dict[str, Any]) -> None:
        """Take one event."""
        kind = event["type"].removeprefix("task-")
        if event["type"] != f"task-{kind}" or kind not in (*_COUNTERS, "failed"):
            return
        self._state.event(dict(event))
        task = self._state.tasks[event["uuid"]]
        labels = {
            "name": str(task.name),
            "hostname": event["hostname"].split("@", 1)[-1],
            "queue_name": getattr(task, "queue", None) or "celery",
        }
        if kind != "sent":  # on task-sent it makes zeros for the client's host: left out here
            for other in (*_COUNTERS[1:], "failed"):
                self._add(f"task_{other}_total", labels, 0)
        if kind == "failed":
            found = re.match(r"^(\w+)\(", event["exception"])
            labels_failed = {**labels, "exception": found[1] if found else "UnknownException"}
            self._add("task_failed_total", labels_failed, 1)
        else:
            self._add(f"task_{kind}_total", labels, 1)
        if kind == "started" and task.sent:
            eta = datetime.fromisoformat(task.eta).replace(tzinfo=UTC) if task.eta else None
            since = max(task.sent, eta.timestamp() if eta else 0.0)
            self._observe("task_queue_wait_time", labels, max(0.0, event["timestamp"] - since))
        if kind == "succeeded" and event["runtime"] is not None:
            self._observe("task_runtime", labels, event["runtime"])

    def _add(self, name: str, labels: dict[str, str], value: float) -> None:
        self.samples["celery_" + name, tuple(sorted(labels.items()))] += value  # type: ignore[assignment]  # seconds too

    def _observe(self, name: str, labels: dict[str, str], seconds: float) -> None:
        self._add(f"{name}_count", labels, 1)
        self._add(f"{name}_sum", labels, seconds)


class Flower:
    """Flower's own event handling, with a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        with self._own_registry():
            from flower import events

            self._state = events.EventsState()

    @contextmanager
    def _own_registry(self) -> Iterator[None]:
        from flower import events

        kinds = {
            "PrometheusCounter": prometheus_client.Counter,
            "Gauge": prometheus_client.Gauge,
            "Histogram": prometheus_client.Histogram,
        }
        made = {name: partial(kind, registry=self._registry) for name, kind in kinds.items()}
        with mock.patch.multiple(events, PROMETHEUS_METRICS=None, **made):
            yield

    def event(self, event: dict[str, Any]) -> None:
        """Take one event."""
        self._state.event(dict(event))

    def text(self) -> str:
        """Return its /metrics, without the _created series."""
        text = generate_latest(self._registry).decode()
        return "".join(
            line
            for line in text.splitlines(keepends=True)
            if "_created{" not in line and "_created " not in line
        )

    def samples(self) -> Samples:
        """Return every sample."""
        return parsed(self.text())


def by_family(samples: Samples) -> dict[str, Samples]:
    """Sort samples by their names."""
    found: defaultdict[str, Samples] = defaultdict(dict)
    for key, value in samples.items():
        found[key[0]][key] = value
    return dict(found)
