"""The parts of a running exporter that its status is gathered from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from z4j_exporter.background import Background
from z4j_exporter.capturing import Capturing
from z4j_exporter.config import Settings
from z4j_exporter.metrics.exporter import OwnMetrics, OwnReadings
from z4j_exporter.pipeline.applier import Applier
from z4j_exporter.pipeline.buffer import Buffer
from z4j_exporter.pipeline.reader import Reader
from z4j_exporter.sources.base import Source
from z4j_exporter.status.recent import Recent
from z4j_exporter.telemetry import Telemetry
from z4j_exporter.web.pages import Readiness
from z4j_exporter.web.status import Advice

if TYPE_CHECKING:
    # It loads much (FastAPI) that a process without actions can do without.
    from z4j_exporter.acting import Acting


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is asked. The applier's thread alone may touch the tracker and ``recent``."""

    settings: Settings
    source: Source
    reader: Reader
    buffer: Buffer
    applier: Applier
    background: Background
    telemetry: Telemetry
    capturing: Capturing
    own: OwnMetrics
    recent: Recent
    #: For the applier's thread.
    readings: Callable[[], OwnReadings]
    #: None where actions are off.
    acting: "Callable[[], Acting | None]"
    ready: Callable[[], Readiness]
    healthy: Callable[[], Readiness]
    advice: Callable[[], Sequence[Advice]]
    monotonic: Callable[[], float] = field(default=time.monotonic)
    wall: Callable[[], float] = field(default=time.time)
