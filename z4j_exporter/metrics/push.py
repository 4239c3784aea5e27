"""Pushes all metrics by OTLP, every interval and once more at the end.

Counters are cumulative: what one push could not deliver, the next one carries. Nothing is kept.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from z4j_exporter.config.otlp import OtlpSettings
from z4j_exporter.errors import ConfigError
from z4j_exporter.metrics.export_durations import ExportDurations, ExportOutcome
from z4j_exporter.metrics.resource import own_resource
from z4j_exporter.metrics.store import FamilySnapshot
from z4j_exporter.otlp.channel import Channel, open_channel
from z4j_exporter.otlp.outcome import Accepted, Failed, Outcome, Refused

logger = logging.getLogger(__name__)

#: Seconds between two pushes, in OpenTelemetry's specification.
DEFAULT_INTERVAL_SECONDS = 60.0
#: The longest interval, a year: what is longer does not fit into the clock.
_MAX_INTERVAL_SECONDS = 365 * 86400.0
#: Seconds that an endpoint may ask to be left alone; an hour without metrics is long enough.
_MAX_LEAVE_SECONDS = 3600.0
#: Seconds before the first retry, and the most before a later one: OTLP asks for exponential
#: backoff.
_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS = 1.0, 30.0

Take = Callable[[], list[FamilySnapshot]]


class Encoder(Protocol):
    """Turns snapshots into requests; see otlp.MetricsEncoder."""

    def encode(self, snapshots: Sequence[FamilySnapshot], now_ns: int) -> list[bytes]:
        """Return the requests."""


class MetricsPush(threading.Thread):
    """The thread that pushes. ``take`` is called in it, and may raise.

    ``exports`` counts each request. ``monotonic``, ``wall_ns``, ``rand`` (numbers from 0 to 1)
    and ``wait`` (waits so many seconds, true when it is to end) are there for tests.
    """

    def __init__(
        self,
        take: Take,
        encoder: Encoder,
        channel: Channel,
        exports: ExportDurations,
        *,
        interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        rand: Callable[[], float] = random.random,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        super().__init__(name="otlp-metrics", daemon=True)
        self._take = take
        self._encoder = encoder
        self._channel = channel
        self._exports = exports
        self._interval = interval_seconds
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        self._rand = rand
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._last_deadline = 0.0
        #: What was logged last; each state is logged once, when it begins.
        self._state = "ok"
        #: What became of the last request; None before the first. Replaced, never changed.
        self.last: Outcome | None = None

    @property
    def location(self) -> str:
        """Where metrics go, without secrets."""
        return self._channel.location

    def stop(self, timeout_seconds: float) -> None:
        """Push once more and end; a peer that hangs is left to end with the process."""
        self._last_deadline = self._monotonic() + timeout_seconds
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_seconds)

    def run(self) -> None:
        """Push until stopped."""
        due = self._monotonic() + self._interval
        while not self._wait(max(0.0, due - self._monotonic())):
            wait = self.push(until=due + self._interval)
            now = self._monotonic()
            due += self._interval * max(1, math.ceil((now - due) / self._interval))
            due = max(due, now + wait)
        if self._monotonic() < self._last_deadline:
            self.push(until=self._last_deadline)
        self._channel.close()

    def push(self, until: float) -> float:
        """Send everything as it is now; where it may help, again and again before ``until``.

        Returns the seconds that the endpoint wants to be left alone.
        """
        try:
            requests = self._encoder.encode(self._take(), self._wall_ns())
        except Exception as error:  # noqa: BLE001  # the next push may do better
            self._tell("unread", "Metrics could not be read to be pushed: %r", error)
            return 0.0
        worst: Outcome = Accepted()
        for request in requests:
            outcome = self._deliver(request, until)
            if isinstance(outcome, Failed):  # it would be the same with the rest
                worst = outcome
                break
            if isinstance(outcome, Refused) or (isinstance(worst, Accepted) and outcome.rejected):
                worst = outcome
        self._report(worst)
        return _leave(worst) if isinstance(worst, Failed) else 0.0

    def _deliver(self, request: bytes, until: float) -> Outcome:
        """Send one request, again and again until ``until`` as long as that may help."""
        pause = _FIRST_RETRY_SECONDS
        seconds = self._channel.timeout
        if self._stopping.is_set():
            seconds = min(seconds, until - self._monotonic())
        while True:
            outcome = self._send(request, seconds)
            if not isinstance(outcome, Failed):
                return outcome
            # Not all at one moment, where many exporters push to one endpoint.
            wait = max(_leave(outcome), pause * (0.5 + self._rand() / 2))
            if self._monotonic() + wait >= until or self._wait(wait):
                return outcome
            pause = min(pause * 2, _MAX_RETRY_SECONDS)
            seconds = min(self._channel.timeout, until - self._monotonic())

    def _send(self, request: bytes, seconds: float) -> Outcome:
        began = self._monotonic()
        try:
            outcome = self._channel.send(request, max(seconds, 0.0))
        except Exception as error:  # noqa: BLE001  # a fault of the channel must not end the thread
            outcome = Failed(repr(error))
        kind = _KINDS[type(outcome)]
        self._exports.observe("metrics", kind, self._monotonic() - began)
        self.last = outcome
        return outcome

    def _report(self, outcome: Outcome) -> None:
        where = self._channel.location
        if isinstance(outcome, Failed):
            self._tell("failed", "Metrics do not reach %s: %s", where, outcome.reason)
        elif isinstance(outcome, Refused):
            self._tell("refused", "%s refuses the metrics: %s", where, outcome.reason)
        elif outcome.rejected:
            points, said = outcome.rejected, outcome.message
            self._tell("partial", "%s refuses %d data points: %s", where, points, said)
        elif self._state != "ok":
            self._state = "ok"
            logger.info("Metrics reach %s again", where)

    def _tell(self, state: str, text: str, *values: object) -> None:
        if state != self._state:
            self._state = state
            logger.warning(f"{text} (told once)", *values)


def _leave(outcome: Failed) -> float:
    """Return the seconds that the endpoint asks to be left alone; what makes no sense is 0."""
    return min(max(0.0, outcome.retry_after or 0.0), _MAX_LEAVE_SECONDS)


_KINDS: Mapping[type[Outcome], ExportOutcome] = {
    Accepted: "ok",
    Refused: "refused",
    Failed: "failed",
}


def make_push(
    settings: OtlpSettings,
    take: Take,
    exports: ExportDurations,
    environ: Mapping[str, str],
    *,
    start_ns: int,
) -> MetricsPush | None:
    """Return the thread that pushes, not started; None where nothing is to be pushed.

    ``start_ns``: since when the counters count, nanoseconds since the epoch. Raises ConfigError
    and FileError that name the option or variable.
    """
    if not settings.otlp_metrics:
        return None
    channel = open_channel(settings, "metrics", environ)
    if channel is None:
        logger.warning("--otlp-metrics has no effect: no endpoint is set, or OTLP is turned off")
        return None
    # Here, since its messages load much that a process without OTLP can do without.
    from z4j_exporter.metrics.otlp import MetricsEncoder

    return MetricsPush(
        take,
        MetricsEncoder(own_resource(environ), start_ns),
        channel,
        exports,
        interval_seconds=interval_seconds(settings, environ),
    )


def interval_seconds(settings: OtlpSettings, environ: Mapping[str, str]) -> float:
    """Return the interval: ours, else OTEL_METRIC_EXPORT_INTERVAL (ms), else a minute.

    Raises ConfigError for a variable that is no number above 0.
    """
    if settings.otlp_metrics_interval is not None:
        return min(settings.otlp_metrics_interval, _MAX_INTERVAL_SECONDS)
    text = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    if not text:
        return DEFAULT_INTERVAL_SECONDS
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = math.nan
    if not 0 < milliseconds < math.inf:
        raise ConfigError(
            "OTEL_METRIC_EXPORT_INTERVAL is not a number above 0", hint="Use milliseconds: 60000."
        )
    return min(milliseconds / 1000, _MAX_INTERVAL_SECONDS)
