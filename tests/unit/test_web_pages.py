"""The pages, asked as an ASGI server would ask."""

import asyncio
import gzip
import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.support.html import Page, words
from tests.support.process import wait_until
from tests.support.statuses import full
from tests.support.web import BODY, CONTENT_TYPE, pages
from z4j_exporter.web.asgi import App, Message
from z4j_exporter.web.pages import Pages, Readiness, create_app
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.status import Status
from z4j_exporter.web.trace_model import Line, Story, Traces

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


def test_without_a_picture_the_page_says_what_the_probes_say() -> None:
    evil = "<script>alert(1)</script>\"'&"
    shown = pages(ready=Readiness(False, f"no {evil}"), version=f"1.2.3{evil}", source=f"r{evil}")
    status, headers, body = get(shown, "/")
    page = Page(body)
    page.check(headers[b"content-security-policy"].decode())
    assert (status, headers[b"content-type"]) == (200, b"text/html; charset=utf-8")
    assert f"no {evil}" in words(page.one("main"))
    assert f"1.2.3{evil}" in words(page.one("header"))
    assert f"r{evil}" in words(page.by_id("about"))
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"referrer-policy"] == b"no-referrer"


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    policy = get(pages(), "/")[1][b"content-security-policy"].decode()
    allowed = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert allowed.pop("default-src") == "'none'"
    assert allowed.pop("connect-src") == "'self'"
    assert allowed.pop("img-src") == "data:"
    assert all(allowed.pop(name).startswith("'sha256-") for name in ("style-src", "script-src"))
    assert set(allowed) == {"base-uri", "form-action", "frame-ancestors"}
    assert set(allowed.values()) == {"'none'"}


def test_ill_health_comes_before_readiness() -> None:
    shown = pages(healthy=Readiness(False, "the reader has ended"))
    assert "the reader has ended" in words(Page(get(shown, "/")[2]).one("main"))


def test_a_picture_that_cannot_be_taken_leaves_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Status:
        raise TimeoutError("a secret detail")

    shown = replace(pages(ready=Readiness(True, "connected"), source="redis://h"), status=broken)
    status, _, body = get(shown, "/")
    told = words(Page(body).one("main"))
    assert status == 200
    assert "The rest could not be read: the log says why." in told
    assert "redis://h" in told
    assert "secret" not in told
    assert "a secret detail" in caplog.text


def test_the_page_is_shown_again_for_a_second() -> None:
    taken: list[str] = []

    def take() -> Status:
        taken.append(threading.current_thread().name)
        return replace(full(), version=f"1.0.{len(taken)}")

    now = [100.0]

    async def scenario() -> list[str]:
        app = create_app(replace(pages(), status=take), WebStats(), monotonic=lambda: now[0])
        shown = []
        for seconds, query in ((0, b""), (0.9, b""), (0, b"refresh=15"), (0.2, b"")):
            now[0] += seconds
            body = (await ask(app, "/", query=query))[2]
            shown.append(words(Page(body).one("header")).split()[1])
        return shown

    assert asyncio.run(scenario()) == ["1.0.1", "1.0.1", "1.0.2", "1.0.3"]
    assert taken == ["z4j-page-1"] * 3, "not in the event loop, nor in a thread of the scrapes"


def test_a_page_that_takes_long_holds_up_no_scrape() -> None:
    go = threading.Event()

    def take() -> Status:
        assert go.wait(10)
        return full()

    async def scenario() -> tuple[list[Answer], list[Answer]]:
        app = create_app(replace(pages(), status=take), WebStats())
        slow = [asyncio.create_task(ask(app, "/")) for _ in range(30)]
        scraped = [await ask(app, "/metrics") for _ in range(3)]
        go.set()
        return scraped, await asyncio.gather(*slow)

    scraped, shown = asyncio.run(scenario())
    assert [status for status, _, _ in scraped] == [200] * 3
    assert sorted({status for status, _, _ in shown}) == [200, 503], "nor do they pile up"


@pytest.mark.parametrize("query", [b"refresh=1", b"refresh=<b>", b"refresh=-5"])
def test_a_refresh_that_is_not_offered_is_refused(query: bytes) -> None:
    status, headers, body = get(pages(), "/", query=query)
    assert (status, body) == (400, b"refresh must be one of 5, 15, 60, off\n")
    assert headers[b"content-type"].startswith(b"text/plain")


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

    def lines(self, count: int) -> list[Line]:  # noqa: ARG002 - the Protocol's
        raise AssertionError("nobody wants a page")

    def story(self, trace_id: str, most: int) -> Story | None:  # noqa: ARG002 - the Protocol's
        raise AssertionError("nobody wants a page")

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
