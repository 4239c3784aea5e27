"""Reads what was counted out of a scrape, in a form that a test can compare as a whole."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.support import servers
from tests.support.process import wait_until
from tests.support.stage import Received, Scenario, play

#: Types that Celery itself sends; the exporter counts all the rest as "other".
_KNOWN = {
    *(f"task-{kind}" for kind in ("sent", "received", "started", "succeeded", "failed")),
    *(f"task-{kind}" for kind in ("retried", "rejected", "revoked", "cancelled")),
    *(f"worker-{kind}" for kind in ("online", "heartbeat", "offline")),
}

#: Labels every task family has; what a family has beyond them is part of the key's end.
_COMMON_LABELS = ("task", "queue")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def task_counts(text: str) -> dict[str, float]:
    """Return every ``celery_task_*_total`` above 0 under a short key.

    ``celery_task_failed_total{task="web.visit", queue="web", exception="HTTPError"}`` is
    ``failed web.visit@web exception=HTTPError``.
    """
    return {
        _key(name.removeprefix("celery_task_").removesuffix("_total"), dict(labels)): number
        for (name, labels), number in samples(text).items()
        if name.startswith("celery_task_") and name.endswith("_total") and number > 0
    }


def observations(text: str) -> dict[str, float]:
    """Return how often each task histogram was fed, with the same keys; 0 left out."""
    return {
        _key(name.removeprefix("celery_task_").removesuffix("_seconds_count"), dict(labels)): number
        for (name, labels), number in samples(text).items()
        if name.startswith("celery_task_") and name.endswith("_seconds_count") and number > 0
    }


def event_counts(text: str) -> dict[str, float]:
    """Return ``celery_exporter_events_total`` by type, 0 left out."""
    return {
        dict(labels)["type"]: number
        for (name, labels), number in samples(text).items()
        if name == "celery_exporter_events_total" and number > 0
    }


@dataclass(frozen=True)
class Counted:
    """What was sent while an exporter listened, and what it then said."""

    received: list[Received]
    text: str


def play_counted(
    broker_url: str, scenarios: Sequence[Scenario], expected: Mapping[str, float]
) -> Counted:
    """Play scenarios beside an exporter, until it has counted every event that was sent.

    ``expected`` only says how long to wait: a task whose name or queue came late is counted
    some seconds after its events. That the counts are the expected ones is for the test to say.
    """
    with servers.exporter("--broker-url", broker_url) as exporter:
        received = play(broker_url, *scenarios)
        types = (r.event["type"] for r in received)
        seen = Counter(kind if kind in _KNOWN else "other" for kind in types)
        wait_until(
            lambda: event_counts(exporter.scrape()) == seen,
            message=lambda: f"{event_counts(exporter.scrape())} != {dict(seen)}",
        )
        wait_until(
            lambda: sum(task_counts(exporter.scrape()).values()) >= sum(expected.values()),
            message=lambda: f"{task_counts(exporter.scrape())} != {expected}",
        )
        return Counted(received, exporter.scrape())


def _key(kind: str, labels: dict[str, str]) -> str:
    # To Prometheus an empty label is none, and its parser leaves it out.
    task, queue = (labels.pop(label, "") for label in _COMMON_LABELS)
    return " ".join([kind, f"{task}@{queue}", *(f"{k}={v}" for k, v in sorted(labels.items()))])
