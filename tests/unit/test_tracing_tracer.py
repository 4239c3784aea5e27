"""When spans are handed out, which of them, and how often: once."""

from typing import Any

import pytest

from tests.support.tracking import T0, event
from z4j_exporter.config import Settings
from z4j_exporter.errors import ConfigError
from z4j_exporter.events.model import Event
from z4j_exporter.tracing.ids import span_id, trace_id
from z4j_exporter.tracing.model import Span
from z4j_exporter.tracing.tracer import SETTLE_SECONDS, Tracer, make_tracer
from z4j_exporter.track.cluster import make_cluster
from z4j_exporter.track.transitions import TaskTransition, TraceRef

#: A uuid4 whose low 56 bits are small (left out by any ratio but 1), and one with large ones.
LOW = "f415600d-7bb3-4641-9a00-000000000001"
HIGH = "f415600d-7bb3-4641-9aff-ffffffffffff"


class Stage:
    """A tracer at work. ``at`` is the time, in seconds since T0, for events and ticks alike."""

    def __init__(self, **settings: Any) -> None:
        self.batches: list[list[Span]] = []
        self.steps: list[TaskTransition] = []
        chosen = Settings(**settings)
        self.tracer = make_tracer(
            chosen, system="redis", address="h", port=None, emit=self.batches.append
        )
        self.cluster = make_cluster(chosen, self._take, observer=self.tracer)
        self.tracer.attach(self.cluster.task)

    def _take(self, step: Any) -> None:
        if isinstance(step, TaskTransition):
            self.steps.append(step)

    def play(self, *events: Event) -> "Stage":
        for each in events:
            self.cluster.apply(each, each.timestamp - T0, each.timestamp)
        return self

    def tick(self, *times: float) -> "Stage":
        for at in times:
            self.cluster.tick(at)
        return self

    def run(
        self, uuid: str = HIGH, at: float = 0.0, end: str = "succeeded", **fields: Any
    ) -> "Stage":
        """One attempt, 0.3 seconds long."""
        own = {"name": "shop.buy", "root_id": fields.pop("root_id", uuid)}
        own["retries"] = fields.pop("retries", 0)
        return self.play(
            event("task-sent", at, uuid, queue="web", **own),
            event("task-received", at + 0.1, uuid, **own),
            event("task-started", at + 0.2, uuid),
            event(f"task-{end}", at + 0.5, uuid, **fields),
        )

    @property
    def ids(self) -> list[bytes]:
        return [span.span_id for batch in self.batches for span in batch]

    def trace(self, kind: str) -> TraceRef | None:
        """The exemplar of the last transition of a kind."""
        return next(step.trace for step in reversed(self.steps) if step.kind == kind)


def _span(uuid: str, operation: Any, retries: int = 0, ordinal: int = 0) -> bytes:
    return span_id(uuid, operation, retries, ordinal)


# -- when ------------------------------------------------------------------------------------


def test_an_attempt_is_settled_once_its_stragglers_are_in() -> None:
    stage = Stage().tick(0.0).run().tick(1.0)
    stage.tick(1.0 + SETTLE_SECONDS - 0.1)
    assert stage.batches == []
    stage.tick(1.0 + SETTLE_SECONDS)
    assert stage.ids == [_span(HIGH, "send"), _span(HIGH, "process")]
    assert len(stage.batches) == 1
    stage.tick(*range(5, 20))
    stage.cluster.flush()
    assert len(stage.ids) == 2
    assert stage.tracer.made == {"send": 1, "process": 1, "wait": 0, "revoke": 0}


def test_a_straggler_is_taken_in() -> None:
    stage = Stage().tick(0.0)
    own = {"name": "shop.buy", "root_id": HIGH, "retries": 0}
    stage.play(
        event("task-received", 0.1, HIGH, **own),
        event("task-started", 0.2, HIGH),
        event("task-succeeded", 0.5, HIGH),
    )
    stage.tick(1.0, 2.0)
    stage.play(event("task-sent", 0.0, HIGH, queue="web", **own))
    stage.tick(3.0, 4.0, 5.0, 6.0)
    assert stage.ids == [_span(HIGH, "send"), _span(HIGH, "process")]


