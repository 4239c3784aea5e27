"""The settings of the journal, the store of payloads and the result backend; a part of Settings."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _secret(description: str) -> Any:
    return Field(None, description=description, json_schema_extra={"secret": True}, repr=False)


class CaptureSettings(BaseModel):
    """The journal of payloads, the store the capture hook writes to, and the result backend."""

    journal_path: Path | None = Field(
        None,
        description="File (SQLite) that keeps what the capture hook tells of published messages, "
        "arguments too. Nothing is kept without one.",
    )
    journal_max_age: Positive = Field(
        7 * 86_400.0, description="Seconds that the journal keeps a message."
    )
    journal_max_bytes: int = Field(
        1024**3,
        ge=4 * 1024**2,
        description="Bytes that the journal's files may have; the oldest messages go first.",
    )
    capture_store_url: str | None = _secret(
        "Redis that the capture hook stores payloads in (its store_url): redis://, rediss:// or "
        "redis+socket://."
    )
    capture_store_key: str | None = _secret(
        "The Fernet key that the capture hook encrypts stored payloads with (its store_key)."
    )
    result_backend_url: str | None = _secret(
        "Celery's result backend: the groups of tasks are read from it where no capture hook tells "
        "them. Taken from the Celery application, too."
    )
    result_backend_transport_options: dict[str, Any] = Field(
        default_factory=dict,
        description="As Celery's result_backend_transport_options, KEY=VALUE: global_keyprefix, "
        "master_name, sentinel_kwargs, …",
        json_schema_extra={"option": "result-backend-transport-option"},
    )
    result_backend_ssl_options: dict[str, Any] = Field(
        default_factory=dict,
        description="TLS options as in Celery's redis_backend_use_ssl, KEY=VALUE: ssl_ca_certs, "
        "ssl_certfile, ssl_keyfile, ssl_cert_reqs.",
        json_schema_extra={"option": "result-backend-ssl-option"},
    )
    result_backend_rate: int = Field(
        200, ge=0, description="Tasks looked up in the result backend in a second; 0: none."
    )
