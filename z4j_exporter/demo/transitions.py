"""What proves on /metrics that each transition of a task was seen: the demo's list of duties."""

from collections.abc import Iterable
from typing import NamedTuple

from z4j_exporter.demo.scrape import Scrape


class Series(NamedTuple):
    """A sum of samples, chosen by labels."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        labels = ",".join(f'{name}="{value}"' for name, value in self.labels)
        return f"{self.name}{{{labels}}}" if labels else self.name

    def read(self, scrape: Scrape) -> float:
        """Return the sum."""
        return scrape.total(self.name, **dict(self.labels))


class Transition(NamedTuple):
    """Something that happens to tasks, and the series that must all be above zero for it."""

    title: str
    proof: tuple[Series, ...]

    def shown(self, scrape: Scrape) -> bool:
        """Say whether the scrape proves it. Counters start at 0: being there is no proof."""
        return all(series.read(scrape) > 0 for series in self.proof)


def missing(scrape: Scrape, transitions: Iterable[Transition]) -> list[Transition]:
    """Return the transitions that ``scrape`` does not prove."""
    return [transition for transition in transitions if not transition.shown(scrape)]


def _task(event: str, **labels: str) -> Series:
    return Series(f"celery_task_{event}_total", tuple(labels.items()))


def _own(name: str, **labels: str) -> Series:
    return Series(f"celery_exporter_{name}", tuple(labels.items()))


def _group(kind: str, outcome: str) -> Series:
    return Series("celery_group_finished_total", (("kind", kind), ("outcome", outcome)))


def _succeeded(task: str) -> Series:
    return _task("succeeded", task=task)


#: Everything the traffic makes happen.
TRANSITIONS = (
    Transition("sent", (_task("sent"),)),
    Transition("received", (_task("received"),)),
    Transition("started", (_task("started"),)),
    Transition("succeeded", (_task("succeeded"),)),
    Transition("failed", (_task("failed", exception="ValueError"),)),
    Transition(
        "retried, then succeeded",
        (_task("retried", task="orders.charge"), _succeeded("orders.charge")),
    ),
    Transition(
        "retried, then failed",
        (
            _task("retried", task="crawl.visit", exception="PageError"),
            _task("failed", task="crawl.visit", exception="PageError"),
        ),
    ),
    Transition("rejected", (_task("rejected", requeued="false"),)),
    Transition(
        "rejected and put back",
        (_task("rejected", requeued="true"), _succeeded("orders.reserve")),
    ),
    Transition("revoked before it started", (_task("revoked", reason="revoked"),)),
    Transition("terminated while it ran", (_task("revoked", reason="terminated"),)),
    Transition("expired", (_task("revoked", reason="expired"),)),
    Transition("hard time limit", (_task("failed", exception="TimeLimitExceeded"),)),
    Transition("lost pool process", (_task("failed", exception="WorkerLostError"),)),
    Transition("eta", (_succeeded("orders.remind"),)),
    Transition("chain", (_succeeded("orders.receipt"),)),
    Transition("group", (_succeeded("media.thumbnail"),)),
    Transition("chord", (_succeeded("media.album"),)),
    Transition(
        "nested workflow",
        tuple(_succeeded(f"crawl.{task}") for task in ("visit", "extract", "store")),
    ),
    Transition(
        "custom event",
        (Series("celery_exporter_events_total", (("type", "other"),)),),
    ),
    Transition("group followed to its end", (_group("group", "succeeded"),)),
    Transition("chord with a failed member", (_group("chord", "failed"),)),
    Transition("published with a priority", (_task("published", priority="9"),)),
    Transition(
        "captured and kept",
        (_own("capture_sent_total"), _own("journal_entries"), _own("journal_bytes")),
    ),
    Transition("retried by hand", (_own("actions_total", action="retry", outcome="done"),)),
    Transition(
        "retried by an alert",
        (_own("alert_rules_total", rule="retry-after-an-outage", decision="done"),),
    ),
    Transition(
        "stranger and visitor refused",
        (_own("action_auth_failures_total"), _own("action_denials_total", reason="role")),
    ),
    Transition(
        "runtime and queue wait measured",
        (
            Series("celery_task_runtime_seconds_count"),
            Series("celery_task_queue_wait_seconds_count"),
        ),
    ),
)
