"""The listener under real clients: slow, silent, greedy and well-behaved ones."""

import contextlib
import gzip
import http.client
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.process import require, wait_until
from tests.support.web import (
    BODY,
    CONTENT_TYPE,
    client_context,
    listening,
    tls_section,
    write_config,
)
from z4j_exporter.errors import ListenError
from z4j_exporter.web.connections import Limits
from z4j_exporter.web.listener import Listener
from z4j_exporter.web.reload import WebConfig

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = BODY * 150_000  # about 10 MB


@pytest.fixture(params=["plain", "tls"])
def web_config(request: pytest.FixtureRequest, tmp_path: Path) -> WebConfig | None:
    return WebConfig(write_config(tmp_path, tls_section())) if request.param == "tls" else None


def connect(listener: Listener, *, read_buffer: int = 0) -> socket.socket:
    """A connection to the listener, encrypted when it is."""
    sock = socket.socket()
    if read_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
    sock.settimeout(10)
    sock.connect(("127.0.0.1", listener.port))
    if listener.url.startswith("https"):
        return client_context().wrap_socket(sock, server_hostname="localhost")
    return sock


def scrape(listener: Listener, **more: Any) -> httpx.Response:
    with httpx.Client(verify=client_context(), timeout=10) as client:
        return client.get(f"{listener.url}/metrics", **more)


def closed_by_peer(sock: socket.socket) -> bool:
    """Whether the other side has closed; reads what is left first."""
    sock.settimeout(0.05)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def read_response(sock: socket.socket) -> tuple[http.client.HTTPResponse, bytes]:
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response, response.read()


@contextlib.contextmanager
def dripping(listener: Listener, count: int) -> Iterator[list[socket.socket]]:
    """Connections that begin a request (or a handshake) and send a byte now and then."""
    tls = listener.url.startswith("https")
    first, drip = (b"\x16\x03\x01\x02\x00\x01", b"\x00") if tls else (b"GET /metrics HT", b"T")
    sockets = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(count)]
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.1):
            for sock in sockets:
                with contextlib.suppress(OSError):
                    sock.send(drip)

    for sock in sockets:
        sock.send(first)
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield sockets
    finally:
        stop.set()
        thread.join()
        for sock in sockets:
            sock.close()


def test_150_dripping_connections_delay_no_scrape(web_config: WebConfig | None) -> None:
    with listening(web_config=web_config) as listener, dripping(listener, 150):
        wait_until(lambda: listener.stats.open_connections == 150)
        for _ in range(3):
            begun = time.monotonic()
            assert scrape(listener).content == BODY
            assert time.monotonic() - begun < 1.0


def test_slow_readers_delay_no_scrape(web_config: WebConfig | None) -> None:
    with listening(render=lambda *_: (CONTENT_TYPE, LARGE), web_config=web_config) as listener:
        sockets = [connect(listener, read_buffer=4096) for _ in range(30)]
        for number, sock in enumerate(sockets):
            sock.sendall(REQUEST)
            wait_until(
                lambda n=number: listener.stats.requests_snapshot().get(("/metrics", 200), 0) > n
            )
        begun = time.monotonic()
        assert len(scrape(listener).content) == len(LARGE)
        assert time.monotonic() - begun < 5.0
        # 64 MiB of answers of 10 MB: the others were dropped.
        assert listener.stats.slow_connections_closed >= 20
        for sock in sockets:
            sock.close()


def test_a_dripping_connection_is_closed_at_its_deadline(web_config: WebConfig | None) -> None:
    limits = Limits(handshake_seconds=0.5, request_seconds=0.5)
    with listening(web_config=web_config, limits=limits) as listener, dripping(listener, 5):
        wait_until(lambda: listener.stats.open_connections == 5)
        wait_until(lambda: listener.stats.open_connections == 0, 5)
        assert listener.stats.slow_connections_closed == 5
        assert listener.stats.tls_handshake_failures == 0


def test_a_silent_connection_after_the_handshake_is_closed(web_config: WebConfig | None) -> None:
    with listening(web_config=web_config, limits=Limits(request_seconds=0.5)) as listener:
        sock = connect(listener)
        wait_until(lambda: closed_by_peer(sock), 5)
        assert listener.stats.slow_connections_closed == 1


def test_a_second_request_that_drips_is_closed_too(web_config: WebConfig | None) -> None:
    with listening(web_config=web_config, limits=Limits(request_seconds=0.5)) as listener:
        sock = connect(listener)
        sock.sendall(REQUEST)
        assert read_response(sock)[1] == BODY
        sock.sendall(b"GET")
        wait_until(lambda: closed_by_peer(sock), 5)
        assert listener.stats.slow_connections_closed == 1


def test_a_client_that_never_reads_is_dropped(web_config: WebConfig | None) -> None:
    limits = Limits(response_seconds=0.5)
    render = lambda *_: (CONTENT_TYPE, LARGE)  # noqa: E731 - shortest
    with listening(web_config=web_config, limits=limits, render=render) as listener:
        sock = connect(listener, read_buffer=4096)
        sock.sendall(REQUEST)
        wait_until(lambda: listener.stats.slow_connections_closed == 1, 5)
        wait_until(lambda: listener.stats.open_connections == 0, 5)
        sock.close()


def test_an_idle_connection_is_kept_and_then_closed(web_config: WebConfig | None) -> None:
    with listening(web_config=web_config, limits=Limits(idle_seconds=0.5)) as listener:
        sock = connect(listener)
        for _ in range(3):
            sock.sendall(REQUEST)
            assert read_response(sock)[1] == BODY
        wait_until(lambda: closed_by_peer(sock), 5)
        wait_until(lambda: listener.stats.open_connections == 0, 5)
        assert listener.stats.slow_connections_closed == 0


def test_too_many_connections_push_out_those_that_do_nothing(
    web_config: WebConfig | None,
) -> None:
    with listening(web_config=web_config, limits=Limits(open_connections=20)) as listener:
        silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(50)]
        assert scrape(listener).content == BODY
        wait_until(lambda: listener.stats.evicted_connections >= 31)
        assert listener.stats.open_connections <= 20
        for sock in silent:
            sock.close()


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


def test_a_body_without_end_is_not_read(web_config: WebConfig | None) -> None:
    head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with listening(web_config=web_config) as listener:
        sock = connect(listener)
        sock.sendall(head)
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as it happens
            sock.sendall(chunk * 1000)
        wait_until(lambda: listener.stats.open_connections == 0, 5)


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

    def render(accept: str, names: list[str]) -> tuple[str, bytes]:
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

    def render(accept: str, names: list[str]) -> tuple[str, bytes]:
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


def test_uvicorn_leaves_logging_and_signals_alone(caplog: pytest.LogCaptureFixture) -> None:
    import signal

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
    from tests.support.certs import certificates

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
