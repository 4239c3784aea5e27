"""Trees of spans: order, missing parents, loops, depth."""

import random

import pytest

from tests.support.spans import span
from z4j_exporter.tracing.model import CONSUMER, INTERNAL, PRODUCER, Span
from z4j_exporter.tracing.tree import forest, human, render, walk


def outline(spans: list[Span]) -> list[str]:
    return ["." * depth + node.span.name for node, depth, _ in walk(forest(spans))]


def test_children_stand_under_their_parents_in_the_order_of_time() -> None:
    spans = [
        span(1, name="send a", kind=PRODUCER),
        span(2, 1, name="process a", kind=CONSUMER),
        span(3, 2, name="send late", at=20),
        span(4, 2, name="send early", at=10),
        span(5, 4, name="process early", at=11),
    ]
    expected = ["send a", ".process a", "..send early", "...process early", "..send late"]
    for seed in range(5):
        random.Random(seed).shuffle(spans)
        assert outline(spans) == expected


def test_of_two_that_start_together_the_send_is_first() -> None:
    spans = [
        span(4, 1, name="process", kind=CONSUMER),
        span(3, 1, name="wait", kind=INTERNAL),
        span(2, 1, name="send", kind=PRODUCER),
        span(1),
    ]
    assert outline(spans) == ["1", ".send", ".wait", ".process"]


def test_a_span_given_twice_is_there_once() -> None:
    assert outline([span(1), span(2, 1), span(2, 1), span(1)]) == ["1", ".2"]


def test_a_missing_parent_makes_a_root_and_is_named() -> None:
    (root,) = forest([span(2, 0xABC), span(3, 2)])
    assert root.missing_parent == bytes.fromhex("0000000000000abc")
    assert render([root])[0].endswith("(missing parent 0000000000000abc)")
    assert [child.missing_parent for child in root.children] == [b""]


def test_the_same_span_id_in_another_trace_is_not_the_parent() -> None:
    other = bytes(15) + b"\x02"
    roots = forest([span(1), span(2, 1, trace_id=other, at=5)])
    assert [root.span.name for root in roots] == ["1", "2"]
    assert [root.offset_ns for root in roots] == [0, 0], "each trace has its own start"


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ({1: 1}, ["1"]),
        ({1: 2, 2: 1}, ["1", ".2"]),
        ({1: 3, 2: 3, 3: 4, 4: 2}, ["2", ".4", "..3", "...1"]),
        ({1: 2, 2: 1, 3: 4, 4: 3, 5: 0}, ["1", ".2", "3", ".4", "5"]),
    ],
)
def test_loops_are_opened_at_their_earliest_span(
    parents: dict[int, int], expected: list[str]
) -> None:
    spans = [span(number, parent, at=number) for number, parent in parents.items()]
    assert outline(spans) == expected
    loops = {root.span.name: root.loop for root in forest(spans)}
    assert loops == {name: name != "5" for name in loops}


def test_a_chain_of_many_thousands_is_no_trouble() -> None:
    spans = [span(number, number - 1) for number in range(1, 20_001)]
    rows = list(walk(forest(spans)))
    assert [row.depth for row in rows] == list(range(20_000))
    assert len(render(forest(spans))[-1]) < 200


def test_walk_marks_the_last_of_its_siblings() -> None:
    rows = walk(forest([span(1), span(2, 1, at=1), span(3, 1, at=2), span(4, 2, at=1)]))
    assert [(row.node.span.name, row.last) for row in rows] == [
        ("1", True), ("2", False), ("4", True), ("3", True),
    ]  # fmt: skip


def test_a_line_tells_name_kind_offset_duration_state_and_service() -> None:
    spans = [
        span(1, name="send t", kind=PRODUCER),
        span(
            2, 1, name="process t", kind=CONSUMER, at=12, took=1250, error=True,
            attributes=(("celery.task.state", "FAILURE"),),
        ),
    ]  # fmt: skip
    assert render(forest(spans)) == [
        "send t PRODUCER +0 ms 1.00 ms [shop]",
        "  process t CONSUMER +12.0 ms 1.25 s FAILURE [shop]",
    ]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ms"),
        (350_000, "0.35 ms"),
        (9_995_000, "10.0 ms"),
        (999_949_999, "999.9 ms"),
        (999_950_000, "1.00 s"),
        (59_994_000_000, "59.99 s"),
        (59_996_000_000, "1 min 00 s"),
        (3_599_600_000_000, "1 h 00 min"),
        (90_000_000_000_000, "1 d 01 h"),
        (-2_000_000, "-2.00 ms"),
    ],
)
def test_human(nanoseconds: int, text: str) -> None:
    assert human(nanoseconds) == text
