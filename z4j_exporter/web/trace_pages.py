"""The pages of traces: a list of the latest, and one as a tree beside a picture of its time."""

from collections.abc import Sequence
from typing import NamedTuple

from z4j_exporter.web import humanize, values
from z4j_exporter.web.frame import Place, document
from z4j_exporter.web.markup import (
    NOTHING,
    Html,
    clean,
    element,
    join,
    link,
    segment,
    shape,
    svg,
    text,
    wire,
)
from z4j_exporter.web.tables import Column, Row, facts, section, table
from z4j_exporter.web.trace_model import Line, SpanLine, Story

#: Levels that are indented (page.css).
_DEEPEST = 12
#: The least part of the picture's width that a span has: it must be seen.
_LEAST_PERCENT = 0.4
#: How many traces a list may have.
_HOW_MANY = (20, 50, 200)
_NANO = 1_000_000_000
#: States that are not well, and how they are marked.
_KINDS = {
    "FAILURE": "bad", "LOST": "bad", "ERROR": "bad",
    "RETRY": "look", "REVOKED": "look", "REJECTED": "look",
}  # fmt: skip


class Elsewhere(NamedTuple):
    """Where links lead to."""

    #: The way up to ``/``.
    up: str = ""
    #: Where traces are kept, with ``{trace_id}`` in it; "" where nobody said.
    trace_url: str = ""

    def to(self, trace_id: str) -> str:
        """Return the address of a trace's page, by its own id or a task's."""
        return f"{self.up}traces/{segment(trace_id)}"


def latest_page(place: Place, lines: Sequence[Line], elsewhere: Elsewhere) -> bytes:
    """Return the list of the latest traces."""
    columns = [
        Column("Root", kind="name"),
        Column("Service", kind="name"),
        Column("Started"),
        Column("Took", number=True),
        Column("Spans", number=True),
        Column("Errors", number=True),
        Column("Trace", kind="id"),
    ]
    rows = [
        Row(
            line.trace_id,
            [
                link(elsewhere.to(line.trace_id), wire(_subject(line.root)) or text("unnamed")),
                wire(line.service) if line.service else values.UNKNOWN,
                values.moment(int(line.start_unix_nano) / _NANO),
                values.duration(line.duration_seconds),
                values.number(line.spans),
                _errors(line.errors),
                element("code", wire(line.trace_id)),
            ],
        )
        for line in lines
    ]
    if rows:
        content = table(text("The one that changed last first."), columns, rows)
    else:
        content = element(
            "p",
            text("There are none yet: a trace is there two seconds after its first task ended."),
            class_="empty",
        )
    more = [link(f"{elsewhere.up}traces?limit={each}", text(str(each))) for each in _HOW_MANY]
    how_many = element("p", text("Show the latest "), join(more, ", "), class_="beside")
    main = join([element("h1", text("Latest traces")), how_many, content])
    return document(place, "Latest traces", main)


def story_page(place: Place, story: Story, elsewhere: Elsewhere) -> bytes:
    """Return the page of one trace."""
    line = story.line
    name = _subject(line.root)
    known = [
        (text("Trace"), element("code", wire(line.trace_id))),
        (text("Started"), values.moment(int(line.start_unix_nano) / _NANO)),
        (text("Took"), values.duration(line.duration_seconds)),
        (text("Spans"), values.number(line.spans)),
        (text("Errors"), _errors(line.errors)),
        (text("As JSON"), link("?format=json", text("OTLP/JSON"))),
    ]
    if elsewhere.trace_url:
        address = elsewhere.trace_url.replace("{trace_id}", segment(line.trace_id))
        known.append((text("Elsewhere"), link(address, text("open \u2197"))))
    beside = None
    if line.spans > len(story.told):
        beside = text(
            f"the first {humanize.count(len(story.told))} of {humanize.count(line.spans)};"
            " JSON has all"
        )
    main = join(
        [
            element("h1", wire(name) if name else text("Trace")),
            facts(known, "about"),
            section("spans", "Spans", _spans(story, elsewhere), beside=beside),
        ]
    )
    return document(place, name or "Trace", main)


