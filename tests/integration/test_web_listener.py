"""The listener under well-behaved clients: addresses, protocol, counts, start and stop."""

import contextlib
import gc
import gzip
import logging
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.support.certs import certificates
from tests.support.process import require, wait_until
from tests.support.web import (
    BODY,
    CONTENT_TYPE,
    REQUEST,
    client_context,
    closed_by_peer,
    connect,
    dripping,
    hashed,
    listening,
    read_response,
    scrape,
    tls_section,
    write_config,
)
from z4j_exporter.errors import ListenError
from z4j_exporter.web.listener import Listener
from z4j_exporter.web.reload import WebConfig

LARGE = BODY * 150_000  # about 10 MB


@pytest.fixture(params=["plain", "tls"])
def web_config(request: pytest.FixtureRequest, tmp_path: Path) -> WebConfig | None:
    return WebConfig(write_config(tmp_path, tls_section())) if request.param == "tls" else None


def test_requests_in_a_row_without_waiting(web_config: WebConfig | None) -> None:
    with listening(web_config=web_config) as listener:
        sock = connect(listener)
        sock.sendall(
            REQUEST * 20 + b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        received = b""
        while data := sock.recv(65536):
            received += data
        assert received.count(b"200 OK") == 21
        assert received.endswith(b"Ready.\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", b"405"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n", b"413"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", b"200"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000, b"400"),
        (b"\x16\x03\x01\x02\x00 is no HTTP\r\n\r\n", b"400"),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"200"),
    ],
)
def test_odd_requests_are_answered_and_the_next_client_is_served(
    sent: bytes, status: bytes
) -> None:
    with listening() as listener:
        sock = connect(listener)
        sock.sendall(sent)
        assert sock.recv(65536).split(b" ")[1] == status
        assert scrape(listener).content == BODY
        sock.close()


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    users = f"basic_auth_users:\n  alice: {hashed('secret')}\n"
    config = WebConfig(write_config(tmp_path, tls_section(), users))
    before = threading.enumerate()
    config.start()
    with listening(web_config=config) as listener:
        assert scrape(listener, auth=("alice", "secret")).content == BODY
        names = {thread.name for thread in threading.enumerate()}
        assert names >= {"z4j-web", "z4j-web-config", "z4j-passwords-1", "z4j-render-1"}
        assert all(t.daemon for t in threading.enumerate() if t.name.startswith("z4j-"))
    config.stop()
    wait_until(lambda: {t for t in threading.enumerate() if t not in before} == set())


def test_gzip_and_head(web_config: WebConfig | None) -> None:
    with listening(web_config=web_config, render=lambda *_: (CONTENT_TYPE, LARGE)) as listener:
        sock = connect(listener)
        sock.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n"))
        response, body = read_response(sock)
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(body) == LARGE
        assert scrape(listener, headers={"Accept-Encoding": "identity"}).content == LARGE
        head = httpx.head(f"{listener.url}/metrics", verify=client_context())
        assert (head.status_code, head.content) == (200, b"")


def test_every_interface_ipv4_and_ipv6() -> None:
    with listening(":0") as listener:
        assert httpx.get(f"http://127.0.0.1:{listener.port}/metrics").content == BODY
        assert listener.url == f"http://localhost:{listener.port}"
        if listener.addresses[0][0] == "::":
            with contextlib.suppress(httpx.ConnectError):  # a machine without ::1
                assert httpx.get(f"http://[::1]:{listener.port}/metrics").content == BODY


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with listening(f"unix:{path}") as listener:
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport) as client:
            assert client.get("http://x/metrics").content == BODY
        assert listener.url == f"unix:{path}"
    assert not path.exists()


def test_an_address_in_use() -> None:
    with listening() as listener:
        second = Listener(lambda *_: None, f"127.0.0.1:{listener.port}")  # type: ignore[arg-type,return-value]
        with pytest.raises(ListenError, match="in use"):
            second.start()
        second.stop()
        assert scrape(listener).content == BODY


def test_stop_lets_an_answer_finish_and_does_not_wait_for_idlers(
    web_config: WebConfig | None,
) -> None:
    asked, go = threading.Event(), threading.Event()

    def render(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        asked.set()
        assert go.wait(10)
        return CONTENT_TYPE, BODY

    with listening(web_config=web_config, render=render) as listener:
        idle = connect(listener)
        sock = connect(listener)
        sock.sendall(REQUEST)
        assert asked.wait(10)
        stopping = threading.Thread(target=listener.stop, args=(5.0,))
        begun = time.monotonic()
        stopping.start()
        wait_until(lambda: closed_by_peer(idle))
        go.set()
        assert read_response(sock)[1] == BODY
        stopping.join()
        assert time.monotonic() - begun < 3.0
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", listener.port), timeout=5)


def test_stop_does_not_wait_for_an_answer_without_end() -> None:
    asked, go = threading.Event(), threading.Event()

    def render(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        asked.set()
        go.wait(30)
        return CONTENT_TYPE, BODY

    with listening(render=render) as listener:
        sock = connect(listener)
        sock.sendall(REQUEST)
        assert asked.wait(10)
        begun = time.monotonic()
        listener.stop(0.3)
        assert time.monotonic() - begun < 2.0
        assert not listener.alive
        go.set()
        sock.close()


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_stop_leaves_no_task_and_no_socket_behind(
    web_config: WebConfig | None, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(web_config=web_config) as listener, dripping(listener, 20):
        wait_until(lambda: listener.stats.open_connections == 20)
        silent = [connect(listener) for _ in range(5)]
        wait_until(lambda: listener.stats.open_connections == 25)
        listener.stop(1.0)
        assert listener.stats.open_connections == 0
        for sock in silent:
            assert closed_by_peer(sock)
            sock.close()
    gc.collect()  # asyncio tells of a forgotten task or socket when it is collected
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_uvicorn_leaves_logging_and_signals_alone(caplog: pytest.LogCaptureFixture) -> None:
    before = signal.getsignal(signal.SIGTERM), logging.getLogger().handlers[:]
    with caplog.at_level(logging.INFO), listening() as listener:
        scrape(listener)
        connect(listener).sendall(b"nonsense\r\n\r\n")
        wait_until(lambda: listener.stats.malformed_requests == 1)
    assert (signal.getsignal(signal.SIGTERM), logging.getLogger().handlers[:]) == before
    assert {r.name for r in caplog.records} <= {"z4j_exporter.web", "httpx"}


def test_requests_are_counted_by_path_and_code() -> None:
    with listening() as listener:
        for path in ("/metrics", "/", "/-/ready", "/-/healthy", "/x", "/y"):
            httpx.get(listener.url + path)
        httpx.post(f"{listener.url}/metrics")
        assert listener.stats.requests_snapshot() == {
            ("/metrics", 200): 1,
            ("/", 200): 1,
            ("/-/ready", 200): 1,
            ("/-/healthy", 200): 1,
            ("other", 404): 2,
            ("/metrics", 405): 1,
        }


def test_curl(web_config: WebConfig | None) -> None:
    curl = require("curl")
    with listening(web_config=web_config) as listener:
        url = listener.url.replace("127.0.0.1", "localhost")
        done = subprocess.run(
            [curl, "-sS", "--compressed", "--cacert", certificates().ca, f"{url}/metrics"],
            capture_output=True,
            timeout=20,
            check=True,
        )
        assert done.stdout == BODY
