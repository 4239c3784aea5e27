"""Makes the span exporter that the settings and OpenTelemetry's variables ask for."""

import math
import os
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
)

from z4j_exporter.config.otlp import OtlpSettings
from z4j_exporter.errors import ConfigError
from z4j_exporter.otlp.channel import open_channel
from z4j_exporter.otlp.resource import environment_attributes
from z4j_exporter.tracing.encode import SpanEncoder
from z4j_exporter.tracing.export import BATCH_SPANS, DELAY_SECONDS, Observed, SpanExporter

#: The longest delay, a minute: spans of one trace that come further apart are of little use.
_MAX_DELAY_SECONDS: Final = 60.0
#: The most spans of one request; more would not fit into what receivers take.
_MAX_BATCH_SPANS: Final = 8192


def open_span_exporter(
    settings: OtlpSettings,
    environment: Mapping[str, str] = os.environ,
    *,
    observed: Observed | None = None,
) -> SpanExporter | None:
    """Return the exporter, not started; None where no spans are to be sent.

    ``observed`` is told of each request, in the export thread. Raises ConfigError or FileError
    that name the option or variable, never its value.
    """
    channel = open_channel(settings, "traces", environment)
    if channel is None:
        return None
    max_spans = settings.trace_queue_spans
    if "trace_queue_spans" not in settings.model_fields_set:
        max_spans = _count(environment, OTEL_BSP_MAX_QUEUE_SIZE) or max_spans
    batch_spans = _count(environment, OTEL_BSP_MAX_EXPORT_BATCH_SIZE) or BATCH_SPANS
    return SpanExporter(
        channel,
        SpanEncoder(environment_attributes(environment)),
        max_spans=max_spans,
        batch_spans=min(batch_spans, _MAX_BATCH_SPANS),
        delay_seconds=_delay(environment),
        observed=observed,
    )


def _count(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigError(f"{name} is not a whole number above 0")
    return number


def _delay(environment: Mapping[str, str]) -> float:
    text = environment.get(OTEL_BSP_SCHEDULE_DELAY, "").strip()
    if not text:
        return DELAY_SECONDS
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = math.nan
    if not 0 <= milliseconds < math.inf:
        raise ConfigError(
            f"{OTEL_BSP_SCHEDULE_DELAY} is not a number from 0 on", hint="Use milliseconds: 1000."
        )
    return min(milliseconds / 1000, _MAX_DELAY_SECONDS)
