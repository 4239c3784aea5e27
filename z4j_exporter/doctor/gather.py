"""Gathers all facts once: listens to events while workers and queues are asked beside it."""

import time
from dataclasses import dataclass, replace

from z4j_exporter.config import Settings
from z4j_exporter.doctor.application import backend_facts
from z4j_exporter.doctor.background import Background
from z4j_exporter.doctor.facts import BrokerFacts, ChannelFacts, Exposure, Facts
from z4j_exporter.doctor.observation import Observation
from z4j_exporter.doctor.orders import enable_events, wake
from z4j_exporter.doctor.queue_looks import QueueLooks
from z4j_exporter.doctor.surroundings import look_around
from z4j_exporter.errors import BrokerUrlError, SourceLostError
from z4j_exporter.events.decode import Decoder
from z4j_exporter.fleet.inspect import ask_once
from z4j_exporter.fleet.model import FleetReading
from z4j_exporter.metrics.base import Profile
from z4j_exporter.metrics.profiles import make_profile
from z4j_exporter.metrics.store import HistogramValue
from z4j_exporter.queues.select import queues_sent_to
from z4j_exporter.sources.base import Session, Source
from z4j_exporter.sources.open import open_source
from z4j_exporter.track.cluster import Cluster, make_cluster

#: Seconds of listening: four heartbeats, and time for the questions beside it.
DEFAULT_LISTEN_SECONDS = 10.0
#: Seconds that answers may take beyond the listening.
_GRACE_SECONDS = 3.0
#: Seconds that answers to --enable-events are waited for.
_ENABLE_SECONDS = 2.0
#: Seconds of one read of the source.
_READ_SECONDS = 0.25


@dataclass(frozen=True)
class Questions:
    """What may be done beside listening."""

    listen_seconds: float = DEFAULT_LISTEN_SECONDS
    #: Ask workers about themselves, and for a heartbeat (broadcasts of remote control).
    ask: bool = True
    #: Turn task events on first.
    enable_events: bool = False


def gather(settings: Settings, questions: Questions) -> Facts:
    """Return what could be found out; takes little more than the time to listen.

    What does not answer in time is left out. Raises ExporterError only for settings that cannot
    be used at all.
    """
    try:
        source = open_source(settings)
    except BrokerUrlError as error:
        return Facts(BrokerFacts(usable=False, error=error.message, hint=error.hint))
    broker = BrokerFacts(source.location, source.system)
    try:
        session = source.connect()
    except SourceLostError as error:
        return Facts(replace(broker, error=error.message, hint=error.hint))
    try:
        return _examine(settings, questions, source, session)
    finally:
        session.close()


def _examine(settings: Settings, questions: Questions, source: Source, session: Session) -> Facts:
    enabled = None
    if questions.enable_events:
        enabling = Background("enable-events", lambda: enable_events(settings, _ENABLE_SECONDS))
        enabled = enabling.answer(time.monotonic() + _ENABLE_SECONDS + _GRACE_SECONDS) or {}
    listener = _Listener(settings, session)
    asked = _ask(settings, questions, source)
    queues = QueueLooks(settings)
    try:
        error = listener.listen(time.monotonic() + questions.listen_seconds)
        deadline = time.monotonic() + _GRACE_SECONDS
        fleet = asked.fleet.answer(deadline) if asked.fleet else None
        polls = queues.finish(fleet, queues_sent_to(listener.cluster))
    finally:
        queues.close()
    heard = listener.observation
    return Facts(
        broker=BrokerFacts(source.location, source.system, connected=True, error=error),
        listened_seconds=listener.seconds if error else questions.listen_seconds,
        workers=heard.workers(listener.cluster, listener.heard_until),
        sent=heard.sent(since=polls[0].finished_at if polls else 0.0),
        refused=dict(listener.decoder.refused),
        asked=questions.ask,
        fleet=fleet,
        polls=polls,
        channels=asked.channels.answer(deadline) if asked.channels else None,
        backend=backend_facts(settings.app) if settings.app else None,
        exposure=exposure(listener.profile, listener.cluster, time.time()),
        enabled=enabled,
    )


@dataclass(frozen=True)
class _Asked:
    fleet: Background[FleetReading] | None
    channels: Background[ChannelFacts] | None


def _ask(settings: Settings, questions: Questions, source: Source) -> _Asked:
    """Ask everything that is answered while the doctor listens."""
    seconds = questions.listen_seconds
    patient = settings.model_copy(
        update={"inspect_timeout": max(0.5, min(settings.inspect_timeout, seconds))}
    )
    fleet = channels = None
    if questions.ask:
        fleet = Background("fleet", lambda: ask_once(patient))
    if source.system == "redis":
        channels = Background(
            "channels", lambda: look_around(settings, seconds, wake=questions.ask)
        )
    elif questions.ask:
        Background("wake", lambda: wake(patient, patient.inspect_timeout))
    return _Asked(fleet, channels)


class _Listener:
    """Decodes and tracks what one session brings, as the exporter would."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self._session = session
        self.decoder = Decoder(max_message_bytes=settings.max_message_bytes)
        self.profile = make_profile(settings)
        self.cluster = make_cluster(settings, self.profile.take)
        self.observation = Observation()
        #: The last moment that was listened to, on the monotonic clock.
        self.heard_until = self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """For how long it listened: less than it was to, where the connection broke."""
        return self.heard_until - self._began

    def listen(self, deadline: float) -> str:
        """Listen until the deadline (time.monotonic); return why it ended early, or ""."""
        while (left := deadline - time.monotonic()) > 0:
            try:
                items, _size = self._session.read(min(left, _READ_SECONDS))
            except SourceLostError as error:
                return error.message
            now, wall = time.monotonic(), time.time()
            self.heard_until = now
            for message in self._session.unpack(items) if items else ():
                for event in self.decoder.decode(message):
                    self.cluster.apply(event, now, wall)
                    self.observation.apply(event, now, wall)
            self.cluster.tick(now)
        return ""


def exposure(profile: Profile, cluster: Cluster, wall: float) -> Exposure:
    """Return how large the exposition of the profile is; called by the cluster's thread."""
    families = profile.collect(cluster, wall, profile.store.serial)
    sizes = {snapshot.family.name: len(snapshot.samples) for snapshot in families}
    lines = sum(
        len(value.counts) + 2 if isinstance(value, HistogramValue) else 1
        for snapshot in families
        for _labels, value in snapshot.samples
    )
    largest = max(sizes, key=lambda name: sizes[name], default="")
    names = {task.name for task in cluster.tasks.table if task.name}
    return Exposure(
        profile=profile.name,
        families=sum(1 for size in sizes.values() if size),
        series=lines,
        task_names=len(names),
        max_series=profile.store.max_series,
        largest=largest,
        largest_series=sizes.get(largest, 0),
        overflowed=sum(profile.store.dropped.values()),
    )
