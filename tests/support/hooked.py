"""Plays events and the capture hook's notes to a tracer; records both from real workers.

``python -m tests.support.hooked --record DIR [NAME ...]`` plays each scenario on a Valkey and a
worker of its own and writes ``DIR/NAME.jsonl``, in the form of tests/fixtures/README.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import chain, chord, group

from tests.support import servers
from tests.support.capturing import Captured, capturing
from tests.support.process import remove_scratch
from tests.support.tracing import ADDRESS, PORT, SYSTEM, Arrival, Played, story
from z4j_exporter.config import Settings
from z4j_exporter.events.captured import Captured as Note
from z4j_exporter.events.captured import Envelope, captured
from z4j_exporter.events.decode import event_from_object
from z4j_exporter.tracing.hooked import HookFacts
from z4j_exporter.tracing.tracer import make_tracer
from z4j_exporter.track.cluster import make_cluster
from z4j_exporter.track.trace_roots import TraceRoots

if TYPE_CHECKING:
    from z4j_exporter.events.model import Event
    from z4j_exporter.tracing.model import Span
    from z4j_exporter.track.transitions import Transition

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "hooked"

# -- playing -----------------------------------------------------------------------------------


class _Notes:
    """What the tracer wants to know of the hook's notes."""

    def __init__(self) -> None:
        self.roots, self.facts = TraceRoots(), HookFacts()

    def captured(self, note: Note, _event: Event, _now: float) -> None:
        self.roots.learn(note)
        self.facts.learn(note)

    def tick(self, now: float) -> None:
        pass


def play_hooked(
    arrivals: Sequence[Arrival],
    *,
    phase: float = 0.0,
    after: float = 6.0,
    system: str = SYSTEM,
    retried: Mapping[str, str] | None = None,
    **settings: Any,
) -> Played:
    """Apply events as they were received, with a tick each second (shifted by ``phase``).

    ``retried``: new id → old one, of tasks that actions sent.
    """
    chosen = Settings(**{"otlp_endpoint": "http://collector:4318", **settings})
    batches: list[list[Span]] = []
    told: list[Transition] = []
    notes = _Notes()
    for new_id, old_id in (retried or {}).items():
        notes.facts.retried.learn(new_id, old_id)
    tracer = make_tracer(
        chosen,
        system=system,
        address=ADDRESS,
        port=PORT,
        emit=batches.append,
        roots=notes.roots,
        captured=notes.facts.of,
        retry_of=notes.facts.retried.of,
    )
    cluster = make_cluster(chosen, told.append, tracer, notes)
    tracer.attach(cluster.task)
    tick = arrivals[0][0] - 1.0 + phase
    for received, event in arrivals:
        while tick + 1.0 <= received:
            tick += 1.0
            cluster.tick(tick)
        cluster.apply(event, received, received)
    for _ in range(int(after)):
        tick += 1.0
        cluster.tick(tick)
    cluster.flush()
    assert not cluster.refused
    return Played(tracer, cluster, batches, told)


def recorded_hooked(name: str) -> list[Arrival]:
    """Return the (received_at, event) of a recording with the hook."""
    lines = (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return [(entry["received_at"], event_from_object(entry["event"])) for entry in entries]


def groups_of(arrivals: Sequence[Arrival]) -> list[str]:
    """Return the ids of groups in the order in which envelopes name them."""
    found: dict[str, None] = {}
    for _, event in arrivals:
        if event.type == "z4j-envelope":
            note = captured(event)
            if isinstance(note, Envelope) and note.group_id is not None:
                found.setdefault(note.group_id)
    return list(found)


def story_hooked(played: Played, arrivals: Sequence[Arrival]) -> str:
    """Write spans as `story` does; the trace of a group is called by its number."""
    tasks = [(at, event) for at, event in arrivals if event.type.startswith("task-")]
    text = story(played.spans, tasks)
    for number, group_id in enumerate(groups_of(arrivals), 1):
        text = text.replace(f"trace {group_id.replace('-', '')}", f"trace of group {number}")
    return text


# -- recording ---------------------------------------------------------------------------------

#: Name → what is played, and how many tasks end well.
SCENARIOS: dict[str, tuple[Callable[[Captured], None], int]] = {}


def scenario(tasks: int) -> Callable[[Callable[[Captured], None]], Callable[[Captured], None]]:
    """Register a scenario with the number of its tasks, which all succeed in the end."""

    def register(act: Callable[[Captured], None]) -> Callable[[Captured], None]:
        SCENARIOS[act.__name__] = (act, tasks)
        return act

    return register


def adds(shop: Captured, n: int) -> list[Any]:
    """Make n small tasks."""
    return [shop.signature("add", i, i) for i in range(n)]


@scenario(3)
def group_on_top(shop: Captured) -> None:
    group(adds(shop, 3), app=shop.app).apply_async()


@scenario(4)
def chord_on_top(shop: Captured) -> None:
    chord(adds(shop, 3), shop.signature("total"), app=shop.app).apply_async()


@scenario(4)
def chains_in_group(shop: Captured) -> None:
    pairs = [chain(each, shop.signature("add", 1), app=shop.app) for each in adds(shop, 2)]
    group(pairs, app=shop.app).apply_async()


@scenario(5)
def nested_chords(shop: Captured) -> None:
    inner = chord(adds(shop, 2), shop.signature("total"), app=shop.app)
    outer = [inner, shop.signature("add", 5, 5)]
    chord(outer, shop.signature("total"), app=shop.app).apply_async()


@scenario(5)
def chain_of_groups(shop: Captured) -> None:
    echoes = [shop.signature("echo") for _ in range(2)]
    then = shop.signature("echo")
    chain(
        group(adds(shop, 2), app=shop.app), group(echoes, app=shop.app), then, app=shop.app
    ).apply_async()


@scenario(2)
def retry_in_group(shop: Captured) -> None:
    group([shop.signature("flaky", 1), shop.signature("add", 1, 1)], app=shop.app).apply_async()


@scenario(2)
def replaced_in_group(shop: Captured) -> None:
    group([shop.signature("replaced"), shop.signature("add", 1, 1)], app=shop.app).apply_async()


@scenario(4)
def group_inside(shop: Captured) -> None:
    shop.signature("fan_out", 3).apply_async()


def record(name: str, directory: Path) -> None:
    """Play one scenario and write what was sent."""
    act, tasks = SCENARIOS[name]
    with (
        servers.valkey() as broker,
        capturing(broker.url, backend=broker.url, settings={"task_send_sent_event": True}) as shop,
    ):
        shop.worker(nodename="w1@host1")
        act(shop)
        gc.collect()  # results unsubscribe when they go: now, while the backend is there
        shop.listener.wait(
            lambda events: (
                sum(e["type"] == "task-succeeded" for e in events) >= tasks
                and sum(e["type"] == "z4j-end" for e in events) >= tasks
            ),
            f"{tasks} ends",
        )
        time.sleep(1.0)  # for what nobody expects
        received = [r for r in shop.listener.received if not r.event["type"].startswith("worker-")]
    own = re.compile(r'(File \\+")/[^"\\]*?/tests/support/captureapp\.py')
    lines = "".join(own.sub(r"\1/app/tasks.py", r.line()) + "\n" for r in received)
    (directory / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    print(name, dict(Counter(r.event["type"] for r in received)))  # noqa: T201 - the command's output


def main() -> None:
    """Record the named scenarios, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True, metavar="DIR")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    try:
        for name in options.names or SCENARIOS:
            record(name, options.record)
    finally:
        remove_scratch()


if __name__ == "__main__":
    main()
