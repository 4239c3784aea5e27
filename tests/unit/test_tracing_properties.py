"""Whatever way a history arrives, its spans are valid; within a moment's delay, the same."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tracing import Arrival, Played, play, wrong
from tests.support.tracking import RECORDINGS, T0, event, recorded
from z4j_exporter.events.model import Event
from z4j_exporter.tracing.model import Span

NAMES = sorted(
    p.name.removesuffix(".jsonl") for p in RECORDINGS.glob("*.jsonl") if p.stem != "demo"
)
HISTORIES = {name: recorded(name) for name in NAMES}
#: Seconds by which a sender's events may come later than another's: less than is waited.
DELAY_SECONDS = 1.5


def _key(span: Span) -> tuple[bytes, bytes]:
    return span.trace_id, span.span_id


def _spans(played: Played) -> list[Span]:
    return sorted(played.spans, key=_key)


def _play(arrivals: Sequence[Arrival], **options: float) -> Played:
    # The workers that fall silent are judged too.
    return play(arrivals, after=70.0, worker_timeout=60.0, **options)


def _delayed(data: st.DataObject, history: Sequence[Arrival]) -> list[Arrival]:
    """Draw a delay for each sender, whose events keep their order, and copies of some events."""
    delays: dict[tuple[str, int | None], float] = {}
    arrivals = []
    for received, each in history:
        sender = (each.hostname, each.pid)
        if sender not in delays:
            delays[sender] = data.draw(st.floats(0.0, DELAY_SECONDS), label=str(sender))
        arrivals.append((received + delays[sender], each))
    for index in data.draw(st.lists(st.integers(0, len(history) - 1), max_size=5), label="copies"):
        received, each = arrivals[index]
        arrivals.append((received + data.draw(st.floats(0.0, DELAY_SECONDS)), each))
    return sorted(arrivals, key=lambda arrival: arrival[0])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_exporters_that_look_at_other_moments_make_the_same_spans(data: st.DataObject) -> None:
    history = HISTORIES[data.draw(st.sampled_from(NAMES))]
    phase, gather = data.draw(st.floats(0.0, 1.0)), data.draw(st.floats(0.0, 0.5))
    assert _spans(_play(history)) == _spans(_play(history, phase=phase, gather=gather))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_delays_and_copies_change_no_span(data: st.DataObject) -> None:
    history = HISTORIES[data.draw(st.sampled_from(NAMES))]
    played = _play(_delayed(data, history), phase=data.draw(st.floats(0.0, 1.0)))
    assert wrong(played.spans) == []
    assert _spans(_play(history)) == _spans(played)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_order_and_loss_makes_valid_spans(data: st.DataObject) -> None:
    history = HISTORIES[data.draw(st.sampled_from(NAMES))]
    times = sorted(received for received, _ in history)
    events = [each for _, each in data.draw(st.permutations(history)) if data.draw(st.booleans())]
    if events:
        played = _play(list(zip(times, events, strict=False)))
        assert wrong(played.spans) == []
        assert played.tracer.dropped["error"] == 0


#: Few tasks, workers and moments, so that events meet.
_IDS = st.sampled_from(["a", "b", "c", "f415600d-7bb3-4641-9a1b-09c6a763c75e"])
_EVENTS = st.builds(
    lambda kind, at, uuid, worker, **fields: event(
        f"task-{kind}", at, uuid, hostname=worker, **fields
    ),
    st.sampled_from(
        ["sent", "received", "started", "succeeded", "failed", "retried", "rejected", "revoked",
         "cancelled"]
    ),
    st.integers(0, 12).map(lambda tenths: tenths / 10),
    _IDS,
    st.sampled_from(["w1@h", "w2@h", "gen1@h"]),
    name=st.sampled_from(["x", "y", None]),
    queue=st.sampled_from(["q", None]),
    root_id=st.one_of(st.none(), _IDS),
    parent_id=st.one_of(st.none(), _IDS),
    retries=st.integers(0, 2),
    runtime=st.sampled_from([None, 0.3, -1.0, 1e9]),
    exception=st.sampled_from([None, "E('x')"]),
    requeue=st.sampled_from([None, True]),
    terminated=st.sampled_from([None, True]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(_EVENTS, st.floats(0.0, 3.0)), max_size=40),
    st.booleans(),
    st.sampled_from([1.0, 0.5, 0.0]),
)
def test_any_events_make_valid_spans(
    stream: list[tuple[Event, float]], waits: bool, ratio: float
) -> None:
    received = T0
    arrivals = []
    for each, pause in stream:
        received += pause
        arrivals.append((received, each))
    if arrivals:
        played = play(arrivals, trace_wait_spans=waits, trace_ratio=ratio)
        assert wrong(played.spans) == []
        assert played.tracer.dropped["error"] == 0
