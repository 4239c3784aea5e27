"""Reads what was counted out of a scrape, in a form that a test can compare as a whole."""

from prometheus_client.parser import text_string_to_metric_families

#: Labels every task family has; what a family has beyond them is part of the key's end.
_COMMON_LABELS = ("task", "queue")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    """Return one sample's value, None when it is not there."""
    return samples(text).get((name, tuple(sorted(labels.items()))))


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


def _key(kind: str, labels: dict[str, str]) -> str:
    task, queue = (labels.pop(label) for label in _COMMON_LABELS)
    return " ".join([kind, f"{task}@{queue}", *(f"{k}={v}" for k, v in sorted(labels.items()))])
