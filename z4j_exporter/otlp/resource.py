"""Reads what the exporter's environment says of the OTLP resource, for spans and for metrics."""

import logging
from collections.abc import Mapping
from urllib.parse import unquote

logger = logging.getLogger(__name__)


def environment_attributes(environment: Mapping[str, str]) -> dict[str, str]:
    """Return OTEL_RESOURCE_ATTRIBUTES: ``key=value,key=value``, percent-encoded.

    If one part is wrong the whole text is left out, as the specification asks, and a line is
    logged without it (opentelemetry.io/docs/specs/otel/resource/sdk/).
    """
    attributes = {}
    for part in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        if not part.strip():
            continue
        key, separator, value = part.partition("=")
        if not separator or not key.strip():
            logger.warning("OTEL_RESOURCE_ATTRIBUTES is not key=value,key=value: it is left out")
            return {}
        attributes[unquote(key.strip())] = unquote(value.strip())
    return attributes
