"""Clients that are slow, silent, greedy or talk nonsense: none of them delays a scrape."""

import contextlib
import logging
import random
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.support.process import wait_until
from tests.support.web import (
    BODY,
    CONTENT_TYPE,
    REQUEST,
    closed_by_peer,
    connect,
    dripping,
    listening,
    read_response,
    scrape,
    tls_section,
    write_config,
)
from z4j_exporter.web.connections import Limits
from z4j_exporter.web.reload import WebConfig

LARGE = BODY * 150_000  # about 10 MB


@pytest.fixture(params=["plain", "tls"])
def web_config(request: pytest.FixtureRequest, tmp_path: Path) -> WebConfig | None:
    return WebConfig(write_config(tmp_path, tls_section())) if request.param == "tls" else None


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


def test_a_body_without_end_is_not_read(web_config: WebConfig | None) -> None:
    head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with listening(web_config=web_config) as listener:
        sock = connect(listener)
        sock.sendall(head)
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as it happens
            sock.sendall(chunk * 1000)
        wait_until(lambda: listener.stats.open_connections == 0, 5)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged that clients must not be able to make us log."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
        # Python 3.12's TLS says this when it writes its farewell to a client that has gone.
        and record.getMessage() != "socket.send() raised exception."
    ]


def test_a_body_that_turns_into_nonsense(caplog: pytest.LogCaptureFixture) -> None:
    """While the application works on the request, so that there is no second answer to give."""
    asked, go = threading.Event(), threading.Event()

    def render(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        asked.set()
        assert go.wait(10)
        return CONTENT_TYPE, BODY

    with listening(render=render) as listener:
        sock = connect(listener)
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert asked.wait(10)
        sock.sendall(b"this is no chunk\r\n")
        wait_until(lambda: closed_by_peer(sock))
        go.set()
        assert scrape(listener).content == BODY
        assert listener.stats.malformed_requests == 1
    assert not complaints(caplog)


def test_random_bytes_break_nothing(
    web_config: WebConfig | None, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(20)
    pieces = [REQUEST, b"GET ", b"/metrics", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"Host: x", b"\0",
              b"Transfer-Encoding: chunked", b"Content-Length: 9", b"0\r\n\r\n", b"\xff",
              b"a" * 20_000, b"Connection: close", b"Expect: 100-continue"]  # fmt: skip
    with listening(web_config=web_config) as listener:
        for number in range(300):
            # Every other one below TLS, where that is spoken: nonsense for the handshake.
            raw = number % 2 == 0
            sock = socket.create_connection(("127.0.0.1", listener.port)) if raw else None
            sock = sock or connect(listener)
            with contextlib.suppress(OSError):
                for _ in range(chance.randrange(1, 12)):
                    sock.sendall(chance.choice(pieces))
            sock.close()
        assert scrape(listener).content == BODY
        wait_until(lambda: listener.stats.open_connections == 0)
    assert not complaints(caplog)


def test_the_rest_of_an_unread_body_is_no_slow_request() -> None:
    limits = Limits(request_seconds=0.5, idle_seconds=60)
    with listening(limits=limits) as listener:
        sock = connect(listener)
        sock.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"))
        assert read_response(sock)[1] == BODY
        sock.sendall(b"abc")
        time.sleep(1)  # twice the deadline that must not be in force any more
        sock.sendall(REQUEST)
        assert read_response(sock)[1] == BODY
        assert listener.stats.slow_connections_closed == 0
        sock.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"))
        assert read_response(sock)[1] == BODY
        sock.sendall(b"a")
        wait_until(lambda: closed_by_peer(sock), 5)
        assert listener.stats.slow_connections_closed == 1
