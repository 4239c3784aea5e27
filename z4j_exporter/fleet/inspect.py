"""Asks the workers about themselves and their tasks, in the background and at long intervals.

Many never answer: a solo pool that is busy, a worker with ``worker_enable_remote_control=False``,
one behind a broker that hangs. So nobody waits for this but its own thread.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Collection

from z4j_exporter.config import Settings
from z4j_exporter.errors import ExporterError
from z4j_exporter.fleet.answers import FACT_COMMANDS, HELD_COMMANDS, Round
from z4j_exporter.fleet.mailbox import Mailbox
from z4j_exporter.fleet.model import FleetReading, HeldTask
from z4j_exporter.sources.celeryapp import load_app

logger = logging.getLogger(__name__)

#: A round is earlier or later by up to this part of the interval, so that exporters which were
#: started together do not ask together.
JITTER = 0.1
#: Rounds after which tasks are asked for again without a gap: what is told of a task that sends no
#: events (its worker has them off) must not stay for ever.
HELD_EVERY_ROUNDS = 10
#: Seconds without an answer after which a round ends where nobody is known to be there, as before
#: the first heartbeat: the wait is for a fleet whose answers are on their way.
QUIET_SECONDS = 5.0
#: Celery's default ``control_exchange``.
_CONTROL_EXCHANGE = "celery"

#: Takes a worker's nodename and every task it holds.
OnHeld = Callable[[str, tuple[HeldTask, ...]], None]


def _ignore(*_: object) -> None:
    """Take no notice."""


def control_exchange(settings: Settings) -> str:
    """Return the application's ``control_exchange``, where there is an application.

    Raises AppImportError.
    """
    if settings.app is None:
        return _CONTROL_EXCHANGE
    name = load_app(settings.app).conf.get("control_exchange")
    return name if isinstance(name, str) and name else _CONTROL_EXCHANGE


def ask_once(
    settings: Settings,
    *,
    held: bool = True,
    on_held: OnHeld = _ignore,
    expected: Collection[str] = (),
    stopping: Callable[[], bool] = lambda: False,
) -> FleetReading:
    """Ask all workers once and return what they said; never raises.

    Takes ``inspect_timeout`` seconds, or less: when every worker of ``expected`` (by nodename) has
    answered everything, or when none is expected and no more answers come. ``held`` asks for their
    tasks too; ``on_held`` gets those of each worker as soon as it told them.
    """
    wall, began = time.time(), time.monotonic()
    told = Round(wall)
    commands = (*HELD_COMMANDS, *FACT_COMMANDS) if held else FACT_COMMANDS
    awaited = frozenset(expected)

    def take(command: str, reply: object) -> bool:
        worker = told.take(command, reply)
        if worker is not None and command in HELD_COMMANDS:
            tasks = told.held_by(worker)
            if tasks is not None:
                on_held(worker, tasks)
        return bool(awaited) and told.complete(awaited, commands)

    error = ""
    try:
        mailbox = Mailbox(settings, control_exchange(settings))
        try:
            mailbox.ask(
                commands,
                take,
                timeout_seconds=settings.inspect_timeout,
                quiet_seconds=math.inf if awaited else QUIET_SECONDS,
                stopping=stopping,
            )
        finally:
            mailbox.close()
    except ExporterError as failed:
        error = failed.message
    except Exception as failed:
        logger.debug("asking the workers failed", exc_info=failed)
        error = f"unexpected {type(failed).__name__}"
    return FleetReading(
        finished_at=time.time(),
        duration_seconds=time.monotonic() - began,
        success=not error,
        workers=told.workers(),
        tasks=told.tasks(),
        error=error,
        answered=told.answered,
    )


class FleetInspector(threading.Thread):
    """Asks every ``inspect_interval`` seconds. Not to be started where that is 0.

    ``reading`` is the last round; it is replaced, never changed, and any thread may read it.
    ``on_held`` and ``on_reading`` are called in this thread; ``expected`` names the workers that
    are alive, so that a round need not wait longer than for them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_held: OnHeld = _ignore,
        on_reading: Callable[[FleetReading], None] = _ignore,
        expected: Callable[[], Collection[str]] = tuple,
        ask: Callable[..., FleetReading] = ask_once,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(name="fleet", daemon=True)
        self._settings = settings
        self._on_held = on_held
        self._on_reading = on_reading
        self._expected = expected
        self._ask = ask
        self._jitter = jitter
        self._wake = threading.Event()
        self._stopping = False
        self._held_due = True
        self._error = ""
        self.reading: FleetReading | None = None

    def ask_soon(self) -> None:
        """Ask now, and for tasks too: events may have been missed."""
        self._held_due = True
        self._wake.set()

    def stop(self) -> None:
        """Ask the thread to end; it does within a second, unless the broker hangs."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """Ask until stopped."""
        rounds = 0
        while not self._stopping:
            self._wake.clear()
            held = self._held_due or rounds % HELD_EVERY_ROUNDS == 0
            self._held_due = False
            rounds += 1
            try:
                self._round(held)
            except Exception:
                logger.exception("asking the workers failed (this is a bug)")
            self._wake.wait(delay_seconds(self._settings.inspect_interval, self._jitter()))

    def _round(self, held: bool) -> None:
        reading = self._ask(
            self._settings,
            held=held,
            on_held=self._on_held,
            expected=self._expected(),
            stopping=lambda: self._stopping,
        )
        if self._stopping:
            return  # cut short: it says nothing of who would have answered
        if not reading.success:
            self._held_due = self._held_due or held
        if reading.error != self._error:  # say each state once, not at every round
            self._error = reading.error
            if reading.error:
                logger.warning("workers cannot be asked (inspect): %s", reading.error)
            else:
                logger.info("workers can be asked again")
        self.reading = reading
        self._on_reading(reading)


def delay_seconds(interval: float, jitter: float) -> float:
    """Return how long to wait after a round; ``jitter`` is from 0 to 1."""
    return interval * (1.0 + JITTER * (2.0 * jitter - 1.0))
