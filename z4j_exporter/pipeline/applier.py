"""The applier thread: takes messages from the buffer, decodes and applies them.

It alone touches the tracker and the sinks. Whoever wants to know something of them, a scrape for
one, asks it to answer between two batches: no locks, and never half a batch.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from z4j_exporter.events.decode import Decoder
from z4j_exporter.events.message import Message
from z4j_exporter.pipeline.buffer import Batch, Buffer
from z4j_exporter.track.cluster import Cluster
from z4j_exporter.track.transitions import Transition

logger = logging.getLogger(__name__)

#: Seconds between looks at what time alone changes (workers that fall silent, …).
TICK_SECONDS = 1.0
#: Seconds it lets messages gather after the first one, for one wake-up to serve many.
#: A question, such as a scrape's, ends the wait.
GATHER_SECONDS = 0.25
#: Messages applied between looks at the time: about 5 ms of work.
_SLICE_MESSAGES = 512
#: Slices applied before a question is answered though the buffer is not empty: about 50 ms.
_ANSWER_SLICES = 10
#: Seconds between looks at whether a burst goes on.
_STAND_BACK_SECONDS = 0.002
#: Part of the buffer that a burst may fill before the applier works against it.
_STAND_BACK_FILL = 0.875
#: Seconds between two log lines about the same failing part.
_LOG_EVERY_SECONDS = 60.0
#: What can fail besides the sinks.
_PARTS = ("tracker", "decoder", "status")

Answer = TypeVar("Answer")


class Sink(Protocol):
    """Takes transitions. One that raises is counted, and the others go on."""

    name: str

    def take(self, transition: Transition) -> None:
        """Take one transition."""


class Applier(threading.Thread):
    """Owns the tracker and the sinks.

    ``make_cluster`` gets the function that hands transitions to the sinks. ``lag`` gets the
    seconds from the stamping of each message's last event to its receipt; ``on_tick`` gets the
    time, on the tracker's clock, after each of the tracker's own ticks.
    """

    def __init__(
        self,
        buffer: Buffer,
        decoder: Decoder,
        make_cluster: Callable[[Callable[[Transition], None]], Cluster],
        sinks: Sequence[Sink],
        *,
        lag: Callable[[float], None] = lambda _seconds: None,
        on_tick: Callable[[float], object] = lambda _now: None,
        is_connected: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="applier", daemon=True)
        self._buffer = buffer
        self._decoder = decoder
        self._sinks = list(sinks)
        self._lag = lag
        self._on_tick = on_tick
        self._is_connected = is_connected
        self._monotonic = monotonic
        self._stopping = False
        self._ended = False
        self._questions: deque[tuple[Callable[[], object], Future[object]]] = deque()
        self._asked = threading.Event()
        self._next_tick = 0.0
        self._logged: dict[str, float] = {}
        self.cluster = make_cluster(
            self._emit if len(self._sinks) != 1 else self._emit_to(self._sinks[0])
        )
        #: Transitions a sink failed on, by sink; ``tracker`` for events the tracker failed on,
        #: ``decoder`` for messages, ``status`` for ticks. At 0 from the start, since the increase
        #: from nothing to the first error is none that Prometheus could see.
        self.errors = Counter(dict.fromkeys([*_PARTS, *(sink.name for sink in self._sinks)], 0))

    # -- other threads -------------------------------------------------------------------------

    def ask(self, question: Callable[[], Answer], timeout_seconds: float = 10.0) -> Answer:
        """Run a question in the applier's thread and return its answer.

        Raises what the question raises, TimeoutError when no answer comes in time (the question
        is then not asked any more), RuntimeError when the thread is not running.
        """
        if not self.is_alive():
            raise RuntimeError("the applier thread is not running")
        future: Future[object] = Future()
        self._put(question, future)
        if self._ended and future.cancel():  # it ended meanwhile: nobody will look
            raise RuntimeError("the applier thread is not running")
        try:
            return future.result(timeout_seconds)  # type: ignore[return-value]  # the question's own answer
        except TimeoutError:
            # Scrapes that gave up must not pile up before the one that is waited for.
            future.cancel()
            raise

    def post(self, order: Callable[[], object]) -> None:
        """Run something in the applier's thread, soon, without waiting for it.

        What it raises is logged and counted as an error of the tracker.
        """
        self._put(lambda: self._guarded("tracker", order), Future())

    def _put(self, question: Callable[[], object], future: Future[object]) -> None:
        self._questions.append((question, future))
        self._asked.set()
        self._buffer.filled.set()

    def stop(self) -> None:
        """Ask the thread to end after it applied all that the buffer holds."""
        self._stopping = True
        self._asked.set()
        self._buffer.filled.set()

    # -- the thread ----------------------------------------------------------------------------

    def run(self) -> None:
        """Apply until stopped and the buffer is empty."""
        filled = self._buffer.filled
        while not self._stopping:
            if filled.wait(TICK_SECONDS):
                filled.clear()
                self._asked.wait(GATHER_SECONDS)
            self._work()
        self._work()
        self._guarded("tracker", self.cluster.flush)
        self._ended = True
        self._answer()

    def _work(self) -> None:
        """Apply what is there, keeping time as it goes; answer when all is applied."""
        self._keep_time()
        slices = 0
        while (batch := self._buffer.take()) is not None:
            for start in range(0, len(messages := self._unpack(batch)), _SLICE_MESSAGES):
                self._apply(
                    messages[start : start + _SLICE_MESSAGES], batch.received, batch.received_wall
                )
                self._keep_time()
                self._stand_back()
                slices += 1
                if slices >= _ANSWER_SLICES and self._asked.is_set():
                    self._answer()  # the buffer is long: better an answer that is a bit behind
        self._answer()

    def _stand_back(self) -> None:
        """Leave the interpreter to the reader in a burst, while there is room to put it.

        Redis cuts off who is 32 MB behind; what is in the buffer can wait.
        """
        buffer = self._buffer
        while (
            self._monotonic() < buffer.burst_until
            and buffer.size_bytes < buffer.max_bytes * _STAND_BACK_FILL
            and not self._stopping
        ):
            if self._asked.is_set():
                self._answer()
            time.sleep(_STAND_BACK_SECONDS)

    def _unpack(self, batch: Batch) -> list[Message]:
        try:
            return batch.messages()
        except Exception:  # noqa: BLE001  # as in _apply
            self._failed("tracker")
            return []

    def _apply(self, messages: Sequence[Message], received: float, wall: float) -> None:
        decode = self._decoder.decode
        apply = self.cluster.apply
        for message in messages:
            try:
                events = decode(message)
                if events:
                    self._lag(wall - events[-1].timestamp)
            except Exception:  # noqa: BLE001  # one bad message must not take the thread with it
                self._failed("decoder")
                continue
            for event in events:
                try:
                    apply(event, received, wall)
                except Exception:  # noqa: BLE001  # nor one event the rest of its message
                    self._failed("tracker")

    def _keep_time(self) -> None:
        now = self._monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._guarded("tracker", lambda: self.cluster.tick(now, connected=self._is_connected()))
            self._guarded("status", lambda: self._on_tick(now))

    def _answer(self) -> None:
        self._asked.clear()
        while self._questions:
            question, future = self._questions.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(question())
            except Exception as error:  # noqa: BLE001  # handed to whoever asked
                future.set_exception(error)

    def _emit(self, transition: Transition) -> None:
        for sink in self._sinks:
            try:
                sink.take(transition)
            except Exception:  # noqa: BLE001  # a sink that fails is isolated
                self._failed(sink.name)

    def _emit_to(self, sink: Sink) -> Callable[[Transition], None]:
        """Return what ``_emit`` does, for one sink only: it runs for every event."""
        take = sink.take

        def emit(transition: Transition) -> None:
            try:
                take(transition)
            except Exception:  # noqa: BLE001  # as in _emit
                self._failed(sink.name)

        return emit

    def _guarded(self, part: str, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception:  # noqa: BLE001  # time must go on
            self._failed(part)

    def _failed(self, part: str) -> None:
        self.errors[part] += 1
        now = self._monotonic()
        if now - self._logged.get(part, float("-inf")) >= _LOG_EVERY_SECONDS:
            self._logged[part] = now
            logger.exception("%s failed (this is a bug; told once a minute)", part)
