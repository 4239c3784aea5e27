"""The composition root: builds the parts, starts and stops them in order."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from z4j_exporter import __version__
from z4j_exporter.background import Background
from z4j_exporter.capturing import Capturing
from z4j_exporter.config import Settings
from z4j_exporter.doctor.facts import BrokerFacts
from z4j_exporter.errors import ExporterError
from z4j_exporter.events.decode import Decoder
from z4j_exporter.metrics.actions import action_snapshots
from z4j_exporter.metrics.exporter import OwnMetrics, OwnReadings, process_families
from z4j_exporter.metrics.fleet import make_fleet_metrics
from z4j_exporter.metrics.profiles import make_profile, warn_of_idle_settings
from z4j_exporter.metrics.queues import make_queue_metrics
from z4j_exporter.metrics.registry import Registry, expose
from z4j_exporter.metrics.store import FamilySnapshot
from z4j_exporter.own import own_readings
from z4j_exporter.pipeline.applier import Applier
from z4j_exporter.pipeline.buffer import Buffer
from z4j_exporter.pipeline.interpreter import set_up_interpreter
from z4j_exporter.pipeline.reader import Reader
from z4j_exporter.sources.open import open_source
from z4j_exporter.status.gather import StatusGatherer
from z4j_exporter.status.parts import Parts
from z4j_exporter.status.recent import Recent
from z4j_exporter.telemetry import Telemetry
from z4j_exporter.track.cluster import Cluster, make_cluster
from z4j_exporter.track.transitions import Emit
from z4j_exporter.web.listener import Listener
from z4j_exporter.web.pages import Pages, Readiness, create_app
from z4j_exporter.web.reload import WebConfig
from z4j_exporter.web.stats import WebStats

if TYPE_CHECKING:
    from z4j_exporter.acting import Acting

logger = logging.getLogger(__name__)

#: Seconds that stopping may take in all, within what Kubernetes gives (30) by a good margin.
STOP_SECONDS = 8.0
#: Seconds that the thread which reads, or applies, is waited for.
_JOIN_SECONDS = 1.5
#: Seconds that each thread of the background is waited for; one may hang in a broker.
_BACKGROUND_STOP_SECONDS = 0.5
#: Seconds for the actions: what is being sent is sent, a job stops before its next task.
_ACTIONS_STOP_SECONDS = 3.0
#: Seconds a scrape waits for the applier to answer.
_ANSWER_SECONDS = 8.0


class Exporter:
    """The running exporter: a source, its reader and applier, and the listener.

    Raises ExporterError from the constructor and ``start`` when the settings cannot work.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.source = open_source(settings)
        self._profile = make_profile(settings)
        self._capturing = Capturing(settings, self._profile.store, self._post)
        self._telemetry = Telemetry(
            settings,
            system=self.source.system,
            location=self.source.location,
            take=self._take_all,
            capturing=self._capturing,
        )
        self._registry = Registry(
            self._profile,
            OwnMetrics(self._profile.store, self._telemetry.durations),
            make_queue_metrics(settings, self._profile.store),
            make_fleet_metrics(settings, self._profile.store),
        )
        self._recent = Recent()
        self._decoder = Decoder(max_message_bytes=settings.max_message_bytes)
        self._buffer = Buffer(settings.buffer_bytes, monotonic=time.monotonic, wall=time.time)
        self._reader = Reader(self.source, self._buffer, on_connected=self._resume)
        self._applier = Applier(
            self._buffer,
            self._decoder,
            self._make_cluster,
            [self._profile],
            lag=self._registry.own.lag,
            on_tick=lambda now: self._status.tick(now),
            is_connected=lambda: self._reader.connected or self._reader.ended,
        )
        self._connected_at = time.monotonic()
        self._background = Background(
            settings, self._applier, broker=self._broker, refused=self._decoder.refused
        )
        self._stats = WebStats()
        self._web_config = (
            WebConfig(settings.web_config_file, self._stats) if settings.web_config_file else None
        )
        self._stopping = False
        self._status = self._make_status()
        pages = Pages(
            exposition=self.exposition,
            healthy=self.healthy,
            ready=self.ready,
            advice=self._background.advice,
            version=__version__,
            source=self.source.location,
            traces=self._telemetry.traces,
            trace_url=settings.trace_url or "",
            status=self._status.status,
        )
        self._listener = Listener(
            create_app(pages, self._stats),
            settings.listen_address,
            web_config=self._web_config,
            stats=self._stats,
        )
        self._acting = self._make_actions()
        warn_of_idle_settings(settings)

    # -- life ----------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://localhost:9808``."""
        return self._listener.url

    @property
    def fatal(self) -> ExporterError | None:
        """An error that ended the source for good."""
        return self._reader.fatal

    def start(self) -> None:
        """Listen first, so that a probe sees a process that starts; then connect.

        What was started ends again where a later part cannot start, such as the actions' listener.
        """
        set_up_interpreter()
        with ExitStack() as undo:
            self._start(undo)
            undo.pop_all()

    def _start(self, undo: ExitStack) -> None:
        """Start all parts, and give ``undo`` what stops each."""
        if self._acting is not None:
            # Its files are open; twice, since it must end first where it has begun.
            undo.callback(self._acting.stop, _ACTIONS_STOP_SECONDS)
        if self._web_config is not None:
            self._web_config.start()
            undo.callback(self._web_config.stop)
        self._listener.start()
        undo.callback(self._listener.stop, _BACKGROUND_STOP_SECONDS)
        self._applier.start()
        undo.callback(self._applier.join, _JOIN_SECONDS)
        undo.callback(self._applier.stop)
        self._reader.start()
        undo.callback(self._reader.join, _JOIN_SECONDS)
        undo.callback(self._reader.stop)
        self._background.start()
        undo.callback(self._background.stop, _BACKGROUND_STOP_SECONDS)
        self._capturing.start()
        undo.callback(self._capturing.stop, _BACKGROUND_STOP_SECONDS * 2)
        undo.callback(setattr, self, "_stopping", True)
        if self._acting is not None:
            undo.callback(self._acting.stop, _ACTIONS_STOP_SECONDS)
            self._acting.start()
            logger.info("actions listen on %s", self._acting.url)
        self._telemetry.start()

    def stop(self) -> None:
        """Stop in order: not ready, no more reading, apply what was read, send, stop serving."""
        self._stopping = True
        deadline = time.monotonic() + STOP_SECONDS
        if self._acting is not None:
            self._acting.stop(_ACTIONS_STOP_SECONDS)
        self._reader.stop()
        # A connection attempt to a broker that hangs may take longer; it is given up.
        self._reader.join(_JOIN_SECONDS)
        self._background.stop(_BACKGROUND_STOP_SECONDS)
        self._applier.stop()
        self._applier.join(max(0.1, deadline - time.monotonic() - 2.0))
        if self._applier.is_alive():
            logger.warning("%d bytes of events were not applied", self._buffer.size_bytes)
        self._capturing.stop(_BACKGROUND_STOP_SECONDS * 2)
        self._telemetry.stop(max(0.5, deadline - time.monotonic() - 1.0))
        self._listener.stop(max(0.5, deadline - time.monotonic()))
        if self._web_config is not None:
            self._web_config.stop()

    # -- what the pages show -------------------------------------------------------------------

    def exposition(self, accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        """Return content type and body of /metrics."""

        def take() -> list[FamilySnapshot]:
            return self._applier.ask(lambda: self._collect(scraper), _ANSWER_SECONDS)

        return expose(take, accept, names)

    def healthy(self) -> Readiness:
        """Say whether the process does its work, whatever the broker does."""
        if not self._applier.is_alive() and not self._stopping:
            return Readiness(False, "The applier thread has ended; the log says why.")
        if self._reader.fatal is not None:
            return Readiness(False, self._reader.fatal.message)
        if not self._reader.is_alive() and not self._reader.ended and not self._stopping:
            return Readiness(False, "The reader thread has ended; the log says why.")
        return Readiness(True, "Healthy.")

    def ready(self) -> Readiness:
        """Say whether events come in."""
        if self._stopping:
            return Readiness(False, "The exporter is stopping.")
        if self._reader.ended:
            return Readiness(True, "The recording was read to its end.")
        if not self._reader.connected:
            return Readiness(False, f"Not connected: {self._reader.reason}.")
        return Readiness(True, f"Connected to {self.source.location}.")

    # -- parts ---------------------------------------------------------------------------------

    def _make_status(self) -> StatusGatherer:
        return StatusGatherer(
            Parts(
                settings=self.settings,
                source=self.source,
                reader=self._reader,
                buffer=self._buffer,
                applier=self._applier,
                background=self._background,
                telemetry=self._telemetry,
                capturing=self._capturing,
                own=self._registry.own,
                recent=self._recent,
                readings=self._readings,
                acting=lambda: self._acting,
                ready=self.ready,
                healthy=self.healthy,
                advice=self._background.advice,
            )
        )

    def _make_actions(self) -> "Acting | None":
        """Return the actions, None where they are off."""
        if not self.settings.actions:
            return None
        # Here, since they load much (FastAPI) that a process without them can do without.
        from z4j_exporter.acting import Acting

        return Acting(
            self.settings,
            ask=self._applier.ask,
            cluster=lambda: self._applier.cluster,
            workers=self._background.live_workers,
            journal=self._capturing.journal,
            on_retry=self._capturing.facts.retried.learn,
        )

    def _post(self, order: Callable[[], object]) -> None:
        self._applier.post(order)

    def _make_cluster(self, emit: Emit) -> Cluster:
        tracer = self._telemetry.tracer
        cluster = make_cluster(
            self.settings,
            self._recent.following(self._capturing.following(emit)),
            tracer,
            self._capturing,
        )
        self._capturing.attach(cluster.task)
        if tracer is not None:
            tracer.attach(cluster.task)
        return cluster

    def _broker(self) -> tuple[BrokerFacts, float]:
        connected = self._reader.connected
        facts = BrokerFacts(
            self.source.location,
            self.source.system,
            connected=connected,
            error="" if connected else self._reader.reason,
        )
        return facts, time.monotonic() - self._connected_at if connected else 0.0

    def _resume(self) -> None:
        now = self._connected_at = time.monotonic()
        self._background.source_connected()
        self._applier.post(lambda: self._applier.cluster.resume(now))

    def _take_all(self) -> list[FamilySnapshot]:
        """Copy all metrics, for a push, which is a scraper as any other."""
        if self._applier.ident is not None and not self._applier.is_alive():
            return self._collect("") + process_families()  # the last push: nobody writes any more
        return (
            self._applier.ask(lambda: self._collect("otlp"), _ANSWER_SECONDS) + process_families()
        )

    def _collect(self, scraper: str) -> list[FamilySnapshot]:
        return self._registry.collect(
            self._applier.cluster,
            self._readings(),
            time.time(),
            scraper,
            queues=self._background.queues,
            fleet=self._background.fleet,
            more=self._more,
        )

    def _more(self, floor: int) -> list[FamilySnapshot]:
        actions = action_snapshots(self._acting.readings()) if self._acting is not None else []
        return self._capturing.collect(floor) + actions

    def _readings(self) -> OwnReadings:
        return own_readings(
            source=self.source,
            profile=self._profile,
            reader=self._reader,
            buffer=self._buffer,
            applier=self._applier,
            decoder=self._decoder,
            stats=self._stats,
            spans=self._telemetry.readings(),
        )
