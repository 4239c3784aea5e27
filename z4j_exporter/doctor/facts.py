"""The facts that checks judge: gathered by the doctor, or taken from a running exporter."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from z4j_exporter.events.model import TASK_EVENT_TYPES
from z4j_exporter.fleet.model import FleetReading
from z4j_exporter.queues.model import QueuePoll
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.workers import Worker


@dataclass(frozen=True)
class BrokerFacts:
    """The way to the broker."""

    location: str = ""
    #: As in Source.system: redis, rabbitmq, …
    system: str = ""
    connected: bool = False
    #: Why it cannot be reached, or was lost, and what to do; without secrets.
    error: str = ""
    hint: str = ""
    #: Whether the URL's transport can carry events at all.
    usable: bool = True


@dataclass(frozen=True)
class HeardWorker:
    """One worker, as its events told."""

    name: str
    up: bool = True
    #: Heartbeats that it sent by itself.
    heartbeats: int = 0
    #: Heartbeats that it sent because it was asked to.
    woken: int = 0
    #: Tasks it ran, by the count in its heartbeats.
    ran: int = 0
    #: Task events it sent; None where they were not counted by worker.
    task_events: int | None = 0
    #: task-started events that never came, by the tracker's account; None where it keeps none.
    missing: int | None = None
    active: int | None = None
    #: Seconds that its clock is ahead of ours.
    clock_skew: float | None = None
    software: str = ""
    version: str = ""


@dataclass(frozen=True)
class SentFacts:
    """Tasks that came in as new, beside what clients told of them."""

    #: First attempts that workers received, after the queues were first looked at.
    received: int = 0
    #: How many of them had a task-sent.
    matched: int = 0
    #: task-sent events heard.
    sent: int = 0


@dataclass(frozen=True)
class Elsewhere:
    """A Redis channel that looks like Celery's and that the exporter does not listen to."""

    #: Without the routing key.
    channel: str
    #: The setting that would hear it, as on the command line; "" when none can be named.
    setting: str
    events: int = 0


@dataclass(frozen=True)
class ChannelFacts:
    """What goes on in the channels of a Redis broker."""

    #: The channel the exporter listens to.
    configured: str
    elsewhere: tuple[Elsewhere, ...] = ()
    #: Connections that an order to all workers reached: workers. None: none was sent.
    listeners: int | None = None
    #: Whether the user's permissions allowed to look at other channels.
    looked: bool = True


@dataclass(frozen=True)
class BackendFacts:
    """The application's result backend, as configured; without address and password."""

    #: The scheme, such as redis; "" for none.
    kind: str
    extended: bool
    #: Whether the application ignores results (task_ignore_result).
    ignored: bool = False


@dataclass(frozen=True)
class Exposure:
    """What ``/metrics`` would show of what was heard."""

    profile: str
    families: int
    series: int
    task_names: int
    max_series: int
    #: The family with the most series, and how many.
    largest: str = ""
    largest_series: int = 0
    #: Updates that went to the overflow series.
    overflowed: int = 0


@dataclass(frozen=True)
class Facts:
    """All that was found out. None: it was not looked at, or no answer came in time."""

    broker: BrokerFacts
    listened_seconds: float = 0.0
    workers: tuple[HeardWorker, ...] = ()
    sent: SentFacts | None = None
    #: Messages and events that could not be read, by reason.
    refused: Mapping[str, int] = field(default_factory=dict)
    #: Whether workers were asked anything.
    asked: bool = False
    fleet: FleetReading | None = None
    #: Looks at the queues, in their order.
    polls: tuple[QueuePoll, ...] = ()
    channels: ChannelFacts | None = None
    backend: BackendFacts | None = None
    exposure: Exposure | None = None
    #: Worker → what it answered to enable_events; None: it was not asked for.
    enabled: Mapping[str, str] | None = None

    @property
    def answered(self) -> frozenset[str]:
        """Names of the workers that answered a question."""
        return self.fleet.answered if self.fleet is not None else frozenset()

    @property
    def present(self) -> frozenset[str]:
        """Names of the workers that are there, by any sign."""
        return self.answered | {worker.name for worker in self.workers if worker.up}


def running_facts(
    cluster: Cluster,
    broker: BrokerFacts,
    *,
    listened_seconds: float,
    refused: Mapping[str, int] | None = None,
    fleet: FleetReading | None = None,
    polls: Iterable[QueuePoll] = (),
    exposure: Exposure | None = None,
) -> Facts:
    """Return the facts of a running exporter; called by the thread that owns the cluster.

    ``listened_seconds`` is how long it has been connected; ``polls`` are the last looks at the
    queues, the latest at the end.
    """
    # They are not counted by worker; but where there were none, no worker sent any.
    any_came = any(cluster.events[kind] for kind in TASK_EVENT_TYPES if kind != "task-sent")
    task_events = None if any_came else 0
    return Facts(
        broker=broker,
        listened_seconds=listened_seconds,
        workers=tuple(_heard(worker, task_events) for worker in cluster.workers),
        refused=dict(refused or {}),
        asked=fleet is not None,
        fleet=fleet,
        polls=tuple(polls),
        exposure=exposure,
    )


def _heard(worker: Worker, task_events: int | None) -> HeardWorker:
    return HeardWorker(
        name=worker.name,
        up=worker.up,
        heartbeats=1,
        ran=worker.missing_events or 0,
        task_events=task_events,
        missing=worker.missing_events,
        active=worker.active,
        clock_skew=worker.clock_skew,
        software=worker.sw_ident or "",
        version=worker.sw_ver or "",
    )
