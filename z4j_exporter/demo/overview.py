"""The numbers of the live view, read from one scrape after another."""

from collections import deque
from typing import NamedTuple

from z4j_exporter.demo.scrape import Scrape

#: What may happen to a task, in the order of its life.
EVENTS = (
    *("sent", "received", "started", "succeeded"),
    *("failed", "retried", "rejected", "revoked", "lost"),
)
#: States of a task that has not ended.
STATES = ("waiting", "reserved", "running")
#: Scrapes the sparkline remembers.
_HISTORY = 60
#: Tasks and queues that are shown: as many as a terminal of 24 lines has room for.
_SHOWN = 5


class Spread(NamedTuple):
    """How a duration spreads, in seconds."""

    name: str
    median: float
    p95: float


class Queue(NamedTuple):
    """A queue as /metrics shows it; None for what is not known (yet)."""

    name: str
    ready: float | None
    unacked: float | None
    workers: float | None
    #: How long tasks waited in it.
    wait: Spread | None


class Worker(NamedTuple):
    """A worker as /metrics shows it; None for what is not known (yet)."""

    name: str
    up: bool
    active: float
    processed: float
    pool_size: float | None = None


class Overview(NamedTuple):
    """What one frame of the live view shows."""

    #: Events a second between the last scrapes, oldest first.
    rates: tuple[float, ...]
    events_total: float
    #: How often each of EVENTS was seen.
    counts: dict[str, float]
    #: Tasks in each of STATES.
    in_progress: dict[str, float]
    #: Runtime by task, slowest first.
    slowest: list[Spread]
    queues: list[Queue]
    workers: list[Worker]


class Observer:
    """Turns scrapes into overviews; remembers how many events came in between."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_HISTORY)
        self._last: tuple[float, float] | None = None

    def observe(self, scrape: Scrape, now_seconds: float) -> Overview:
        """Return the overview of ``scrape``, made at ``now_seconds`` of a monotonic clock."""
        events_total = scrape.total("celery_exporter_events_total")
        if self._last is not None:
            then_seconds, before = self._last
            if now_seconds > then_seconds:
                self._rates.append((events_total - before) / (now_seconds - then_seconds))
        self._last = now_seconds, events_total
        in_progress = scrape.by("state", "celery_tasks_in_progress")
        return Overview(
            rates=tuple(self._rates),
            events_total=events_total,
            counts={event: scrape.total(f"celery_task_{event}_total") for event in EVENTS},
            in_progress={state: in_progress.get(state, 0.0) for state in STATES},
            slowest=_spreads(scrape, "task", "celery_task_runtime_seconds"),
            queues=_queues(scrape),
            workers=_workers(scrape),
        )


def _spreads(scrape: Scrape, label: str, family: str) -> list[Spread]:
    medians = scrape.quantile(0.5, label, family)
    spreads = [
        Spread(name, medians[name], p95)
        for name, p95 in scrape.quantile(0.95, label, family).items()
    ]
    return sorted(spreads, key=lambda spread: (-spread.p95, spread.name))[:_SHOWN]


def _queues(scrape: Scrape) -> list[Queue]:
    waits = {
        wait.name: wait for wait in _spreads(scrape, "queue", "celery_task_queue_wait_seconds")
    }
    ready = scrape.by("queue", "celery_queue_messages", state="ready")
    unacked = scrape.by("queue", "celery_queue_messages", state="unacked")
    workers = scrape.by("queue", "celery_queue_workers")
    return [
        Queue(name, ready.get(name), unacked.get(name), workers.get(name), waits.get(name))
        for name in sorted({*waits, *ready, *workers} - {""})
    ][:_SHOWN]


def _workers(scrape: Scrape) -> list[Worker]:
    active = scrape.by("worker", "celery_worker_active_tasks")
    processed = scrape.by("worker", "celery_worker_processed_total")
    pools = scrape.by("worker", "celery_worker_pool_size")
    return [
        Worker(name, up > 0, active.get(name, 0.0), processed.get(name, 0.0), pools.get(name))
        for name, up in sorted(scrape.by("worker", "celery_worker_up").items())
    ]
