"""The settings of reading events and serving metrics; a part of Settings (config/__init__.py)."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

#: The port that Prometheus's list of default ports gives to a Celery exporter.
DEFAULT_LISTEN_ADDRESS = ":9808"

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Profile = Literal["native", "celery-exporter", "flower"]


def _secret(description: str, default: Any = None) -> Any:
    return Field(default, description=description, json_schema_extra={"secret": True}, repr=False)


class CoreSettings(BaseModel):
    """Where events come from, what is served, and how it is named and bounded."""

    # where events come from
    broker_url: str | None = _secret(
        "The broker: redis://, rediss://, redis+socket://, sentinel://, amqp://, amqps://, or "
        "another transport of kombu's. Several, for failover, are separated by semicolons."
    )
    app: str | None = Field(
        None,
        description="The Celery application, module:attribute: broker, transport options, TLS and "
        "event settings are taken from it where they are not set here.",
    )
    recording: Path | None = Field(
        None, description="Read events from a recording (JSON lines) instead of a broker."
    )
    broker_transport_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Transport options as in Celery's broker_transport_options, KEY=VALUE: "
        "fanout_prefix, global_keyprefix, master_name, sentinel_kwargs, …",
        json_schema_extra={"option": "broker-transport-option"},
    )
    broker_ssl_options: dict[str, Any] = Field(
        default_factory=dict,
        description="TLS options as in Celery's broker_use_ssl, KEY=VALUE: ssl_ca_certs, "
        "ssl_certfile, ssl_keyfile, ssl_cert_reqs (Redis); ca_certs, certfile, keyfile, … (AMQP).",
        json_schema_extra={"option": "broker-ssl-option"},
    )
    event_exchange: str = Field("celeryev", description="Celery's event_exchange.")
    event_queue_prefix: str = Field("celeryev", description="Celery's event_queue_prefix (AMQP).")
    event_queue_exclusive: bool = Field(
        True,
        description="Whether the event queue is exclusive (AMQP); RabbitMQ 4.3 refuses transient "
        "queues that are not.",
    )
    event_queue_durable: bool = Field(
        False,
        description="Whether the event queue is durable (AMQP): it keeps events while the "
        "connection is lost, not over a restart; not with exclusive.",
    )
    event_queue_ttl: Seconds | None = Field(
        60.0, description="Seconds an event may wait in the queue (AMQP)."
    )
    event_queue_expires: Seconds | None = Field(
        60.0, description="Seconds without a consumer after which the queue goes (AMQP)."
    )

    # serving
    listen_address: str = Field(
        DEFAULT_LISTEN_ADDRESS, description="Where to serve: HOST:PORT, :PORT or unix:/path."
    )
    web_config_file: Path | None = Field(
        None, description="TLS, client certificates and users, in exporter-toolkit's format."
    )

    # naming
    metrics_profile: Profile = Field(
        "native", description="Names and labels: native, or those of celery-exporter or flower."
    )
    task_worker_label: bool = Field(
        False, description="Give native task metrics a worker label (many more series)."
    )
    task_label_allow: list[str] = Field(
        default_factory=list,
        description="Regular expression: only matching tasks get series of their own.",
    )
    task_label_deny: list[str] = Field(
        default_factory=list,
        description="Regular expression: matching tasks are counted as __filtered__.",
    )
    worker_label_rewrite: list[str] = Field(
        default_factory=list,
        description=r"PATTERN=REPLACEMENT for worker labels, such as '(.*)@web-.*=\1@web'.",
    )
    max_series: int = Field(10_000, ge=1, description="Series that one metric family may have.")
    buckets: dict[str, tuple[float, ...]] = Field(
        default_factory=dict,
        description="Histogram buckets of a family: celery_task_runtime_seconds=0.1,1,10.",
    )
    default_queue_name: str = Field(
        "celery", description="queue_name where it is unknown (profile celery-exporter)."
    )
    metric_prefix: str = Field(
        "celery_",
        pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        description="Prefix of the names of the celery-exporter profile.",
    )
    static_labels: dict[str, str] = Field(
        default_factory=dict,
        description="KEY=VALUE on every series (profile celery-exporter).",
        json_schema_extra={"option": "static-label"},
    )
    generic_hostname_task_sent_metric: bool = Field(
        False, description="hostname=generic on task_sent (profile celery-exporter)."
    )
    generic_hostname_worker_task_metric: bool = Field(
        False, description="hostname=generic on workers' task metrics (profile celery-exporter)."
    )

    # tracking
    max_tasks: int = Field(
        100_000, ge=100, description="Tasks remembered; the oldest finished ones go first."
    )
    task_give_up_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        86_400.0, description="Seconds without an event after which a task is given up."
    )
    worker_timeout: Seconds = Field(
        60.0, description="Seconds without a heartbeat until a worker counts as down; 0: never."
    )
    purge_offline_worker_metrics: Seconds = Field(
        1800.0, description="Seconds that a worker which is down keeps its series; 0: for ever."
    )

    # queues
    queues: list[str] = Field(
        default_factory=list,
        description="Queue to watch even if nobody consumes it; others are found by themselves.",
        json_schema_extra={"option": "queue"},
    )
    queue_allow: list[str] = Field(
        default_factory=list, description="Regular expression: only matching queues are watched."
    )
    queue_deny: list[str] = Field(
        default_factory=list, description="Regular expression: matching queues are not watched."
    )
    queue_poll_interval: Seconds = Field(
        15.0, description="Seconds between looks at the queues (jittered); 0: never."
    )
    queue_poll_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        10.0, description="Seconds that one look at the queues may take."
    )
    unacked_scan_limit: int = Field(
        20_000, ge=0, description="Entries of Redis's unacked hash that one look reads; 0: none."
    )
    rabbitmq_management_url: str | None = _secret(
        "RabbitMQ's management API, http(s)://user:password@host:15672; several separated by "
        "semicolons. Derived from the broker URL by default, where that has the usual port."
    )
    rabbitmq_management_ca_file: Path | None = Field(
        None, description="CA certificates for the management API."
    )
    rabbitmq_management_insecure: bool = Field(
        False, description="Accept any certificate of the management API."
    )

    # workers
    inspect_interval: Seconds = Field(
        60.0, description="Seconds between questions to the workers (inspect); 0: never ask."
    )
    inspect_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        15.0,
        description="Seconds that answers of workers are waited for; less when all have answered.",
    )

    # limits
    buffer_bytes: int = Field(
        384 * 1024 * 1024, ge=1024 * 1024, description="Bytes of events that may wait in memory."
    )
    max_message_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, description="Bytes of one message; larger ones are refused."
    )

    # logging
    log_format: Literal["text", "json"] = Field("text", description="Format of log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least level that is logged."
    )

    @property
    def broker_tls(self) -> dict[str, Any] | bool | None:
        """TLS options as in broker_use_ssl; True asks for TLS with nothing special, None for none.

        The option ``enabled`` is our own: ``enabled=true`` alone asks for TLS, false for none.
        """
        options = dict(self.broker_ssl_options)
        if not options:
            return None
        return bool(options.pop("enabled", True)) and (options or True)

    @field_validator("buckets")
    @classmethod
    def _check_buckets(cls, value: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for family, bounds in value.items():
            finite = [b for b in bounds if not math.isinf(b)]
            if not finite or sorted(set(finite)) != finite or any(map(math.isnan, bounds)):
                raise ValueError(f"buckets of {family} must be finite numbers that increase")
        return {
            family: tuple(b for b in bounds if not math.isinf(b))
            for family, bounds in value.items()
        }

    @field_validator("static_labels")
    @classmethod
    def _check_static_labels(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not name.isidentifier() or not name.isascii() or name.startswith("__"):
                raise ValueError(f"{name!r} is not a label name")
        return value
