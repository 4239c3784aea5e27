"""The status page over HTTP: users, headers, compression, HEAD, and beside scrapes."""

import gzip
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.html import Page, words
from tests.support.statuses import full
from tests.support.web import BODY, hashed, pages, serving, write_config
from z4j_exporter.web.pages import Pages
from z4j_exporter.web.reload import WebConfig
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.status import Status

PATHS = ["/", "/?refresh=off", "/traces", "/traces/x", "/metrics"]


def shown(**more: object) -> Pages:
    made = pages()
    return Pages(made.exposition, made.healthy, made.ready, status=full, **more)  # type: ignore[arg-type]


def test_it_is_behind_the_same_users_as_the_metrics(tmp_path: Path) -> None:
    users = f"basic_auth_users:\n  alice: {hashed('secret')}\n"
    with serving(
        shown(), web_config=WebConfig(write_config(tmp_path, users), WebStats())
    ) as listener:
        url = listener.url
        for path in PATHS:
            refused = httpx.get(url + path)
            assert (refused.status_code, refused.text) == (401, "Unauthorized.\n")
            assert "shop" not in refused.text
            assert httpx.get(url + path, auth=("alice", "wrong")).status_code == 401
        page = httpx.get(url, auth=("alice", "secret"))
        assert page.status_code == 200
        assert "mail-2@h4" in words(Page(page.content).by_id("workers"))


def test_compressed_where_that_is_wanted() -> None:
    with (
        serving(shown()) as listener,
        httpx.Client(headers={"accept-encoding": "gzip"}) as client,
    ):
        url = listener.url
        with client.stream("GET", url) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert len(raw) == int(answer.headers["content-length"]) < 20_000
        assert b"Something is wrong" in gzip.decompress(raw)
        plain = client.get(url, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == gzip.decompress(raw), "within a second it is the same page"


def test_a_head_is_a_get_without_its_body() -> None:
    with serving(shown()) as listener:
        url = listener.url
        got, head = httpx.get(url), httpx.head(url)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-type", "content-length", "content-security-policy", "cache-control"):
            assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    ("query", "status", "again"),
    [
        ("", 200, "5"),
        ("?refresh=60", 200, "60"),
        ("?refresh=off", 200, ""),
        ("?refresh=7", 400, ""),
    ],
)
def test_how_often_it_renews_itself(query: str, status: int, again: str) -> None:
    with serving(shown()) as listener:
        url = listener.url
        answer = httpx.get(f"{url}/{query}")
        assert answer.status_code == status
        assert (f'http-equiv="refresh" content="{again}"' in answer.text) is bool(again)


def test_scrapes_go_on_while_a_picture_is_taken() -> None:
    go, taking = threading.Event(), threading.Event()

    def slow() -> Status:
        taking.set()
        assert go.wait(20)
        return full()

    made = pages()
    with serving(Pages(made.exposition, made.healthy, made.ready, status=slow)) as listener:
        url = listener.url
        answers: list[httpx.Response] = []
        reader = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=30)))
        reader.start()
        assert taking.wait(10)
        assert httpx.get(f"{url}/metrics", timeout=5).content == BODY
        assert httpx.get(f"{url}/-/ready", timeout=5).status_code == 200
        go.set()
        reader.join(10)
        assert [each.status_code for each in answers] == [200]
