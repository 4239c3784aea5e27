"""Answers for recent traces: /traces tells the latest, /traces/ID one; as JSON or as a page."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

from z4j_exporter.web.asgi import HTML, TEXT
from z4j_exporter.web.frame import Place
from z4j_exporter.web.negotiation import prefers_html
from z4j_exporter.web.trace_model import Traces
from z4j_exporter.web.trace_pages import (
    Elsewhere,
    latest_page,
    matches_page,
    story_page,
    words_page,
)

TRACES_PATH = "/traces"
_JSON = b"application/json"
#: Traces told when a request does not say how many, and at the most.
_LATEST, _LATEST_MOST = 20, 200
#: Spans of one trace that a page shows; JSON has all of them.
_SPANS_MOST = 500
#: Characters of an id: Celery's have 36, applications may choose others.
_ID_MOST = 512
#: Matches that are listed when an id is that of several traces.
_MATCHES_TOLD = 10
#: Fields of a query string.
_FIELDS_MOST = 20

NOT_KEPT = (
    "no traces are kept: start the exporter with --otlp-endpoint, or with --trace-memory-spans 5000"
)


class Answer(NamedTuple):
    """What a request gets."""

    status: int
    content_type: bytes
    body: bytes


class Asked(NamedTuple):
    """What a request asks for."""

    path: str
    query_string: bytes = b""
    #: The Accept header; "" without one.
    accept: str = ""


class _Form(NamedTuple):
    """How an answer is told."""

    html: bool
    place: Place
    elsewhere: Elsewhere

    def words(self, status: int, sentence: str) -> Answer:
        """Return a sentence."""
        if self.html:
            return Answer(status, HTML, words_page(self.place, sentence))
        return Answer(status, TEXT, f"{sentence}\n".encode())


def answer(
    traces: Traces | None, asked: Asked, *, version: str = "", trace_url: str = ""
) -> Answer:
    """Answer a request for TRACES_PATH or something beneath it. May take a while."""
    up = "../" * (asked.path.count("/") - 1)
    place = Place("traces", up, version, traces=traces is not None)
    elsewhere = Elsewhere(up, trace_url)
    fields = _fields(asked.query_string)
    wish = fields.get("format", "html" if prefers_html(asked.accept) else "json")
    form = _Form(wish == "html", place, elsewhere)
    if wish not in ("html", "json"):
        return form.words(400, "format must be json or html")
    if traces is None:
        return form.words(404, NOT_KEPT)
    wanted = asked.path.removeprefix(TRACES_PATH).strip("/")
    return _one(traces, wanted, form) if wanted else _latest(traces, fields.get("limit"), form)


_ADVICE = (
    ": a trace is there two seconds after its first task has ended, and until newer ones need its"
    " room (--trace-memory-spans); /traces lists the latest"
)


def _one(traces: Traces, wanted: str, form: _Form) -> Answer:
    matches = traces.find(wanted) if len(wanted) <= _ID_MOST else []
    if not matches:
        return form.words(404, f"no trace or task {_quoted(wanted)} is remembered{_ADVICE}")
    if len(matches) > 1:
        return _several(matches, wanted, form)
    if form.html:
        story = traces.story(matches[0], _SPANS_MOST)
        if story is not None:
            return Answer(200, HTML, story_page(form.place, story, form.elsewhere))
    else:
        body = traces.otlp_json(matches[0])
        if body is not None:
            return Answer(200, _JSON, body)
    return form.words(404, f"trace {matches[0]} was forgotten just now{_ADVICE}")


def _several(matches: Sequence[str], wanted: str, form: _Form) -> Answer:
    sentence = f"{len(matches)} traces match {_quoted(wanted)}"
    told = matches[:_MATCHES_TOLD]
    if form.html:
        return Answer(409, HTML, matches_page(form.place, sentence, told, form.elsewhere))
    more = ", \u2026" if len(matches) > _MATCHES_TOLD else ""
    return form.words(409, f"{sentence}: {', '.join(told)}{more}")


def _latest(traces: Traces, limit: str | None, form: _Form) -> Answer:
    try:
        count = _LATEST if limit is None else int(limit)
    except ValueError:
        count = 0
    if not 1 <= count <= _LATEST_MOST:
        return form.words(400, f"limit must be a number from 1 to {_LATEST_MOST}")
    if form.html:
        return Answer(200, HTML, latest_page(form.place, traces.lines(count), form.elsewhere))
    return Answer(200, _JSON, traces.latest(count))


def _fields(query_string: bytes) -> dict[str, str]:
    text = query_string.decode("latin-1")
    try:
        return dict(parse_qsl(text, max_num_fields=_FIELDS_MOST, keep_blank_values=True))
    except ValueError:  # too many of them
        return {"limit": ""}


def _quoted(wanted: str) -> str:
    """Return what was asked for, such that nothing in it can pass for our own words."""
    return ascii(wanted if len(wanted) <= 80 else f"{wanted[:80]}…")
