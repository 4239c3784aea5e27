"""A trace told in a terminal: columns, cuts, waits, errors, hostile names."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.text import Text

from tests.support.spans import TRACE, failed, ran, sent, span
from z4j_exporter.tracing.model import (
    CLIENT,
    Source,
)
from z4j_exporter.tracing.story import attempts, moment, subject, tell
from z4j_exporter.tracing.tree import forest, walk

SPANS = [
    sent(1, 0, "visit", 0),
    ran(2, 1, "visit", 11, 103, "RETRY", **failed("PageError", "404 Not Found\nmore")),
    sent(3, 2, "visit", 110),
    ran(4, 3, "visit", 1110, 100, "SUCCESS", retries=1),
    sent(5, 4, "extract", 1120),
    ran(6, 5, "extract", 1130, 50, "SUCCESS"),
    sent(7, 4, "store", 1190),
]


def plain(lines: list[Text]) -> list[str]:
    return [line.plain.rstrip() for line in lines]


def test_every_span_is_a_line_and_an_error_one_more() -> None:
    assert plain(tell(SPANS, utc=True)) == [
        f"trace {TRACE.hex()} visit",
        "1970-01-01 00:00:01.000Z, 1.21 s, 7 spans, 1 error, crawler, web",
        "send visit                             +0 ms       0 ms  web (gen7@box) → crawl",
        "└ process visit RETRY               +11.0 ms   103.0 ms  crawler1@box, waited 11.5 ms",
        "  │   PageError: 404 Not Found",
        "  └ send visit                     +110.0 ms       0 ms  web (gen7@box) → crawl",
        "    └ process visit SUCCESS          +1.11 s   100.0 ms  crawler1@box, waited 11.5 ms,"
        " retry 1",
        "      ├ send extract                 +1.12 s       0 ms  web (gen7@box) → crawl",
        "      │ └ process extract SUCCESS    +1.13 s    50.0 ms  crawler1@box, waited 11.5 ms",
        "      └ send store                   +1.19 s       0 ms  web (gen7@box) → crawl",
    ]


def test_short_has_a_line_for_each_attempt_and_for_what_never_ran() -> None:
    lines = plain(tell(SPANS, short=True))[2:]
    names = [re.split(r" +\+\d", line)[0] for line in lines]
    assert names == [
        "visit RETRY",
        "│   PageError: 404 Not Found",
        "└ visit SUCCESS",
        "  ├ extract SUCCESS",
        "  └ send store",
    ]


def test_a_send_with_two_deliveries_stays_a_line_of_its_own() -> None:
    spans = [
        sent(1, 0, "a", 0),
        ran(2, 1, "a", 1, 1, "REJECTED"),
        ran(3, 1, "a", 5, 1, "SUCCESS"),
    ]
    rows = [(depth, node.span.name) for node, depth, _ in walk(attempts(forest(spans)))]
    assert rows == [(0, "send a"), (1, "a"), (1, "a")]


def test_what_hangs_under_the_send_stays_in_the_order_of_time() -> None:
    spans = [
        sent(1, 0, "a", 0),
        ran(2, 1, "a", 1, 50, "SUCCESS"),
        span(3, 1, name="revoke a", kind=CLIENT, at=30),
        sent(4, 2, "early", 10),
        sent(5, 2, "late", 40),
    ]
    rows = [(depth, node.span.name) for node, depth, _ in walk(attempts(forest(spans)))]
    assert rows == [(0, "a"), (1, "send early"), (1, "revoke a"), (1, "send late")]


@pytest.mark.parametrize("width", [10, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("short", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, short: bool) -> None:
    wide = [*SPANS, ran(9, 4, "日本語のとても長いタスク名" * 9, 1200, 9, "FAILURE",
                        **failed("E", "x" * 500))]  # fmt: skip
    lines = tell(wide, width, short=short)
    assert max(cell_len(line.plain) for line in lines) <= width
    if width >= 40:
        assert any(line.plain.lstrip("│ ").startswith("E: xxx") for line in lines)


def test_a_wide_terminal_has_a_picture_of_when() -> None:
    line = next(line for line in plain(tell(SPANS, 120)) if "process extract" in line)
    assert "··················━·" in line
    assert all(line.count("━") >= 1 for line in plain(tell(SPANS, 120)) if "waited" in line)


def test_names_are_coloured_by_state() -> None:
    coloured = {
        line.plain[piece.start : piece.end].strip(): str(piece.style)
        for line in tell(SPANS, 100)
        for piece in line.spans
    }
    assert "yellow" in coloured["process visit"] or "green" in coloured["process visit"]
    assert "yellow" in coloured["RETRY"]
    assert "green" in coloured["SUCCESS"]


def test_nothing_that_a_terminal_obeys_comes_through() -> None:
    evil = "a\x1b[31m\u202e\r\n\ud800\x9b"
    spans = [
        ran(1, 0xF, evil, 0, 1, evil, source=Source(evil, evil), **failed(evil, evil)),
        sent(2, 1, evil, 0, attributes=(("messaging.destination.name", evil),)),
        span(3, 1, error=True, status_message=evil),
    ]
    for short in (False, True):
        for line in tell(spans, short=short):
            assert line.plain.isprintable(), line.plain
            line.plain.encode()


def test_what_is_odd_is_said() -> None:
    lines = plain(tell([span(1, 0xABC), span(2, 3, at=1), span(3, 2, at=2)]))
    assert "    its parent, span 0000000000000abc, is not among them" in lines
    assert "│   its parents form a loop, opened here" in lines


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"attributes": (("error.type", "worker_lost"),), "status_message": "its worker is gone"},
         "worker_lost: its worker is gone"),
        ({"attributes": (("error.type", "rejected"),), "status_message": "rejected"}, "rejected"),
        ({"attributes": (("error.type", "KeyError"),)}, "KeyError"),
    ],
)  # fmt: skip
def test_an_error_without_exception_tells_its_type(more: dict[str, Any], said: str) -> None:
    assert plain(tell([span(1, error=True, **more)]))[-1].strip() == said


def test_a_very_deep_trace_is_drawn_within_bounds() -> None:
    spans = [span(number, number - 1, at=number) for number in range(1, 3001)]
    lines = tell(spans)
    assert len(lines) == 3002
    assert max(len(line.plain) for line in lines) < 150
    assert len(tell(spans, 80, short=True)) == 3002


def test_moments() -> None:
    at = int(datetime(2026, 11, 20, 13, 2, 11, 123456, UTC).timestamp() * 1e9)
    assert moment(at, utc=True) == "2026-11-20 13:02:11.123Z"
    assert moment(2**64 - 1, utc=True).startswith("2554-")
    assert len(moment(at)) == len("2026-11-20 13:02:11.123")


@pytest.mark.parametrize(
    ("name", "task"),
    [("send a.b", "a.b"), ("process a", "a"), ("revoke a", "revoke a"), ("send", "send"), ("", "")],
)
def test_the_subject_of_a_span(name: str, task: str) -> None:
    assert subject(name) == task
