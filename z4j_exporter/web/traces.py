"""The pages of recent traces: /traces tells the latest, /traces/ID gives one as OTLP/JSON."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl

from z4j_exporter.web.asgi import TEXT

TRACES_PATH = "/traces"
_JSON = b"application/json"
#: Traces told when a request does not say how many, and at the most.
_LATEST, _LATEST_MOST = 20, 200
#: Characters of an id: Celery's have 36, applications may choose others.
_ID_MOST = 512
#: Matches that are listed when an id is that of several traces.
_MATCHES_TOLD = 10
#: Fields of a query string.
_FIELDS_MOST = 20

NOT_KEPT = (
    "no traces are kept: start the exporter with --otlp-endpoint, or with --trace-memory-spans 5000"
)


class Traces(Protocol):
    """The traces that are remembered. Called in worker threads, by two of them at a time."""

    def latest(self, count: int) -> bytes:
        """Return the latest traces, a line of facts each, as a JSON object."""

    def find(self, wanted: str) -> Sequence[str]:
        """Return the ids of the traces that a trace's or a task's id, or its beginning, names."""

    def otlp_json(self, trace_id: str) -> bytes | None:
        """Return a trace as OTLP/JSON, None when it was forgotten meanwhile."""


class Answer(NamedTuple):
    """What a request gets."""

    status: int
    content_type: bytes
    body: bytes


def answer(traces: Traces | None, path: str, query_string: bytes) -> Answer:
    """Answer a request for TRACES_PATH or something beneath it. May take a while."""
    if traces is None:
        return _text(404, NOT_KEPT)
    wanted = path.removeprefix(TRACES_PATH).strip("/")
    if not wanted:
        return _latest(traces, query_string)
    matches = traces.find(wanted) if len(wanted) <= _ID_MOST else []
    if not matches:
        return _text(404, f"no trace or task {_quoted(wanted)} is remembered{_ADVICE}")
    if len(matches) > 1:
        told = ", ".join(matches[:_MATCHES_TOLD]) + (", …" if len(matches) > _MATCHES_TOLD else "")
        return _text(409, f"{len(matches)} traces match {_quoted(wanted)}: {told}")
    body = traces.otlp_json(matches[0])
    if body is None:
        return _text(404, f"trace {matches[0]} was forgotten just now{_ADVICE}")
    return Answer(200, _JSON, body)


_ADVICE = (
    ": a trace is there two seconds after its first task has ended, and until newer ones need its"
    " room (--trace-memory-spans); /traces lists the latest"
)


def _latest(traces: Traces, query_string: bytes) -> Answer:
    count = _LATEST
    try:
        pairs = parse_qsl(query_string.decode("latin-1"), max_num_fields=_FIELDS_MOST)
        for key, value in pairs:
            if key == "limit":
                count = int(value)
    except ValueError:
        count = 0
    if not 1 <= count <= _LATEST_MOST:
        return _text(400, f"limit must be a number from 1 to {_LATEST_MOST}")
    return Answer(200, _JSON, traces.latest(count))


def _text(status: int, sentence: str) -> Answer:
    return Answer(status, TEXT, f"{sentence}\n".encode())


def _quoted(wanted: str) -> str:
    """Return what was asked for, such that nothing in it can pass for our own words."""
    return ascii(wanted if len(wanted) <= 80 else f"{wanted[:80]}…")
