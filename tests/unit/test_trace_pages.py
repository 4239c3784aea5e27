"""The pages of traces for browsers, and that everyone else gets JSON as ever."""

import json
import re

import pytest

from tests.support.html import Page, words
from tests.support.statuses import HOSTILE
from z4j_exporter.tracing.answers import TraceAnswers
from z4j_exporter.tracing.memory import RecentSpans
from z4j_exporter.tracing.model import (
    CONSUMER,
    PRODUCER,
    Attributes,
    Link,
    Source,
    Span,
    SpanEvent,
)
from z4j_exporter.web.asgi import HTML
from z4j_exporter.web.frame import HEADERS
from z4j_exporter.web.negotiation import prefers_html
from z4j_exporter.web.traces import Answer, Asked, answer

POLICY = dict(HEADERS)[b"content-security-policy"].decode()
#: What Chromium and Firefox send.
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TRACE = bytes.fromhex("6f4aa60ded9e4e99aa5bf3fcd7aedbea")
TASK = "6f4aa60d-ed9e-4e99-aa5b-f3fcd7aedbea"
OTHER = bytes.fromhex("11" * 16)
START = 1_795_190_400_000_000_000
MS = 1_000_000


def span(
    number: int, parent: int, name: str, kind: int, start_ms: int, took_ms: int, **more: object
) -> Span:
    attributes: Attributes = (("messaging.message.id", TASK), ("celery.task.retries", 0))
    given = {"attributes": attributes, "source": Source("shop", "shop-1@h1"), **more}
    return Span(
        trace_id=TRACE,
        span_id=number.to_bytes(8, "big"),
        parent_id=parent.to_bytes(8, "big") if parent else b"",
        kind=kind,
        name=name,
        start_ns=START + start_ms * MS,
        end_ns=START + (start_ms + took_ms) * MS,
        **given,  # type: ignore[arg-type]  # fields of several types
    )


def told(*more: Span) -> TraceAnswers:
    recent = RecentSpans(5000)
    failed: Attributes = (
        ("celery.task.state", "FAILURE"),
        ("celery.task.retries", 1),
        ("celery.task.queue_wait_seconds", 0.04),
        ("celery.task.retry_of", "old-id"),
    )
    raised = SpanEvent(
        "exception", START, (("exception.type", "ValueError"), ("exception.message", "no\nmore"))
    )
    recent.take(
        [
            span(
                1, 0, "send shop.pay", PRODUCER, 0, 0,
                attributes=(("messaging.destination.name", "celery"), ("celery.task.retries", 0)),
            ),
            span(
                2, 1, "process shop.pay", CONSUMER, 40, 60,
                attributes=failed, error=True, events=(raised,), links=(Link(OTHER, b"8" * 8),),
            ),
            *more,
        ]
    )  # fmt: skip
    return TraceAnswers(recent)


def ask(
    traces: TraceAnswers | None, path: str, query: bytes = b"", accept: str = BROWSER
) -> Answer:
    return answer(
        traces,
        Asked(path, query, accept),
        version="1.2.3",
        trace_url="https://t.example/{trace_id}",
    )


def page(made: Answer) -> Page:
    assert made.content_type == HTML
    shown = Page(made.body)
    shown.check(POLICY)
    assert shown.all("script") == []
    return shown


def test_a_trace_is_a_tree_beside_a_picture_of_its_time() -> None:
    made = ask(told(), f"/traces/{TASK}")
    assert made.status == 200
    shown = page(made)
    assert words(shown.one("h1")) == "shop.pay"
    head, send, process = shown.rows("spans")
    assert head[0] == "Span"
    assert send[:6] == ["send shop.pay", "shop-1@h1 → celery", "+ 0 s", "0 s", "", "1"]
    assert process[1:6] == ["shop-1@h1", "+ 40 ms", "60 ms", "40 ms", "2"]
    assert process[0] == (
        "process shop.pay ✕ FAILURE ValueError: no sent again for old-id"
        f" linked to trace {OTHER.hex()}"
    )
    depths = [row.get("class") for row in shown.all("tr")[1:]]
    assert depths == ["d0", "d1"]
    bars = [each for each in shown.all("rect") if each.get("class") == "bar"]
    assert [(each.get("x"), each.get("width")) for each in bars] == [
        ("0.00%", "0.40%"), ("40.00%", "60.00%"),
    ]  # fmt: skip
    assert {
        "../traces/old-id", f"../traces/{OTHER.hex()}", "?format=json", "../metrics", "../traces",
        f"https://t.example/{TRACE.hex()}",
    } <= set(shown.links())  # fmt: skip


