"""The memory of the latest spans: what is found, what is forgotten."""

import threading

import pytest

from tests.support.spans import span
from z4j_exporter.tracing.memory import RecentSpans, summary
from z4j_exporter.tracing.model import Span


def trace(number: int) -> bytes:
    return number.to_bytes(16, "big")


def spans(number: int, count: int, *, task: str = "", at: int = 0, text: str = "") -> list[Span]:
    """A trace of so many spans, one under the other; the text is an attribute of each."""
    attributes = (("messaging.message.id", task), ("x", text))
    return [
        span(each, each - 1, trace_id=trace(number), at=at + each, attributes=attributes)
        for each in range(1, count + 1)
    ]


def filled(memory: RecentSpans, *traces: list[Span]) -> RecentSpans:
    for each in traces:
        memory.take(each)
    return memory


def test_the_trace_that_changed_longest_ago_goes_first_and_as_a_whole() -> None:
    memory = filled(RecentSpans(10), spans(1, 4), spans(2, 4))
    memory.take([span(9, trace_id=trace(1), at=50)])  # trace 1 is the newer one now
    filled(memory, spans(3, 2))
    assert [len(memory.trace(trace(number))) for number in (1, 2, 3)] == [5, 0, 2]
    assert (len(memory), memory.evicted) == (7, 4)


def test_a_trace_that_never_ends_loses_its_own_oldest_spans_and_leaves_others_room() -> None:
    memory = filled(RecentSpans(10), spans(1, 3), spans(2, 1000))
    assert [each.span_id[-2:] for each in memory.trace(trace(2))] == [
        number.to_bytes(2, "big") for number in range(996, 1001)
    ]
    assert len(memory.trace(trace(1))) == 3
    assert (len(memory), memory.evicted) == (8, 995)


def test_large_texts_count() -> None:
    memory = RecentSpans(1000, max_bytes=1_000_000)
    for number in range(100):
        filled(memory, spans(number, 1, text="x" * 100_000))
    assert len(memory) == 9
    assert memory.size_bytes <= 1_000_000
    assert memory.trace(trace(99)), "the newest is there"


def test_a_span_larger_than_the_memory_is_forgotten_at_once() -> None:
    memory = filled(
        RecentSpans(1000, max_bytes=40_000), spans(1, 2), spans(2, 1, text="x" * 39_000)
    )
    assert memory.trace(trace(2)) == []
    assert len(memory.trace(trace(1))) == 2
    assert (len(memory), memory.evicted) == (2, 1)
    assert [each.spans for each in memory.latest(5)] == [2]


def test_a_memory_of_nothing() -> None:
    memory = filled(RecentSpans(0), spans(1, 2))
    assert (len(memory), memory.size_bytes, memory.latest(5)) == (0, 0, [])


def test_a_memory_of_one() -> None:
    memory = filled(RecentSpans(1), spans(1, 2), spans(2, 1))
    assert (len(memory), memory.evicted) == (1, 2)


def test_found_by_trace_or_task_or_the_beginning_of_one() -> None:
    root, child = "0b1e7a3c-1111-4111-8111-000000000001", "c41d7a3c-1111-4111-8111-000000000002"
    trace_id = bytes.fromhex(root.replace("-", ""))
    memory = RecentSpans(100)
    for number, uuid in ((1, root), (2, child)):
        attributes = (("messaging.message.id", uuid),)
        memory.take([span(number, trace_id=trace_id, attributes=attributes)])
    filled(memory, spans(7, 1, task="order 7/8"))
    for wanted in (root, trace_id.hex(), trace_id.hex().upper(), child, child[:8], root[:11]):
        assert memory.find(wanted) == [trace_id], wanted
    assert memory.find(f" {child}\n") == [trace_id]
    assert memory.find("order 7/8") == [trace(7)]
    for wanted in (child[:7], "", "--------", "nothing like it", "x" * 10_000):
        assert memory.find(wanted) == [], wanted


def test_a_whole_id_beats_a_beginning_and_several_matches_are_all_told() -> None:
    memory = filled(
        RecentSpans(100),
        spans(1, 1, task="invoice-1"),
        spans(2, 1, task="invoice-10"),
        spans(3, 1, task="invoice-11"),
    )
    assert memory.find("invoice-1") == [trace(1)]
    assert memory.find("invoice-") == [trace(3), trace(2), trace(1)], "the latest first"


def test_a_summary_tells_of_the_first_root_and_of_the_whole() -> None:
    given = [
        span(2, 1, name="process a", at=5, took=40, trace_id=trace(1), error=True),
        span(1, name="send a", trace_id=trace(1), attributes=(("messaging.message.id", "id-a"),)),
    ]
    told = summary(given)
    assert told == (trace(1), "send a", "shop", "id-a", 10**9, 10**9 + 45 * 10**6, 2, 1)


def test_latest_are_those_that_changed_last() -> None:
    memory = filled(RecentSpans(100), spans(1, 1), spans(2, 1), spans(3, 1))
    memory.take([span(9, trace_id=trace(1), at=50)])
    assert [each.trace_id for each in memory.latest(2)] == [trace(1), trace(3)]


@pytest.mark.timeout(60)
def test_threads_that_read_never_see_it_change_under_them() -> None:
    memory = RecentSpans(50)
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                memory.latest(10)
                memory.find("nothing like it")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            failures.append(error)

    threads = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1000):
        filled(memory, spans(number % 40, 3))
    stop.set()
    for thread in threads:
        thread.join(10)
    assert failures == []
    assert len(memory) <= 50
    assert len(memory) + memory.evicted == 3000
