"""The settings of the actions: off by default, and complete when on."""

from pathlib import Path
from typing import Any

import pytest

from z4j_exporter.config import build_settings
from z4j_exporter.errors import ConfigError

NEEDED = {
    "actions_token_file": "/etc/z4j/tokens.yml",
    "actions_journal_path": "/var/lib/z4j/journal.db",
    "actions_audit_path": "/var/lib/z4j/audit.jsonl",
}


def test_they_are_off_and_for_this_machine_only() -> None:
    settings = build_settings()
    assert settings.actions is False
    assert settings.actions_listen_address == "127.0.0.1:9809"
    assert (settings.actions_max_retries_chain, settings.actions_bulk_cap) == (3, 1000)


def test_on_they_need_their_files() -> None:
    settings = build_settings({"actions": True, **NEEDED})
    assert settings.actions_token_file == Path("/etc/z4j/tokens.yml")
    for name in NEEDED:
        rest = {key: value for key, value in NEEDED.items() if key != name}
        with pytest.raises(ConfigError) as caught:
            build_settings({"actions": True, **rest})
        assert caught.value.message.endswith(f"without --{name.replace('_', '-')}")
        build_settings(rest)


@pytest.mark.parametrize(
    "layer",
    [
        {"actions_bulk_cap": 10_001},
        {"actions_bulk_cap": 0},
        {"actions_bulk_rate": 0},
        {"actions_bulk_rate": float("inf")},
        {"actions_rate": -1},
        {"actions_max_retries_chain": 0},
        {"actions": "perhaps"},
    ],
)
def test_what_cannot_be_is_refused_by_its_name(layer: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(layer)).replace("_", "-")):
        build_settings(layer)
