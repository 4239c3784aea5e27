"""The recipe of docs/tracing.md: an application's request and its tasks are one trace."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import Tracer, use_span

from tests.support.servers import Redis
from tests.support.stage import Scenario, Stage, staged
from tests.support.tracing import play, wrong
from z4j_exporter.events.decode import event_from_object
from z4j_exporter.tracing.model import PRODUCER, Span

DOCS = Path(__file__).parents[2] / "docs" / "tracing.md"


def recipe() -> Callable[[], dict[str, str]]:
    """Return what the first Python block of the page defines, as a reader would paste it."""
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code, f"{DOCS} has no Python block"
    namespace: dict[str, Any] = {}
    exec(code[1], namespace)  # noqa: S102 - the page's own code, so that it cannot rot
    return namespace["joined"]  # type: ignore[no-any-return]


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def application(exported: InMemorySpanExporter) -> Iterator[Tracer]:
    """The tracer of an application that has OpenTelemetry."""
    provider = TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    yield provider.get_tracer("shop")
    provider.shutdown()


def sent(broker_url: str, act: Callable[[Stage], None], tasks: int) -> list[Span]:
    """Play something to a real worker; return the spans that the exporter makes of its events."""
    events = {f"task-{kind}": tasks for kind in ("sent", "received", "started", "succeeded")}

    def with_worker(stage: Stage) -> None:
        stage.worker()
        act(stage)

    scenario = Scenario("joined", events, with_worker, {}, backend=True)
    with staged(broker_url, scenario) as stage:
        received = list(stage.listener.received)
    played = play([(one.at, event_from_object(one.event)) for one in received])
    assert not wrong(played.spans)
    return played.spans


def sends(spans: list[Span]) -> list[Span]:
    return [span for span in spans if span.kind == PRODUCER]


def test_a_task_hangs_under_the_request_that_sent_it(
    valkey: Redis, application: Tracer, exported: InMemorySpanExporter
) -> None:
    joined = recipe()

    def act(stage: Stage) -> None:
        with application.start_as_current_span("GET /order"):
            stage.task("math.add", 1, 2).apply_async(**joined())

    spans = sent(valkey.url, act, 1)
    (request,) = exported.get_finished_spans()
    assert [span.name for span in spans] == ["send math.add", "process math.add"]
    send, process = spans
    assert {span.trace_id for span in spans} == {request.context.trace_id.to_bytes(16, "big")}
    assert send.parent_id == request.context.span_id.to_bytes(8, "big")
    assert process.parent_id == send.span_id
    # One clock: the task was sent while the request ran.
    assert request.start_time - 1000 <= send.start_ns <= request.end_time + 1000


@pytest.mark.parametrize("shape", ["group", "chain", "chord"])
def test_a_canvas_under_a_request_is_one_trace(
    valkey: Redis, application: Tracer, exported: InMemorySpanExporter, shape: str
) -> None:
    joined = recipe()

    def act(stage: Stage) -> None:
        adds = [stage.task("math.add", i, i) for i in range(3)]
        total = stage.task("math.total")
        then = stage.task("math.add", 1)
        with application.start_as_current_span("GET /orders"):
            if shape == "group":
                group(adds, app=stage.app).apply_async(**joined())
            elif shape == "chord":
                chord(adds, total, app=stage.app).apply_async(**joined())
            else:  # Celery gives a chain's parent_id to none of its tasks
                chain(adds[0].set(**joined()), then, app=stage.app).apply_async()

    tasks, under_the_request = {"group": (3, 3), "chain": (2, 1), "chord": (4, 3)}[shape]
    spans = sent(valkey.url, act, tasks)
    (request,) = exported.get_finished_spans()
    assert {span.trace_id for span in spans} == {request.context.trace_id.to_bytes(16, "big")}
    parents = Counter(span.parent_id for span in sends(spans))
    assert parents[request.context.span_id.to_bytes(8, "big")] == under_the_request
    assert len(sends(spans)) == tasks
    # The others hang under a task.
    assert set(parents) - {request.context.span_id.to_bytes(8, "big")} <= {
        span.span_id for span in spans
    }


def test_what_a_joined_task_starts_is_in_the_same_trace(
    valkey: Redis, application: Tracer, exported: InMemorySpanExporter
) -> None:
    joined = recipe()

    def act(stage: Stage) -> None:
        with application.start_as_current_span("POST /orders"):
            stage.task("work.fan_out", 2).apply_async(**joined())

    spans = sent(valkey.url, act, 3)
    (request,) = exported.get_finished_spans()
    assert {span.trace_id for span in spans} == {request.context.trace_id.to_bytes(16, "big")}
    by_name = {span.name: span for span in spans}
    assert by_name["send work.fan_out"].parent_id == request.context.span_id.to_bytes(8, "big")
    children = [span for span in sends(spans) if span.name == "send math.add"]
    assert [span.parent_id for span in children] == [by_name["process work.fan_out"].span_id] * 2


def test_a_request_that_is_not_sampled_leaves_no_mark(valkey: Redis) -> None:
    joined = recipe()
    ids: list[str] = []

    def act(stage: Stage) -> None:
        unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("shop")
        with use_span(unsampled.start_span("GET /order")):
            ids.append(stage.task("math.add", 1, 2).apply_async(**joined()).id)

    spans = sent(valkey.url, act, 1)
    assert {span.trace_id.hex() for span in spans} == {ids[0].replace("-", "")}
    assert [span.parent_id for span in sends(spans)] == [b""]


def test_without_a_request_the_recipe_gives_nothing() -> None:
    assert recipe()() == {}