def test_the_list_leads_to_each() -> None:
    shown = page(ask(told(), "/traces"))
    row = [words(each) for each in shown.all("td")]
    assert words(shown.all("th")[-1]) == "shop.pay"
    assert row == ["shop", "2026-11-20 16:00:00 UTC", "100 ms", "2", "✕ 1", TRACE.hex()]
    assert f"traces/{TRACE.hex()}" in shown.links()
    assert f"../traces/{TRACE.hex()}" in page(ask(told(), "/traces/")).links()


def test_an_empty_list_says_why() -> None:
    assert "There are none yet" in words(
        page(ask(TraceAnswers(RecentSpans(10)), "/traces")).one("main")
    )


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/html;q=0.5, application/json;q=0.4", True),
        ("text/html;q=0.4, application/json;q=0.5", False),
        ("text/*", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("text/html, application/json", False),
        ("text/html;q=0, */*", False),
        ("nonsense;;;q=x,", False),
    ],
)
def test_browsers_get_pages_and_programs_json(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html
    for path in ("/traces", f"/traces/{TRACE.hex()}"):
        made = ask(told(), path, accept=accept)
        assert made.content_type == (HTML if html else b"application/json")
        if not html:
            json.loads(made.body)


def test_the_format_can_be_chosen() -> None:
    assert ask(told(), "/traces", b"format=json").content_type == b"application/json"
    page(ask(told(), f"/traces/{TASK}", b"format=html", accept="*/*"))
    for query in (b"format=xml", b"format="):
        made = ask(told(), "/traces", query, accept="*/*")
        assert (made.status, made.body) == (400, b"format must be json or html\n")


@pytest.mark.parametrize(
    ("traces", "path", "query", "status", "sentence"),
    [
        (None, "/traces", b"", 404, "No traces are kept: start the exporter with"),
        (told(), "/traces/ffffffff", b"", 404, "No trace or task 'ffffffff' is remembered"),
        (told(), "/traces", b"limit=0", 400, "Limit must be a number from 1 to 200"),
        (told(), "/traces/<script>", b"", 404, "No trace or task '<script>' is remembered"),
    ],
)
def test_what_is_wrong_is_said_on_a_page_too(
    traces: TraceAnswers | None, path: str, query: bytes, status: int, sentence: str
) -> None:
    made = ask(traces, path, query)
    assert made.status == status
    assert sentence in words(page(made).one("main"))


def test_one_of_several_can_be_chosen() -> None:
    class Several(TraceAnswers):
        def find(self, wanted: str) -> list[str]:  # noqa: ARG002 - the Protocol's
            return ["0b1e7a3c", "0b1e7a3d"]

    made = ask(Several(RecentSpans(10)), "/traces/0b1e7a3")
    assert made.status == 409
    assert {"../traces/0b1e7a3c", "../traces/0b1e7a3d"} <= set(page(made).links())


def test_a_long_trace_is_cut_and_says_so() -> None:
    deep = [span(10 + i, 9 + i if i else 1, f"send t{i}", PRODUCER, i, 1) for i in range(700)]
    shown = page(ask(told(*deep), f"/traces/{TASK}"))
    assert len(shown.rows("spans")) == 501
    assert "the first 500 of 702; JSON has all" in words(shown.by_id("spans"))
    assert "level 13" in words(shown.by_id("spans"))


def test_what_cannot_be_drawn_is_said() -> None:
    shown = page(ask(told(span(7, 99, "send a", PRODUCER, 5, 1)), f"/traces/{TASK}"))
    assert "its parent, span 0000000000000063, is not among them" in words(shown.by_id("spans"))


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_text_acts_whatever_it_is(evil: str) -> None:
    attributes: Attributes = tuple(
        (name, evil)
        for name in (
            "celery.task.state", "celery.task.retries", "celery.task.retry_of", "error.type",
            "messaging.destination.name", "celery.task.queue_wait_seconds", "messaging.message.id",
        )
    )  # fmt: skip
    raised = SpanEvent("exception", START, (("exception.type", evil), ("exception.message", evil)))
    bad = span(
        5, 0, evil, CONSUMER, 0, 1,
        attributes=attributes, source=Source(evil, evil), events=(raised,), error=True,
        status_message=evil,
    )  # fmt: skip
    recent = RecentSpans(10, max_bytes=100_000_000)
    recent.take([bad])
    for path in ("/traces", f"/traces/{TRACE.hex()}"):
        made = ask(TraceAnswers(recent), path)
        shown = page(made)
        assert shown.all("b") == shown.all("img") == []
        assert len(made.body) < 60_000
        assert [
            c for c in shown.text.replace("\n", "") if not c.isprintable() and c != "\u202f"
        ] == []
        inside = [link for link in shown.links() if "://" not in link]
        assert all(re.fullmatch(r"[#?\w./%=-]*", link) for link in inside), inside
    # Programs get what they always got.
    assert ask(TraceAnswers(recent), f"/traces/{TRACE.hex()}", accept="*/*").status == 200
