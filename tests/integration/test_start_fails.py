"""A start that fails half-way leaves nothing behind: no thread, no port, no file."""

import gc
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import free_port, wait_until
from tests.support.servers import Redis
from z4j_exporter.app import Exporter
from z4j_exporter.config import Settings, build_settings
from z4j_exporter.errors import ListenError


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Undo what a start changes in this process."""
    before = (gc.get_threshold(), sys.getswitchinterval())
    yield
    gc.unfreeze()
    gc.set_threshold(*before[0])
    sys.setswitchinterval(before[1])


def settings(broker: str, directory: Path, pages: int, actions: int) -> Settings:
    tokens = directory / "tokens.yml"
    tokens.write_text("tokens: []\n")
    tokens.chmod(0o600)
    return build_settings(
        {
            "broker_url": broker,
            "listen_address": f"127.0.0.1:{pages}",
            "journal_path": directory / "journal.db",
            "actions": True,
            "actions_listen_address": f"127.0.0.1:{actions}",
            "actions_token_file": tokens,
            "actions_journal_path": directory / "actions.db",
            "actions_audit_path": directory / "audit.jsonl",
        }
    )


def can_be_bound(port: int) -> None:
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("taken", ["actions", "pages"])
def test_a_port_that_is_taken_undoes_the_whole_start(
    valkey: Redis, tmp_path: Path, taken: str
) -> None:
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"pages": free_port(), "actions": free_port(), taken: other.getsockname()[1]}
        given = settings(valkey.url, tmp_path, **ports)
        with pytest.raises(ListenError, match=str(ports[taken])):
            Exporter(given).start()

    def left() -> set[threading.Thread]:
        return set(threading.enumerate()) - before

    wait_until(lambda: not left(), timeout=15, message=lambda: f"the end of {left()}")
    for port in ports.values():
        can_be_bound(port)
    # The files are free as well: the same start works, and ends.
    exporter = Exporter(given)
    exporter.start()
    exporter.stop()
    wait_until(lambda: not left(), timeout=15, message=lambda: f"the end of {left()}")
