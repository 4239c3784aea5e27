"""Sends spans in a thread of its own: batches, retries, and counts of all that did not arrive."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

from z4j_exporter.otlp.channel import Channel
from z4j_exporter.otlp.outcome import Accepted, Failed, Outcome, Refused
from z4j_exporter.tracing.encode import SpanEncoder
from z4j_exporter.tracing.export_queue import SpanQueue
from z4j_exporter.tracing.export_report import Report
from z4j_exporter.tracing.model import Span

logger = logging.getLogger(__name__)

#: Spans of one request, as OpenTelemetry's batch processor has them.
BATCH_SPANS: Final = 512
#: Seconds that spans are gathered for. OpenTelemetry's 5 s spare the application it runs in;
#: here somebody waits to see the trace.
DELAY_SECONDS: Final = 1.0
#: Bytes of one request: receivers on gRPC take 4 MiB by default, the Collector's too.
MAX_REQUEST_BYTES: Final = 4_000_000
#: Bytes that a span may take on average before memory, and not the number, is the bound.
_BYTES_EACH: Final = 4096
#: Seconds before the first retry, the most before a later one, and until a batch is given up, as
#: the Collector's own exporters have them: one batch that no one can take must not stop the rest.
_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS, _GIVE_UP_SECONDS = 1.0, 30.0, 300.0
#: Why spans did not arrive.
DROP_REASONS: Final = (
    "queue_full",
    "encode_error",
    "refused",
    "partial_rejected",
    "retries_exhausted",
    "shutdown",
)

#: ``failed`` may be tried again, ``refused`` may not.
ExportOutcome = Literal["ok", "failed", "refused"]
_KINDS: Final[dict[type[Outcome], ExportOutcome]] = {
    Accepted: "ok",
    Failed: "failed",
    Refused: "refused",
}
#: Told of each request and the seconds it took, in the export thread.
Observed = Callable[[ExportOutcome, float], object]


class SpanExporter:
    """A bounded queue, and the thread that empties it into a channel.

    A peer that is away costs spans and nothing else: a batch that failed is tried again, while
    the queue fills behind it; when it is full, new spans are dropped.

    ``monotonic``, ``rand`` (numbers from 0 to 1) and ``wait`` (waits so many seconds, true when
    it is to end) are there for tests.
    """

    def __init__(
        self,
        channel: Channel,
        encoder: SpanEncoder,
        *,
        max_spans: int = 20_000,
        max_bytes: int | None = None,
        batch_spans: int = BATCH_SPANS,
        delay_seconds: float = DELAY_SECONDS,
        observed: Observed | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] = random.random,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        #: Spans that the endpoint took.
        self.exported = 0
        #: Spans that did not arrive, by reason (DROP_REASONS).
        self.dropped: Counter[str] = Counter(dict.fromkeys(DROP_REASONS, 0))
        #: What became of the last request; None before the first. Replaced, never changed.
        self.last: Outcome | None = None
        self._channel = channel
        self._encoder = encoder
        self._queue = SpanQueue(
            max_spans, max_spans * _BYTES_EACH if max_bytes is None else max_bytes
        )
        self._batch_spans = min(batch_spans, max_spans)
        self._delay = delay_seconds
        self._observed = observed
        self._monotonic = monotonic
        self._rand = rand
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._deadline = 0.0
        self._sending = 0
        self._report = Report(channel.location, monotonic)
        self._thread = threading.Thread(target=self._run, name="otlp-traces", daemon=True)

    @property
    def location(self) -> str:
        """Where spans go, without secrets."""
        return self._channel.location

    @property
    def queued(self) -> int:
        """Spans that wait, those of the batch that is being sent included."""
        return len(self._queue) + self._sending

    def offer(self, spans: Sequence[Span]) -> None:
        """Take spans, or drop and count them; never waits. For one thread (the applier)."""
        refused = self._queue.offer(spans)
        if refused and self._queue.closed:
            self.dropped["shutdown"] += refused
        elif refused:
            self.dropped["queue_full"] += refused
            self._report.full(self._queue.max_spans)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Send what waits, within so many seconds, and end; what fails now is not tried again."""
        self._deadline = self._monotonic() + seconds
        self._stopping.set()
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        answered = True
        while not self._stopping.is_set():
            self._queue.wait(self._batch_spans, self._delay)
            answered = self.export_batch()
        while answered and self._queue and self._monotonic() < self._deadline:
            answered = self.export_batch()
        self.dropped["shutdown"] += len(self._queue.take(self._queue.max_spans))
        self._channel.close()

    def export_batch(self) -> bool:
        """Send the oldest spans; returns whether the endpoint answered. For the export thread."""
        spans = self._queue.take(self._batch_spans)
        self._sending = len(spans)
        try:
            return self._export(spans)
        except Exception:
            # Whatever it is, the next batch may do better.
            logger.exception("Spans could not be exported")
            self.dropped["encode_error"] += self._sending
            return True
        finally:
            self._sending = 0

    def _export(self, spans: list[Span]) -> bool:
        """Encode and deliver spans, in several requests when they are large."""
        encoded = self._encoder.encode(spans)
        if len(encoded.payload) > MAX_REQUEST_BYTES and len(spans) > 1:
            half = len(spans) // 2
            return self._export(spans[:half]) & self._export(spans[half:])
        self.dropped["encode_error"] += encoded.unencodable
        self._sending -= encoded.unencodable
        if encoded.unencodable:
            self._report.unencodable(encoded.unencodable)
        if not encoded.spans:
            return True
        outcome = self._deliver(encoded.payload)
        self._sending -= encoded.spans
        self._count(outcome, encoded.spans)
        return not isinstance(outcome, Failed)

    def _deliver(self, payload: bytes) -> Outcome:
        """Send a request, again and again as long as that may help."""
        pause = _FIRST_RETRY_SECONDS
        give_up = self._monotonic() + _GIVE_UP_SECONDS
        while True:
            stopping = self._stopping.is_set()
            seconds = self._channel.timeout
            if stopping:
                seconds = min(seconds, max(0.0, self._deadline - self._monotonic()))
            outcome = self._send(payload, seconds)
            self._report.outcome(outcome, self.dropped.total())
            if not isinstance(outcome, Failed) or stopping:
                return outcome
            if self._monotonic() >= give_up:
                return outcome
            # Not all at one moment, where many exporters send to one endpoint.
            jittered = pause * (0.5 + self._rand() / 2)
            asked = min(outcome.retry_after or 0.0, _GIVE_UP_SECONDS)
            self._wait(max(asked, jittered))  # when it is to end, one try is left
            pause = min(pause * 2, _MAX_RETRY_SECONDS)

    def _send(self, payload: bytes, seconds: float) -> Outcome:
        began = self._monotonic()
        try:
            outcome = self._channel.send(payload, seconds)
        except Exception as error:  # noqa: BLE001  # a fault of the channel must not end the thread
            outcome = Failed(repr(error))
        if self._observed is not None:
            self._observed(_KINDS[type(outcome)], self._monotonic() - began)
        self.last = outcome
        return outcome

    def _count(self, outcome: Outcome, spans: int) -> None:
        if isinstance(outcome, Accepted):
            rejected = min(outcome.rejected, spans)
            self.exported += spans - rejected
            self.dropped["partial_rejected"] += rejected
        elif isinstance(outcome, Refused):
            self.dropped["refused"] += spans
        else:
            stopping = self._stopping.is_set()
            self.dropped["shutdown" if stopping else "retries_exhausted"] += spans
