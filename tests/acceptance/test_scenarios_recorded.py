"""The recordings in tests/fixtures hold what their scenarios say, and nothing of a machine."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support.scenarios import GOLDEN, SCENARIOS

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
FILES = [
    *(RECORDINGS / f"{name}.jsonl" for name in SCENARIOS),
    *(RECORDINGS / f"{name}.rabbitmq.jsonl" for name in GOLDEN),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_recording_holds_its_scenario(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    types = Counter(line["event"]["type"] for line in lines)
    of_tasks = {kind: n for kind, n in types.items() if not kind.startswith("worker-")}
    assert of_tasks == SCENARIOS[path.name.split(".")[0]].events
    assert types["worker-online"] >= 1
    arrivals = [line["received_at"] for line in lines]
    assert arrivals == sorted(arrivals)
    assert all(set(line) == {"received_at", "event"} for line in lines)
    # A field that a receiver adds must not be there.
    assert not [line for line in lines if "local_received" in line["event"]]
    # Full nodenames, of the hosts that the scenarios name.
    hosts = {line["event"]["hostname"].partition("@")[2] for line in lines}
    assert hosts <= {"host1", "host2"}
