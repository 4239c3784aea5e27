"""The pages, asked as an ASGI server would ask."""

import asyncio
import gzip
import threading
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.support.process import wait_until
from tests.support.web import BODY, CONTENT_TYPE, pages
from z4j_exporter.web.asgi import App, Message
from z4j_exporter.web.pages import Pages, Readiness, create_app
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.traces import Traces

Answer = tuple[int, dict[bytes, bytes], bytes]


async def ask(
    app: App, path: str, method: str = "GET", query: bytes = b"", **headers: str
) -> Answer:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nobody reads the body")

    listed = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query, "headers": listed,
    }  # fmt: skip
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), body


def get(shown: Pages, path: str, *, stats: WebStats | None = None, **more: Any) -> Answer:
    return asyncio.run(ask(create_app(shown, stats or WebStats()), path, **more))


def test_metrics() -> None:
    asked = []

    def render(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        asked.append((accept, names, threading.current_thread().name))
        return CONTENT_TYPE, BODY

    status, headers, body = get(
        pages(render), "/metrics", query=b"name[]=a&name[]=b", accept="text/plain"
    )
    assert (status, headers[b"content-type"], body) == (200, CONTENT_TYPE.encode(), BODY)
    assert b"content-encoding" not in headers
    assert asked == [("text/plain", ["a", "b"], "z4j-render-1")]


def test_gzip_when_asked_and_worth_it() -> None:
    large = BODY * 100
    status, headers, body = get(
        pages(lambda *_: (CONTENT_TYPE, large)), "/metrics", accept_encoding="gzip"
    )
    assert (status, headers[b"content-encoding"]) == (200, b"gzip")
    assert int(headers[b"content-length"]) == len(body) < len(large)
    assert gzip.decompress(body) == large
    assert get(pages(), "/metrics", accept_encoding="gzip")[2] == BODY, "too small to compress"


def test_an_exposition_that_fails_is_a_plain_500_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def render(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        raise ValueError("a secret detail")

    stats = WebStats()
    status, _, body = get(pages(render), "/metrics", stats=stats)
    assert (status, stats.exposition_errors) == (500, 1)
    assert b"secret" not in body
    assert "a secret detail" in caplog.text


def test_scrapes_wait_for_two_threads_and_not_without_end() -> None:
    go = threading.Event()
    at_work = []

    def render(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        at_work.append(1)
        assert go.wait(10)
        return CONTENT_TYPE, BODY

    stats = WebStats()

    async def scenario() -> tuple[Answer, list[Answer]]:
        app = create_app(pages(render), stats)
        waiting = [asyncio.create_task(ask(app, "/metrics")) for _ in range(18)]
        await asyncio.sleep(0)
        refused = await ask(app, "/metrics")
        healthy = await ask(app, "/-/healthy")
        assert healthy[0] == 200, "the other pages do not wait"
        await asyncio.to_thread(wait_until, lambda: len(at_work) == 2)
        go.set()
        return refused, await asyncio.gather(*waiting)

    refused, answered = asyncio.run(scenario())
    assert (refused[0], refused[1][b"retry-after"]) == (503, b"1")
    assert {answer[0] for answer in answered} == {200}
    assert stats.busy_responses == 1


@pytest.mark.parametrize(
    ("path", "state", "status", "text"),
    [
        ("/-/healthy", Readiness(True, ""), 200, b"Healthy.\n"),
        ("/-/healthy", Readiness(False, "the applier has ended"), 503, b"the applier has ended\n"),
        ("/-/ready", Readiness(True, "connected"), 200, b"Ready.\n"),
        ("/-/ready", Readiness(False, "not connected yet"), 503, b"not connected yet\n"),
    ],
)
def test_probes(path: str, state: Readiness, status: int, text: bytes) -> None:
    answer = get(pages(healthy=state, ready=state), path)
    assert (answer[0], answer[2]) == (status, text)


def test_a_probe_that_cannot_be_answered_has_failed() -> None:
    def broken() -> Readiness:
        raise RuntimeError

    shown = Pages(lambda *_: (CONTENT_TYPE, BODY), broken, broken)
    assert get(shown, "/-/healthy")[0] == 503
    assert get(shown, "/-/ready")[0] == 503
    assert get(shown, "/")[0] == 200


def test_an_unknown_path_leads_to_the_known_ones() -> None:
    status, headers, body = get(pages(), "/metric")
    assert status == 404
    assert headers[b"content-type"].startswith(b"text/plain")
    assert b"/metrics /-/healthy /-/ready" in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FOO"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/traces", "/traces/x", "/nowhere"])
def test_other_methods_are_refused(method: str, path: str) -> None:
    status, headers, _ = get(pages(), path, method=method)
    assert (status, headers[b"allow"], headers[b"connection"]) == (405, b"GET, HEAD", b"close")


class Elements(HTMLParser):
    """Collects tags, links and text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_landing_page_leads_on_and_escapes_everything() -> None:
    evil = "<script>alert(1)</script>\"'&"
    shown = pages(ready=Readiness(False, f"no {evil}"), version=f"1.2.3{evil}", source=f"r{evil}")
    status, headers, body = get(shown, "/")
    page = Elements(body)
    assert status == 200
    assert page.links == ["metrics", "-/healthy", "-/ready"], "relative: it may be behind a proxy"
    assert "script" not in page.tags
    assert f"Not ready: no {evil}" in page.words
    assert f"version 1.2.3{evil}" in page.words
    assert f"r{evil}" in page.words
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'; style-src 'sha256-")


def test_the_landing_page_shows_ill_health_first() -> None:
    shown = pages(healthy=Readiness(False, "the reader has ended"))
    assert "Not ready: the reader has ended" in Elements(get(shown, "/")[2]).words


def test_a_prometheus_is_told_from_everyone_else() -> None:
    asked: list[str] = []

    def render(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        asked.append(scraper)
        return CONTENT_TYPE, BODY

    get(pages(render), "/metrics", user_agent="curl/8")
    get(
        pages(render),
        "/metrics",
        x_prometheus_scrape_timeout_seconds="10",
    )
    assert asked[0] == ""
    assert asked[1] != ""


def test_the_probe_of_celery_exporter_works() -> None:
    assert get(pages(), "/health")[0] == 200


class Remembered:
    """Traces as the page asks for them."""

    def __init__(self) -> None:
        self.ids: dict[str, bytes | None] = {
            "0b1e7a3c" + "0" * 24: b'{"resourceSpans":[]}',
            "0b1e7a3d" + "0" * 24: b"{}",
        }
        self.asked: list[int] = []

    def latest(self, count: int) -> bytes:
        self.asked.append(count)
        return b'{"traces":[]}'

    def find(self, wanted: str) -> list[str]:
        return [each for each in self.ids if wanted and each.startswith(wanted)]

    def otlp_json(self, trace_id: str) -> bytes | None:
        return self.ids[trace_id]


def traced(traces: Traces | None, path: str, **more: Any) -> Answer:
    return get(replace(pages(), traces=traces), path, **more)


def test_without_traces_the_page_says_why() -> None:
    for path in ("/traces", "/traces/0b1e7a3c"):
        status, headers, body = traced(None, path)
        assert status == 404
        assert headers[b"content-type"].startswith(b"text/plain")
        assert body.startswith(b"no traces are kept: start the exporter with --otlp-endpoint")


@pytest.mark.parametrize(
    ("path", "query", "asked"),
    [("/traces", b"", 20), ("/traces/", b"limit=7", 7), ("/traces", b"limit=200&x=1", 200)],
)
def test_the_latest_traces(path: str, query: bytes, asked: int) -> None:
    remembered = Remembered()
    status, headers, body = traced(remembered, path, query=query)
    assert (status, headers[b"content-type"], body) == (200, b"application/json", b'{"traces":[]}')
    assert remembered.asked == [asked]


@pytest.mark.parametrize(
    "query", [b"limit=0", b"limit=201", b"limit=-1", b"limit=x", b"limit=\xff", b"a=1&" * 30]
)
def test_a_limit_that_is_none(query: bytes) -> None:
    remembered = Remembered()
    status, _, body = traced(remembered, "/traces", query=query)
    assert (status, body) == (400, b"limit must be a number from 1 to 200\n")
    assert remembered.asked == []


def test_one_trace_is_otlp_json() -> None:
    status, headers, body = traced(Remembered(), "/traces/0b1e7a3c")
    assert (status, headers[b"content-type"]) == (200, b"application/json")
    assert body == b'{"resourceSpans":[]}'


def test_several_matches_are_told() -> None:
    status, _, body = traced(Remembered(), "/traces/0b1e7a3")
    assert status == 409
    assert body.startswith(b"2 traces match '0b1e7a3': 0b1e7a3c")


@pytest.mark.parametrize(
    "wanted", ["ffffffff", "x\n\x1b[31m\ud800é", "../metrics", "x" * 10_000, "a/b"]
)
def test_a_trace_that_is_not_there_is_a_sentence_that_cannot_be_forged(wanted: str) -> None:
    status, headers, body = traced(Remembered(), f"/traces/{wanted}")
    assert status == 404
    assert headers[b"content-type"].startswith(b"text/plain")
    assert body.startswith(b"no trace or task '")
    assert b"/traces lists the latest" in body
    assert body.decode("ascii").rstrip("\n").isprintable()
    assert len(body) < 400


def test_a_trace_forgotten_meanwhile() -> None:
    remembered = Remembered()
    remembered.ids = {"0b1e7a3c": None}
    assert traced(remembered, "/traces/0b1e7a3c")[0] == 404


def test_traces_that_cannot_be_rendered_are_a_500_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Remembered):
        def otlp_json(self, trace_id: str) -> bytes | None:
            raise ValueError(f"a secret detail of {trace_id}")

    status, _, body = traced(Broken(), "/traces/0b1e7a3c")
    assert (status, body) == (500, b"The traces could not be rendered; the log says why.\n")
    assert "a secret detail" in caplog.text


def test_a_large_trace_is_compressed() -> None:
    remembered = Remembered()
    remembered.ids = {"0b": b"{}" * 1000}
    status, headers, body = traced(remembered, "/traces/0b", accept_encoding="gzip")
    assert (status, headers[b"content-encoding"]) == (200, b"gzip")
    assert gzip.decompress(body) == b"{}" * 1000


@pytest.mark.parametrize("path", ["/tracesx", "/trace"])
def test_what_only_begins_like_it_is_another_path(path: str) -> None:
    assert traced(Remembered(), path)[2].startswith(b"Not found.")
