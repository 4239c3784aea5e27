"""The one thread of an application's hook: makes events of what was captured, and sends them."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from z4j_exporter.capture.broker import EventBroker
    from z4j_exporter.capture.events import EventMaker
    from z4j_exporter.capture.hook import Capture
    from z4j_exporter.capture.intake import Intake

logger = logging.getLogger("z4j_exporter.capture")

#: Seconds to let signals gather before they are worked on: one wake-up and one message for many.
_GATHER_SECONDS = 0.05
#: Seconds between two events, so that a thread of the application that waits for the interpreter
#: gets it: with 0 this thread would mostly have taken it again before the other one woke.
_BREATH_SECONDS = 0.000_05
#: Events in one message, and their bytes, at most.
_BATCH_EVENTS = 64
_BATCH_BYTES = 256 * 1024
#: Pauses between attempts to reach the broker, in seconds.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
#: How often the same events may fail on a connection that was made: then the broker refuses them.
_MOST_REFUSALS = 3
#: Failures in a row after which people are told.
_FAILURES_TOLD = 2
_POLL_SECONDS = 0.005

#: Connections of a parent process, where greenlets go on in a forked child. They are kept: freed,
#: they would shut the parent's socket down.
_not_ours: list[EventBroker] = []


class Sender:
    """Sends what the intake holds, until it is stopped or its process forks away from it."""

    def __init__(self, capture: Capture, intake: Intake) -> None:
        self._capture = capture
        self._intake = intake
        self._settings = capture.settings
        self._pid = os.getpid()
        # Made now and not at import: under gevent and eventlet these are theirs.
        self._woken = threading.Event()
        self._stopping = False
        self._ended = False
        #: Set while somebody waits for all to be sent: no pause then.
        self._urgent = threading.Event()
        #: Encoded events that are not yet sent, each with its routing key.
        self._waiting: list[tuple[str, bytes]] = []
        self._refusals = 0
        #: Attempts that failed since the last that did not.
        self._failures = 0
        self._pause = 0.0
        self._reported: dict[str, Any] = {}
        self._report_at = time.monotonic() + self._settings.report_seconds
        #: Set when all modules are loaded: a fork before that would leave import locks locked.
        self.loaded = threading.Event()
        self.connected = False
        #: How often the broker was connected to.
        self.connections = 0
        self._busy = False

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="z4j-capture", daemon=True).start()

    def wake(self) -> None:
        """Tell the thread that there is something to send."""
        if not self._woken.is_set():
            self._woken.set()

    def stop(self) -> None:
        """Let the thread end, without waiting for it."""
        self._stopping = True
        self._urgent.set()
        self._woken.set()

    def flush(self, seconds: float) -> bool:
        """Wait until nothing waits to be sent, at most `seconds`; tells whether so."""
        if self._pid != os.getpid():
            return True
        self._urgent.set()
        self._woken.set()
        # No condition variable: this may run in a signal handler, or while the interpreter ends.
        # The thread clears the event when all is sent, and when the broker is not there.
        deadline = time.monotonic() + seconds
        while self._urgent.is_set() and not self._ended and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return not self._pending()

    def _pending(self) -> bool:
        return bool(self._intake) or bool(self._waiting) or self._busy

    def _run(self) -> None:
        try:
            self._load()
            self.loaded.set()
            self._work()
        except Exception as error:  # noqa: BLE001  # a library of the application's that is broken
            # Of others the text may tell a URL with its password.
            told = error if isinstance(error, ImportError) else type(error).__name__
            logger.error("nothing is captured: %s", told)
            self._capture.switch_off("not_loaded")
        finally:
            self.loaded.set()
            self._ended = True

    def _work(self) -> None:
        from z4j_exporter.capture.broker import NoEventsError

        broker: EventBroker | None = None
        while self._pid == os.getpid():
            try:
                self._busy = True
                self._fill()
                if self._waiting or self._report_due():
                    broker = broker or self._connect()
                    self._send(broker)
            except NoEventsError as error:
                logger.error("nothing is captured: the transport %s carries no events", error)
                self._capture.switch_off("no_events")
                break
            except Exception as error:  # noqa: BLE001  # the drivers raise all kinds of errors
                self._failed(broker, error)
                broker = None
            finally:
                self._busy = False
            if self._stopping and (self._pause or not self._pending()):
                break
            self._rest()
        self._urgent.clear()
        if broker is not None:
            if self._pid == os.getpid():
                broker.close()
            else:
                _not_ours.append(broker)

    def _load(self) -> None:
        # Not above: the first task to be published need not wait until all this is loaded.
        from z4j_exporter.capture.broker import load_transport
        from z4j_exporter.capture.events import EventMaker

        load_transport(self._capture.app, self._settings)
        self._maker: EventMaker = EventMaker(self._capture.app, self._settings, self._intake)

    def _fill(self) -> None:
        """Make a batch of events, unless one waits that the broker did not take."""
        if self._waiting and self._refusals:
            return
        size = sum(len(encoded) for _, encoded in self._waiting)
        while len(self._waiting) < _BATCH_EVENTS and size < _BATCH_BYTES:
            items = self._intake.take(1)
            if not items:
                return
            try:
                event = self._maker.event(items[0])
                encoded = _encode(event)
            except Exception as error:  # noqa: BLE001  # one odd task must not stop the others
                logger.debug("an event could not be made: %s", type(error).__name__)
                self._intake.failed()
                self._intake.drop("encode")
                continue
            self._waiting.append((event["type"].replace("-", "."), encoded))
            size += len(encoded)
            time.sleep(_BREATH_SECONDS)

    def _connect(self) -> EventBroker:
        from z4j_exporter.capture.broker import EventBroker

        broker = EventBroker(self._capture.app, self._settings)
        self.connected = True
        self.connections += 1
        return broker

    def _send(self, broker: EventBroker) -> None:
        events = self._waiting
        hostname = self._maker.hostname
        if len(events) == 1:
            routing_key, encoded = events[0]
            broker.publish(encoded, routing_key, hostname)
        elif events:  # a list in one message, as Celery sends its task.multi
            body = b"[" + b",".join(encoded for _, encoded in events) + b"]"
            broker.publish(body, "z4j.multi", hostname)
        self._intake.sent += len(events)
        self._waiting = []
        self._refusals = 0
        self._failures = 0
        self._pause = 0.0
        if self._report_due():
            figures = self._figures()
            broker.publish(_encode(self._maker.report(figures)), "z4j.report", hostname)
            self._reported = figures
            self._report_at = time.monotonic() + self._settings.report_seconds

    def _failed(self, broker: EventBroker | None, error: Exception) -> None:
        self._failures += 1
        # Once, and not for a connection that was closed while nothing was sent. The class only:
        # the text may tell a URL with its password.
        level = logging.WARNING if self._failures == _FAILURES_TOLD else logging.DEBUG
        logger.log(level, "the broker does not take events: %s", type(error).__name__)
        if broker is not None:
            broker.close()
            self._refusals += 1
        self.connected = False
        if self._refusals >= _MOST_REFUSALS:
            self._intake.drop("send_failed", len(self._waiting))
            self._waiting = []
            self._refusals = 0
        # Jitter: all processes of a machine lose their broker at the same time.
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._pause *= random.uniform(0.8, 1.2)  # noqa: S311  # no secret depends on it

    def _rest(self) -> None:
        """Wait for more to send, or until the broker may be tried again."""
        if self._pause:
            self._urgent.clear()  # the broker is not there: the end of the process need not wait
            self._urgent.wait(self._pause)
        elif not self._pending() and not (self._urgent.is_set() and self._report_due()):
            self._urgent.clear()
            self._woken.clear()
            if not self._intake and not self._stopping:
                self._woken.wait(self._until_report())
                self._urgent.wait(_GATHER_SECONDS)

    def _figures(self) -> dict[str, Any]:
        figures = self._intake.figures()
        figures["queue"] += len(self._waiting)
        return figures

    def _changed(self) -> bool:
        return self._figures() != self._reported

    def _until_report(self) -> float | None:
        """Seconds until a report is due, None while there is nothing to report."""
        return max(0.0, self._report_at - time.monotonic()) if self._changed() else None

    def _report_due(self) -> bool:
        """Whether something has changed, and it is time or the process may be about to end."""
        due = time.monotonic() >= self._report_at
        at_the_end = self._urgent.is_set() and not self._intake
        return (due or at_the_end) and self._changed()


def _encode(event: dict[str, Any]) -> bytes:
    # Lone surrogates, which JSON parsers refuse, become question marks.
    text = json.dumps(event, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")