def test_what_came_together_is_handed_out_together() -> None:
    stage = Stage().tick(0.0)
    for index in range(5):
        stage.run(f"task-{index}")
    stage.tick(1.0, 3.0)
    assert [len(batch) for batch in stage.batches] == [10]


def test_batches_are_bounded_and_part_no_attempt() -> None:
    stage = Stage().tick(0.0)
    for index in range(600):
        stage.run(f"task-{index}")
    stage.tick(1.0, 3.0)
    assert sum(map(len, stage.batches)) == 1200
    assert max(map(len, stage.batches)) < 600
    for batch in stage.batches:
        assert [span.name.partition(" ")[0] for span in batch] == ["send", "process"] * (
            len(batch) // 2
        )


def test_the_end_settles_what_ended_and_nothing_open() -> None:
    stage = Stage().tick(0.0).run()
    stage.play(event("task-started", 0.6, LOW, hostname="w2@host"))
    stage.cluster.flush()
    assert stage.ids == [_span(HIGH, "send"), _span(HIGH, "process")]


def test_beyond_the_bound_the_oldest_are_settled_early() -> None:
    stage = Stage().tick(0.0)
    stage.tracer._max_pending = 3
    for index in range(5):
        stage.run(f"task-{index}")
    assert stage.ids[1::2] == [_span("task-0", "process"), _span("task-1", "process")]
    stage.tick(1.0, 3.0)
    assert len(stage.ids) == len(set(stage.ids)) == 10
    stage.run("later", 3.1).tick(4.0)
    assert len(stage.ids) == 10
    stage.tick(6.0)
    assert len(stage.ids) == 12


# -- once ------------------------------------------------------------------------------------


def test_a_late_end_makes_nothing_again() -> None:
    stage = Stage(worker_timeout=20).tick(0.0)
    stage.play(event("worker-heartbeat", 0.0))
    stage.run(end="x")  # no such event: it goes on
    stage.tick(*range(1, 40))
    assert len(stage.ids) == 2
    assert stage.tracer.dropped["late"] == 0
    stage.play(event("task-succeeded", 40.0, HIGH, runtime=39.0)).tick(41, 44)
    stage.cluster.flush()
    assert len(stage.ids) == 2
    assert stage.tracer.dropped["late"] == 1


@pytest.mark.parametrize("later", [0.6, 10.0])
def test_the_second_failure_of_a_time_limit_makes_nothing(later: float) -> None:
    stage = Stage().tick(0.0).run(end="failed", exception="TimeLimitExceeded(1)")
    if later > 1.0:
        stage.tick(1.0, 4.0)
    stage.play(event("task-failed", later, HIGH, exception="TimeLimitExceeded(1)"))
    stage.tick(later + 1.0, later + 4.0)
    assert len(stage.ids) == 2
    assert stage.tracer.dropped["late"] == 0


def test_many_redeliveries_have_each_an_id_and_one_send() -> None:
    # More than the tracker remembers of a task.
    stage = Stage().tick(0.0).run(end="rejected", requeue=True)
    for index in range(1, 60):
        at = index * 0.5
        own = {"name": "shop.buy", "root_id": HIGH, "retries": 0}
        stage.play(
            event("task-received", at + 0.1, HIGH, **own),
            event("task-started", at + 0.2, HIGH),
            event("task-rejected", at + 0.5, HIGH, requeue=True),
        )
        if index > 30:  # before, all come between two ticks
            stage.tick(at)
    stage.tick(40.0, 43.0)
    assert len(stage.ids) == 61
    assert set(stage.ids) == {
        _span(HIGH, "send"),
        *(_span(HIGH, "process", 0, ordinal) for ordinal in range(60)),
    }
    parents = {span.parent_id for batch in stage.batches for span in batch}
    assert parents == {b"", _span(HIGH, "send")}


