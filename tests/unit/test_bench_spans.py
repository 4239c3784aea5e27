"""The benchmark of spans: its verdict follows from its measurements."""

import io
from dataclasses import replace

from rich.console import Console

from benchmarks.span_cases import Result
from benchmarks.spans import row, show, spans_own, verdicts

METRICS = Result("metrics", "grpc", 1_000, 0, 0.010, 0.01)
TRACED = Result("traced", "grpc", 1_000, 500, 0.030, 0.05, 400_000)
SDK = Result("sdk", "grpc", 0, 500, 0.050, 0.1, 400_000)
SPANS = Result("spans", "grpc", 0, 500, 0.010, 0.02, 400_000)
RESULTS = [SDK, SPANS, METRICS, TRACED]


def test_a_span_costs_what_events_cost_more_with_it() -> None:
    assert round(spans_own(TRACED, METRICS), 6) == 40.0
    assert verdicts(RESULTS) == [("grpc: at most 45 µs of CPU a span", "40.0 µs", True)]
    dear = replace(TRACED, cpu_seconds=0.033)
    assert [kept for _, _, kept in verdicts([METRICS, dear])] == [False]


def test_protocols_are_not_mixed() -> None:
    other = replace(METRICS, protocol="http/protobuf")
    assert verdicts([other, TRACED]) == []


def test_the_ratio_is_to_the_sdk_with_the_same_protocol() -> None:
    assert row(RESULTS, SPANS)[-3:] == ("25,000", "800", "5.0")
    assert row([SPANS], SPANS)[-1] == ""
    assert row(RESULTS, METRICS)[2:] == ("1,000", "", "10.0 µs", "", "", "", "")


def test_the_table_says_it_all() -> None:
    console = Console(width=200, file=io.StringIO())
    show(RESULTS, ["a machine"], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    for part in "a machine", "20.0 µs", "100.0 µs", "20.0 µs more with: 40.0 µs a span", "kept":
        assert part in text
