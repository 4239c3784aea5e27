"""Generated histories: the drop-in profiles count what their models count, in any interleaving."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.exposed import T0, Exposed, Samples, task_event
from tests.support.peers import CeleryExporter, Flower

_QUEUES = {"a.one": "q1", "a.two": "q2", "b": "q1"}
_WORKERS = ("w1@host1", "w2@host1", "w1@host2")
_ENDS = ("succeeded", "failed", "rejected", "revoked", "")


@st.composite
def lives(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One task: some attempts that are retried, then an end, or none yet."""
    uuid = str(draw(st.uuids()))
    name = draw(st.sampled_from(sorted(_QUEUES)))
    worker = draw(st.sampled_from(_WORKERS))
    events = []

    def add(kind: str, **fields: Any) -> None:
        events.append(task_event(kind, 0, uuid, **{"hostname": worker, **fields}))

    attempts = draw(st.integers(1, 3))
    for retries in range(attempts):
        queue = _QUEUES[name]
        add("sent", name=name, queue=queue, retries=retries, hostname="gen1@web")
        add("received", name=name, retries=retries)
        add("started")
        if retries < attempts - 1:
            add("retried", exception="Again('later')")
    end = draw(st.sampled_from(_ENDS))
    more: dict[str, dict[str, Any]] = {
        "succeeded": {"runtime": draw(st.floats(0.001, 100))},
        "failed": {"exception": draw(st.sampled_from(["KeyError('x')", "ValueError()"]))},
    }
    if end:
        add(end, **more.get(end, {}))
    return events


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Several lives at the same time, each in its own order."""
    tasks = draw(st.lists(lives(), min_size=1, max_size=6))
    turns = [index for index, events in enumerate(tasks) for _ in events]
    queues = [iter(events) for events in tasks]
    return [
        {**next(queues[index]), "timestamp": T0 + position / 100, "clock": position}
        for position, index in enumerate(draw(st.permutations(turns)))
    ]


def totals(samples: Samples) -> Samples:
    """Leave buckets and workers out."""
    return {
        key: value
        for key, value in samples.items()
        if not key[0].endswith("_bucket") and not key[0].startswith("celery_worker")
    }


@settings(deadline=None)
@given(history=histories())
def test_celery_exporter(history: list[dict[str, Any]]) -> None:
    peer = CeleryExporter()
    for event in history:
        peer.event({**event, "local_received": event["timestamp"]})
    exposed = Exposed("celery-exporter").play(*history).wait(3)
    # Sums are added up in another order.
    assert totals(exposed.samples()) == pytest.approx(totals(peer.samples), abs=1e-6)


@settings(deadline=None)
@given(history=histories())
def test_flower(history: list[dict[str, Any]]) -> None:
    flower = Flower()
    for event in history:
        flower.event({**event, "local_received": event["timestamp"]})
    families = ("flower_events_total", "flower_task_runtime_seconds")
    theirs, ours = (
        {k: v for k, v in totals(samples).items() if k[0].startswith(families) and v}
        for samples in (flower.samples(), Exposed("flower").play(*history).wait(3).samples())
    )
    assert ours == pytest.approx(theirs)


@given(history=histories(), data=st.data())
@settings(deadline=None, max_examples=50)
def test_loss_and_disorder_never_break_a_profile(
    history: list[dict[str, Any]], data: st.DataObject
) -> None:
    # Counters are those of the events that came; nothing is negative.
    kept = data.draw(st.lists(st.sampled_from(range(len(history))), unique=True))
    events = [history[index] for index in kept]
    for event, moment in zip(events, range(len(events)), strict=True):
        event["timestamp"] = T0 + moment / 100
    for profile in ("native", "celery-exporter", "flower"):
        samples = Exposed(profile).play(*events).wait(70).samples()
        assert all(value >= 0 for value in samples.values())
        if profile == "celery-exporter":
            counted = sum(v for (name, _), v in samples.items() if name.endswith("_total"))
            assert counted == len(events)
