"""Says who pushes the metrics: the OTLP resource of the exporter itself."""

import logging
import uuid
from collections.abc import Mapping
from urllib.parse import unquote

from z4j_exporter import __version__

logger = logging.getLogger(__name__)

#: Made once: it stays the same for as long as the process lives.
INSTANCE_ID = str(uuid.uuid4())


def own_resource(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes: ours, then OTEL_RESOURCE_ATTRIBUTES, then OTEL_SERVICE_NAME.

    The order is that of OpenTelemetry's specification (resource/sdk.md; sdk-environment-variables).
    """
    attributes = {
        "service.name": "z4j-exporter",
        "service.version": __version__,
        "service.instance.id": INSTANCE_ID,
        **_given(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")),
    }
    if name := environ.get("OTEL_SERVICE_NAME", "").strip():
        attributes["service.name"] = name
    return attributes


def _given(text: str) -> dict[str, str]:
    """Read ``key=value,key=value``, values percent-encoded.

    If one part is wrong the whole text is left out, as the specification asks.
    """
    attributes = {}
    for part in text.split(","):
        if not part.strip():
            continue
        key, separator, value = part.partition("=")
        if not separator or not key.strip():
            logger.warning("OTEL_RESOURCE_ATTRIBUTES is not key=value,key=value: it is left out")
            return {}
        attributes[unquote(key.strip())] = unquote(value.strip())
    return attributes