def matches_page(
    place: Place, sentence: str, matches: Sequence[str], elsewhere: Elsewhere
) -> bytes:
    """Return a page that leads to each of several traces."""
    items = [
        element("li", link(elsewhere.to(each), element("code", wire(each)))) for each in matches
    ]
    main = join(
        [element("h1", text("Which one?")), element("p", text(sentence)), element("ul", *items)]
    )
    return document(place, "Which one?", main)


def words_page(place: Place, sentence: str) -> bytes:
    """Return a page that says a sentence of ours."""
    words = f"{sentence[:1].upper()}{sentence[1:]}."
    main = join([element("h1", text("No trace")), element("p", text(words), class_="empty")])
    return document(place, "No trace", main)


def _spans(story: Story, elsewhere: Elsewhere) -> Html:
    columns = [
        Column("Span", kind="name"),
        Column("Who", kind="name"),
        Column("Starts", number=True, meaning="After the start of the trace"),
        Column("Took", number=True),
        Column("Waited", number=True, meaning="In the queue"),
        Column("Attempt", number=True),
        Column("When in the trace", kind="when"),
    ]
    total = story.line.duration_seconds
    rows = [
        Row(
            span.span_id,
            [
                _span(span, elsewhere),
                _who(span),
                join([text("+"), values.duration(max(0.0, span.offset_seconds))]),
                values.duration(span.duration_seconds),
                values.duration(span.waited_seconds) if span.kind == "process" else NOTHING,
                values.number(span.attempt) if span.attempt is not None else NOTHING,
                _bar(span, total),
            ],
            f"d{min(span.depth, _DEEPEST)}",
        )
        for span in story.told
    ]
    return table(text("As a tree: each under what it was started by."), columns, rows, "tree")


def _span(span: SpanLine, elsewhere: Elsewhere) -> Html:
    operation, _, task = span.name.partition(" ")
    named = (
        [element("span", wire(operation, 20), class_="operation"), text(" "), wire(task)]
        if task and operation in ("send", "process", "wait", "revoke")
        else [wire(span.name)]
    )
    kind = _KINDS.get(span.state, "bad" if span.error else "")
    if span.state:
        sign = values.mark(kind or "ok")
        named += [text(" "), element("span", sign, wire(span.state, 20), class_=f"state {kind}")]
    if span.depth > _DEEPEST:
        named.append(element("span", text(f" level {span.depth}"), class_="beside"))
    beneath = []
    if span.failure:
        beneath.append(element("p", wire(span.failure, 300), class_="failure"))
    if span.retry_of:
        old = link(elsewhere.to(span.retry_of), wire(span.retry_of, 40))
        beneath.append(element("p", text("sent again for "), old, class_="beside"))
    beneath += [
        element(
            "p", text("linked to trace "), link(elsewhere.to(each), wire(each, 40)), class_="beside"
        )
        for each in span.linked
    ]
    if span.oddity:
        beneath.append(element("p", text(span.oddity), class_="beside"))
    return element("div", element("span", *named), *beneath, class_="span")


def _who(span: SpanLine) -> Html:
    who = wire(span.worker or span.service) if span.worker or span.service else values.UNKNOWN
    if span.kind == "send" and span.queue:
        return join([who, text(" \u2192 "), wire(span.queue)])
    return who


def _bar(span: SpanLine, total: float) -> Html:
    """Return when in the trace a span was; the numbers beside it say the same."""
    left = 0.0 if total <= 0 else min(100.0, max(0.0, span.offset_seconds / total * 100))
    left = min(left, 100 - _LEAST_PERCENT)
    width = 0.0 if total <= 0 else span.duration_seconds / total * 100
    width = max(_LEAST_PERCENT, min(width, 100 - left))
    kind = _KINDS.get(span.state, "bad" if span.error else span.kind)
    return svg(
        shape("rect", x="0", y="50%", width="100%", height="1", class_="base"),
        shape("rect", x=f"{left:.2f}%", y="15%", width=f"{width:.2f}%", height="70%", class_="bar"),
        aria_hidden="true",
        class_=f"waterfall {clean(kind, 12)}",
    )


def _errors(count: int) -> Html:
    if not count:
        return values.number(0)
    return join([values.mark("bad"), text(" "), values.number(count)])


def _subject(name: str) -> str:
    """Return a span's name without what was done: the task."""
    operation, _, task = name.partition(" ")
    return task if task and operation in ("send", "process") else name
