"""The settings of the demo's exporter: all there is to see, with its files in one directory."""

from pathlib import Path
from typing import Any

from z4j_exporter.demo.access import Access

#: Spans that it remembers: some minutes of them.
_MEMORY_SPANS = 5_000
#: Seconds between two pushes of metrics, where they are pushed.
_PUSH_SECONDS = 5.0


def exporter_settings(
    *,
    broker_url: str,
    listen_address: str,
    directory: Path,
    access: Access,
    otlp_endpoint: str,
    otlp_metrics: bool,
) -> dict[str, Any]:
    """Return the settings by their names; ``directory`` is there and nobody else's."""
    return {
        "broker_url": broker_url,
        "listen_address": listen_address,
        # Someone is watching: look more often than is usual.
        "queue_poll_interval": 2.0,
        "inspect_interval": 10.0,
        "trace_memory_spans": _MEMORY_SPANS,
        "otlp_endpoint": otlp_endpoint,
        "otlp_metrics": otlp_metrics,
        "otlp_metrics_interval": _PUSH_SECONDS,
        "journal_path": directory / "journal.db",
        # The groups of tasks are read from it too, as where no capture hook is installed.
        "result_backend_url": broker_url,
        "actions": True,
        "actions_listen_address": str(access.address),
        "actions_token_file": access.token_file,
        "actions_rules_file": access.rules_file,
        "actions_journal_path": directory / "actions.db",
        "actions_audit_path": directory / "audit.jsonl",
    }
