"""The settings of traces and of what is pushed by OTLP; a part of Settings.

Where a setting is absent, OpenTelemetry's own variable is asked (``OTEL_EXPORTER_OTLP_…``), then
its default holds.
"""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class OtlpSettings(BaseModel):
    """Traces, and where they and the metrics are pushed to."""

    otlp_endpoint: str | None = Field(
        None,
        description="OTLP endpoint to send spans to: http://collector:4318 or, with grpc, "
        "http://collector:4317. No spans are made without one.",
        json_schema_extra={"secret": True},
        repr=False,
    )
    otlp_protocol: Literal["http/protobuf", "grpc"] | None = Field(
        None, description="OTLP protocol; by default http/protobuf."
    )
    otlp_headers: dict[str, Any] = Field(
        default_factory=dict,
        description="KEY=VALUE sent with each OTLP request, such as an API key.",
        json_schema_extra={"option": "otlp-header", "secret": True},
        repr=False,
    )
    otlp_ca_file: Path | None = Field(
        None, description="CA certificates for the OTLP endpoint (PEM)."
    )
    otlp_client_certificate_file: Path | None = Field(
        None, description="Client certificate for the OTLP endpoint (PEM)."
    )
    otlp_client_key_file: Path | None = Field(
        None, description="Key of the client certificate (PEM)."
    )
    otlp_compression: Literal["gzip", "none"] | None = Field(
        None, description="Compression of OTLP requests; by default none."
    )
    otlp_timeout: Positive | None = Field(
        None, description="Seconds that one OTLP request may take; by default 10."
    )
    otlp_metrics: bool = Field(False, description="Push all metrics to the OTLP endpoint too.")
    otlp_metrics_interval: Positive | None = Field(
        None, description="Seconds between two pushes of metrics; by default 60."
    )
    trace_ratio: Ratio = Field(
        1.0,
        description="Part of the traces that is kept, decided by the trace id: every exporter "
        "keeps the same.",
    )
    trace_keep: list[str] = Field(
        default_factory=lambda: ["failed", "lost"],
        description="What is kept whatever the ratio: failed, lost, slow:30s (a task that ran for "
        "longer); separated by commas, or none.",
    )
    trace_service: list[str] = Field(
        default_factory=list,
        description=r"PATTERN=SERVICE names the service of a nodename: 'shop-\d+@.*=shop'. By "
        "default what stands before the @, without a number at its end.",
    )
    trace_wait_spans: bool = Field(
        False, description="A span of its own for the time in the queue."
    )
    trace_retry_error: bool = Field(
        False, description="Mark an attempt that is retried as an error."
    )
    trace_queue_spans: int = Field(
        20_000, ge=100, description="Spans that may wait for the endpoint; more are dropped."
    )
    trace_memory_spans: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Latest spans remembered for `z4j-exporter trace`: 5000 by default where there "
        "is an endpoint. Setting it makes spans without an endpoint too.",
    )
    trace_url: str | None = Field(
        None,
        description="Where traces are kept, for links on the status page: an http(s) address with "
        "{trace_id} in it, such as https://jaeger.example/trace/{trace_id}.",
    )

    @field_validator("trace_url")
    @classmethod
    def _check_trace_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
        except ValueError:
            raise ValueError("it cannot be understood as an address") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it must begin with http:// or https:// and name a host")
        if parts.username or parts.password:
            raise ValueError(
                "it must hold no user and no password: everyone who sees the page would"
            )
        if "{trace_id}" not in f"{parts.path}?{parts.query}#{parts.fragment}":
            raise ValueError("it must hold {trace_id} behind the host")
        return value
