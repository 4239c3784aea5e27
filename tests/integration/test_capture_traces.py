"""With the hook, an application's own spans and its tasks are one trace: no code, no recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import Tracer, get_current_span, use_span

from tests.support import servers
from tests.support.capturing import Captured, capturing
from tests.support.hooked import play_hooked
from tests.support.tracing import wrong
from z4j_exporter.events.decode import event_from_object
from z4j_exporter.tracing.model import CONSUMER, PRODUCER, Span


@pytest.fixture(scope="module")
def shop() -> Iterator[Captured]:
    """A worker with the hook and a client with it; shared by the tests."""
    with (
        servers.valkey() as broker,
        capturing(broker.url, backend=broker.url, settings={"task_send_sent_event": True}) as made,
    ):
        made.worker()
        yield made


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


class Since:
    """The events of a test, among those of others."""

    def __init__(self, shop: Captured) -> None:
        self._shop = shop
        self._first = len(shop.listener.received)

    def spans(self, tasks: int, notes: int | None = None, **settings: Any) -> list[Span]:
        """Wait for so many tasks to end, and for envelopes; return what the exporter makes."""

        def ended(events: list[dict[str, Any]]) -> bool:
            have = Counter(event["type"] for event in events[self._first :])
            return (
                all(have[f"task-{kind}"] >= tasks for kind in ("sent", "started", "succeeded"))
                and have["z4j-envelope"] >= (tasks if notes is None else notes)
                and have["z4j-end"] >= tasks
            )

        self._shop.listener.wait(ended, f"{tasks} tasks")
        received = list(self._shop.listener.received)[self._first :]
        played = play_hooked(
            [(one.at, event_from_object(one.event)) for one in received], **settings
        )
        assert wrong(played.spans) == []
        return played.spans


@pytest.fixture
def since(shop: Captured) -> Since:
    return Since(shop)


def sends(spans: list[Span]) -> list[Span]:
    return [span for span in spans if span.kind == PRODUCER]


def ids(exported: InMemorySpanExporter) -> tuple[bytes, bytes]:
    """Return trace and span id of the application's only span."""
    (request,) = exported.get_finished_spans()
    context = request.context
    return context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")


@pytest.mark.parametrize("ratio", [1.0, 0.0])
def test_a_task_hangs_under_the_request_that_sent_it(
    shop: Captured, since: Since, application: Tracer, exported: InMemorySpanExporter, ratio: float
) -> None:
    with application.start_as_current_span("GET /order"):
        shop.signature("add", 1, 2).apply_async()
    spans = since.spans(1, trace_ratio=ratio)
    trace, request = ids(exported)
    assert [span.name for span in spans] == ["send add", "process add"]
    send, process = spans
    assert {span.trace_id for span in spans} == {trace}
    assert (send.parent_id, process.parent_id) == (request, send.span_id)


@pytest.mark.parametrize("shape", ["group", "chain", "chord"])
def test_a_canvas_under_a_request_is_one_trace(
    shop: Captured, since: Since, application: Tracer, exported: InMemorySpanExporter, shape: str
) -> None:
    adds = [shop.signature("add", n, n) for n in range(3)]
    with application.start_as_current_span("GET /orders"):
        if shape == "group":
            group(adds, app=shop.app).apply_async()
        elif shape == "chord":
            chord(adds, shop.signature("total"), app=shop.app).apply_async()
        else:
            chain(adds[0], shop.signature("add", 1), app=shop.app).apply_async()
    tasks, under_the_request = {"group": (3, 3), "chain": (2, 1), "chord": (4, 3)}[shape]
    spans = since.spans(tasks)
    trace, request = ids(exported)
    assert {span.trace_id for span in spans} == {trace}
    parents = Counter(span.parent_id for span in sends(spans))
    assert parents[request] == under_the_request
    # The others hang under a task.
    assert set(parents) - {request} <= {s.span_id for s in spans if s.kind == CONSUMER}


def test_what_a_task_starts_is_in_the_requests_trace(
    shop: Captured, since: Since, application: Tracer, exported: InMemorySpanExporter
) -> None:
    with application.start_as_current_span("POST /orders"):
        shop.signature("fan_out", 2).apply_async()
    spans = since.spans(3)
    trace, request = ids(exported)
    assert {span.trace_id for span in spans} == {trace}
    by_name = {span.name: span for span in spans}
    assert by_name["send fan_out"].parent_id == request
    children = [span for span in sends(spans) if span.name == "send add"]
    assert [span.parent_id for span in children] == [by_name["process fan_out"].span_id] * 2


def test_a_chords_trace_is_found_by_its_result(shop: Captured, since: Since) -> None:
    adds = [shop.signature("add", n, n) for n in range(2)]
    result = chord(adds, shop.signature("total"), app=shop.app).apply_async()
    spans = since.spans(3)
    assert {span.trace_id.hex() for span in spans} == {result.parent.id.replace("-", "")}


def test_a_request_that_is_not_sampled_leaves_no_mark(shop: Captured, since: Since) -> None:
    unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("shop")
    with use_span(unsampled.start_span("GET /orders")):
        result = group([shop.signature("add", n, n) for n in range(2)], app=shop.app).apply_async()
    spans = since.spans(2)
    assert {span.trace_id.hex() for span in spans} == {result.id.replace("-", "")}
    assert [span.parent_id for span in sends(spans)] == [b"", b""]


@pytest.mark.parametrize("sampled", [True, False])
def test_the_worker_tells_of_the_header_that_an_application_without_the_hook_sent(
    shop: Captured, since: Since, application: Tracer, exported: InMemorySpanExporter, sampled: bool
) -> None:
    """Instrumentations put the header into the message themselves."""
    bare = Celery("bare", broker=shop.broker_url, set_as_current=False)
    bare.conf.task_send_sent_event = True
    with application.start_as_current_span("GET /order"):
        here = get_current_span().get_span_context()
        header = f"00-{here.trace_id:032x}-{here.span_id:016x}-{'01' if sampled else '00'}"
        sent = bare.send_task("add", (1, 2), headers={"traceparent": header})
    spans = since.spans(1, notes=0)
    bare.close()
    trace, request = ids(exported)
    own = bytes.fromhex(sent.id.replace("-", ""))
    assert {span.trace_id for span in spans} == {trace if sampled else own}
    assert [span.parent_id for span in sends(spans)] == [request if sampled else b""]
