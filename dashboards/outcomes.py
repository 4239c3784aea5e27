"""What becomes of tasks, as lines in colours that are the same on every dashboard."""

from dashboards.panels import Query
from dashboards.promql import rate

#: By the names of the lines.
COLORS = {
    "succeeded": "green",
    "failed": "red",
    "retried": "orange",
    "rejected": "purple",
    "revoked": "blue",
    "cancelled": "#808080",
    "lost": "dark-red",
}


def outcomes(*matchers: str) -> list[Query]:
    """Return a line for each thing that can become of an attempt, a second."""
    return [Query(rate(f"celery_task_{outcome}_total", *matchers), outcome) for outcome in COLORS]