def test_many_retries_have_each_two_ids() -> None:
    stage = Stage().tick(0.0)
    for index in range(40):
        stage.run(at=float(index), end="retried", retries=index, exception="E()")
    stage.tick(50.0, 53.0)
    assert len(set(stage.ids)) == len(stage.ids) == 80


# -- which -----------------------------------------------------------------------------------


def test_what_the_ratio_leaves_out_is_counted() -> None:
    stage = Stage(trace_ratio=0.5).tick(0.0).run(LOW).run(HIGH).tick(1.0, 3.0)
    assert stage.ids == [_span(HIGH, "send"), _span(HIGH, "process")]
    assert stage.tracer.sampled_out == 1
    assert {span.trace_state for batch in stage.batches for span in batch} == {"ot=th:8"}


def test_what_a_rule_keeps_is_no_sample() -> None:
    stage = Stage(trace_ratio=0.5).tick(0.0)
    stage.run(LOW, end="failed", exception="E()").run(HIGH, end="failed", exception="E()")
    stage.tick(1.0, 3.0)
    assert len(stage.ids) == 4
    assert {span.trace_state for batch in stage.batches for span in batch} == {""}
    assert stage.tracer.sampled_out == 0


def test_a_failure_brings_the_retries_before_it_back() -> None:
    stage = Stage(trace_ratio=0.0).tick(0.0)
    stage.run(LOW, 0.0, "retried", exception="E()").run(
        LOW, 1.0, "retried", exception="E()", retries=1
    )
    stage.tick(2.0, 6.0)
    assert stage.ids == []
    stage.run(LOW, 6.0, "failed", exception="E()", retries=2).tick(7.0, 9.0)
    assert set(stage.ids) == {
        _span(LOW, operation, retries) for operation in ("send", "process") for retries in range(3)
    }
    assert len(stage.ids) == 6


def test_what_follows_a_kept_attempt_is_kept_too() -> None:
    stage = Stage(trace_ratio=0.0, trace_keep=["slow:2s"]).tick(0.0)
    stage.run(LOW, 0.0, "rejected", requeue=True)
    own = {"name": "shop.buy", "root_id": LOW, "retries": 0}
    stage.play(
        event("task-received", 1.0, LOW, **own),
        event("task-started", 1.1, LOW),
        event("task-retried", 5.0, LOW, exception="E()"),
    )
    stage.run(LOW, 6.0, retries=1).tick(7.0, 9.0)
    assert len(stage.ids) == 5


def test_a_rule_can_be_met_by_a_start_that_comes_last() -> None:
    stage = Stage(trace_ratio=0.0, trace_keep=["slow:2s"]).tick(0.0)
    own = {"name": "shop.buy", "root_id": LOW, "retries": 0}
    stage.play(
        event("task-sent", 0.0, LOW, queue="q", **own),
        event("task-failed", 5.0, LOW, exception="E()"),
        event("task-started", 0.5, LOW),
    )
    stage.tick(6.0, 8.0)
    assert len(stage.ids) == 2


@pytest.mark.parametrize("keep", [["none"], ["lost"]])
def test_rules_are_the_users(keep: list[str]) -> None:
    stage = Stage(trace_ratio=0.0, trace_keep=keep).tick(0.0)
    stage.run(LOW, end="failed", exception="E()").tick(1.0, 3.0)
    assert stage.ids == []
    with pytest.raises(ConfigError, match="--trace-keep"):
        Stage(trace_keep=["everything"])


