"""What the exporter's environment says of the resource, for spans and for metrics."""


def environment_attributes() -> dict[str, str]:
    """Return OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME (as service.name) of this process.

    Read by the SDK's own detector, so that they mean here what they mean everywhere.
    """
    # Here, since it loads much that a process without OTLP can do without.
    from opentelemetry.sdk.resources import OTELResourceDetector

    found = OTELResourceDetector().detect().attributes
    return {key: str(value) for key, value in found.items()}
