"""Says who pushes the metrics: the OTLP resource of the exporter itself."""

import uuid
from collections.abc import Mapping

from z4j_exporter import __version__
from z4j_exporter.otlp.resource import environment_attributes

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
        **environment_attributes(environ),
    }
    if name := environ.get("OTEL_SERVICE_NAME", "").strip():
        attributes["service.name"] = name
    return attributes