def test_a_root_that_comes_late_still_decides() -> None:
    stage = Stage(trace_ratio=0.5).tick(0.0)
    for uuid in (LOW, HIGH):
        stage.play(
            event("task-started", 0.2, uuid), event("task-succeeded", 0.5, uuid, runtime=0.3)
        )
        stage.play(event("task-received", 0.1, uuid, name="n", root_id=uuid, retries=0))
    stage.tick(1.0, 2.0, 3.0, 4.0, 5.0)
    assert stage.ids == [_span(HIGH, "process")]
    assert stage.tracer.sampled_out == 1
    assert stage.tracer.dropped["unknown_root"] == 0


# -- exemplars -------------------------------------------------------------------------------


def test_a_step_points_to_its_span() -> None:
    stage = Stage().tick(0.0).run()
    expected = TraceRef(trace_id(HIGH), _span(HIGH, "process"))
    assert stage.trace("started") == expected
    assert stage.trace("succeeded") == expected
    assert stage.trace("sent") is None


def test_a_redelivery_points_to_its_own_span() -> None:
    stage = Stage().tick(0.0).run(end="rejected", requeue=True)
    stage.play(event("task-received", 1.0, HIGH, name="shop.buy", root_id=HIGH, retries=0))
    stage.play(event("task-started", 1.1, HIGH), event("task-succeeded", 1.2, HIGH))
    assert stage.trace("rejected") == TraceRef(trace_id(HIGH), _span(HIGH, "process"))
    assert stage.trace("succeeded") == TraceRef(trace_id(HIGH), _span(HIGH, "process", 0, 1))
    stage.tick(2.0, 4.0)
    assert _span(HIGH, "process", 0, 1) in stage.ids


def test_a_revocation_before_the_start_points_to_its_span() -> None:
    stage = Stage().tick(0.0)
    stage.play(
        event("task-sent", 0.0, HIGH, name="n", queue="q", root_id=HIGH, retries=0),
        event("task-received", 0.1, HIGH, name="n", root_id=HIGH, retries=0),
        event("task-revoked", 0.2, HIGH),
    )
    assert stage.trace("revoked") == TraceRef(trace_id(HIGH), _span(HIGH, "revoke"))


def test_what_is_left_out_is_not_pointed_to() -> None:
    stage = Stage(trace_ratio=0.5).tick(0.0)
    stage.run(LOW)
    assert stage.trace("started") is None
    assert stage.trace("succeeded") is None
    stage.run(LOW.replace("0001", "0002"), end="failed", exception="E()")
    assert stage.trace("started") is None
    assert stage.trace("failed") is not None


def test_every_exemplar_has_its_span() -> None:
    stage = Stage(trace_ratio=0.5).tick(0.0)
    for index in range(64):
        uuid = f"f415600d-7bb3-4641-9a{index * 4:02x}-000000000001"
        stage.run(uuid, end="failed" if index % 8 == 0 else "succeeded", exception="E()")
    stage.tick(1.0, 3.0)
    shown = {step.trace.span_id for step in stage.steps if step.trace is not None}
    assert shown
    assert shown <= set(stage.ids)


# -- faults ----------------------------------------------------------------------------------


def test_a_fault_in_it_costs_its_spans_and_no_transition(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage().tick(0.0)

    def broken(*_: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(Tracer, "_enqueue", broken)
    stage.run()
    assert [step.kind for step in stage.steps] == ["sent", "received", "started", "succeeded"]
    stage.run("again")
    assert stage.tracer.dropped["error"] == 2
    assert len(caplog.records) == 1


def test_a_fault_in_one_attempt_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage().tick(0.0).run("bad").run(HIGH)
    build = stage.tracer._builder.build

    def broken(task: Any, *rest: Any) -> list[Span]:
        if task.uuid == "bad":
            raise KeyError("bug")
        return build(task, *rest)

    monkeypatch.setattr(stage.tracer._builder, "build", broken)
    stage.tick(1.0, 3.0)
    assert stage.ids == [_span(HIGH, "send"), _span(HIGH, "process")]
    assert stage.tracer.dropped["error"] == 1
