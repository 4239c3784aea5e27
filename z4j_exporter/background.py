"""Asks the broker about queues and the workers about themselves, beside the event stream.

Everything here waits in threads of its own, and hands what it learned to the applier.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from z4j_exporter.config import Settings
from z4j_exporter.doctor.checks import diagnose
from z4j_exporter.doctor.facts import BrokerFacts, running_facts
from z4j_exporter.doctor.model import Finding
from z4j_exporter.fleet.inspect import FleetInspector
from z4j_exporter.fleet.model import FleetReading, HeldTask
from z4j_exporter.queues.model import QueuePoll
from z4j_exporter.queues.open import open_queue_reader
from z4j_exporter.queues.poller import QueuePoller
from z4j_exporter.queues.select import KnownNames, queues_sent_to
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.web.status import Advice

logger = logging.getLogger(__name__)

#: Seconds between two check-ups.
_CHECKUP_SECONDS = 15.0
#: Seconds that the applier's answer is waited for.
_ANSWER_SECONDS = 5.0
#: Looks at the queues that a check-up compares: a queue must grow over all of them.
_POLLS_COMPARED = 4

Answer = TypeVar("Answer")


class Owner(Protocol):
    """Who owns the cluster (the applier): it answers between two batches."""

    cluster: Cluster

    def ask(self, question: Callable[[], Answer], timeout_seconds: float) -> Answer:
        """Run a question in the owner's thread; see Applier.ask."""

    def post(self, order: Callable[[], object]) -> None:
        """Run something in the owner's thread, soon."""


class Background:
    """The queue poller, the fleet inspector and the check-up; each is absent where it cannot be.

    ``broker`` tells of the connection to the broker, and for how many seconds events are heard.
    ``refused`` has the refusals so far. Raises ExporterError for settings that cannot work.
    """

    def __init__(
        self,
        settings: Settings,
        owner: Owner,
        *,
        broker: Callable[[], tuple[BrokerFacts, float]],
        refused: Mapping[str, int],
    ) -> None:
        self._owner = owner
        self._broker = broker
        self._refused = refused
        reader = open_queue_reader(settings)
        self._poller = QueuePoller(reader, settings, self._queue_names) if reader else None
        self._fleet: FleetInspector | None = None
        if settings.broker_url and settings.recording is None and settings.inspect_interval > 0:
            self._fleet = FleetInspector(
                settings,
                on_held=self._prime,
                on_reading=self._learn,
                expected=self._expected,
            )
        self._polls: list[QueuePoll] = []
        self._stopping = threading.Event()
        # Nothing is wrong with an installation that is a file.
        self._examine = settings.recording is None
        self._checkup = threading.Thread(target=self._check, name="checkup", daemon=True)
        #: What the last check-up found; replaced, never changed.
        self.findings: tuple[Finding, ...] = ()
        #: Whether there was one.
        self.examined = False

    @property
    def polls_queues(self) -> bool:
        """Whether the queues are looked at."""
        return self._poller is not None

    @property
    def asks_workers(self) -> bool:
        """Whether workers are asked about themselves."""
        return self._fleet is not None

    @property
    def queues(self) -> QueuePoll | None:
        """The last look at the queues."""
        return self._poller.latest if self._poller is not None else None

    @property
    def fleet(self) -> FleetReading | None:
        """The last answers of the workers."""
        return self._fleet.reading if self._fleet is not None else None

    def advice(self) -> list[Advice]:
        """Return what someone should look at: the doctor's findings, while this runs."""
        return [
            Advice(
                f.verdict, f.title, " ".join(part for part in (f"{f.evidence}.", f.advice) if part)
            )
            for f in worth_telling(self.findings)
        ]

    def live_workers(self) -> list[str]:
        """Return the nodenames of the workers that are up.

        Raises RuntimeError or TimeoutError where the owner does not answer.
        """
        cluster = self._owner.cluster
        return self._owner.ask(lambda: [w.name for w in cluster.workers if w.up], _ANSWER_SECONDS)

    def start(self) -> None:
        """Start all threads."""
        if self._poller is not None:
            self._poller.start()
        if self._fleet is not None:
            self._fleet.start()
        if self._examine:
            self._checkup.start()

    def source_connected(self) -> None:
        """Ask workers what they hold: what began before, or in a gap, is known to them alone."""
        if self._fleet is not None:
            self._fleet.ask_soon()

    def stop(self, timeout_seconds: float) -> None:
        """End all threads; one that hangs in a broker is left to end with the process."""
        self._stopping.set()
        if self._fleet is not None:
            self._fleet.stop()
        if self._poller is not None:
            self._poller.stop(timeout_seconds)
        if self._checkup.is_alive():
            self._checkup.join(timeout_seconds)

    # -- between the threads -------------------------------------------------------------------

    def _queue_names(self) -> KnownNames:
        cluster = self._owner.cluster
        sent = self._owner.ask(lambda: queues_sent_to(cluster), _ANSWER_SECONDS)
        reading = self.fleet
        consumed = {
            queue
            for worker in (reading.workers if reading is not None else ())
            for queue in worker.queues or ()
        }
        return KnownNames(sent=sent, consumed=consumed)

    def _expected(self) -> list[str]:
        try:
            return self.live_workers()
        except (RuntimeError, TimeoutError):
            return []

    def _prime(self, worker: str, tasks: tuple[HeldTask, ...]) -> None:
        now = time.monotonic()
        self._owner.post(lambda: self._owner.cluster.prime(worker, tasks, now))

    def _learn(self, reading: FleetReading) -> None:
        pools = {w.name: w.pool for w in reading.workers if w.pool is not None}
        self._owner.post(lambda: self._owner.cluster.learn_pools(pools))

    # -- the check-up --------------------------------------------------------------------------

    def _check(self) -> None:
        while not self._stopping.wait(_CHECKUP_SECONDS):
            try:
                self.findings = self._diagnose()
                self.examined = True
            except (RuntimeError, TimeoutError):
                continue  # the applier is busy or has ended: the next time tells
            except Exception:
                logger.exception("the check-up failed (this is a bug)")

    def _diagnose(self) -> tuple[Finding, ...]:
        poll = self.queues
        if poll is not None and (not self._polls or poll is not self._polls[-1]):
            self._polls = [*self._polls[1 - _POLLS_COMPARED :], poll]
        broker, listened_seconds = self._broker()
        cluster = self._owner.cluster
        facts = self._owner.ask(
            lambda: running_facts(
                cluster,
                broker,
                listened_seconds=listened_seconds,
                refused=self._refused,
                fleet=self.fleet,
                polls=self._polls,
            ),
            _ANSWER_SECONDS,
        )
        return diagnose(facts)


def worth_telling(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that someone should act on, problems first."""
    order = {"problem": 0, "warning": 1}
    told = [finding for finding in findings if finding.verdict in order]
    return sorted(told, key=lambda finding: order[finding.verdict])
