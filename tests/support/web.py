"""The exporter's pages on a loopback listener, for tests of the web side."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import httpx

from tests.support.certs import certificates
from z4j_exporter.web.connections import Limits
from z4j_exporter.web.listener import Listener
from z4j_exporter.web.pages import Exposition, Pages, Readiness, create_app
from z4j_exporter.web.reload import WebConfig
from z4j_exporter.web.stats import WebStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BODY = b"# HELP demo_up Whether the demo is up.\n# TYPE demo_up gauge\ndemo_up 1\n"
#: What a scrape sends when nothing more is asked of it.
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
WELL = Readiness(True, "connected")


def exposition(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
    """One family; nothing when the scrape asks for others."""
    return CONTENT_TYPE, BODY if not names or "demo_up" in names else b""


def pages(
    render: Exposition = exposition,
    healthy: Readiness = WELL,
    ready: Readiness = WELL,
    **texts: str,
) -> Pages:
    return Pages(render, lambda: healthy, lambda: ready, **texts)


@contextmanager
def listening(
    address: str = "127.0.0.1:0",
    *,
    render: Exposition = exposition,
    limits: Limits | None = None,
    web_config: WebConfig | None = None,
) -> Iterator[Listener]:
    """A started listener with the exporter's pages; stopped after the block."""
    with serving(pages(render), address, limits=limits, web_config=web_config) as listener:
        yield listener


@contextmanager
def serving(
    shown: Pages,
    address: str = "127.0.0.1:0",
    *,
    limits: Limits | None = None,
    web_config: WebConfig | None = None,
) -> Iterator[Listener]:
    """A started listener with these pages; stopped after the block."""
    stats = web_config.stats if web_config else WebStats()
    app = create_app(shown, stats)
    listener = Listener(app, address, web_config=web_config, limits=limits, stats=stats)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop(5.0)
        app.close()
        assert not listener.alive


def hashed(password: str, cost: int = 4) -> str:
    """A bcrypt hash, as cheap as bcrypt allows."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def tls_section(**more: Any) -> str:
    """`tls_server_config` with the session's server certificate and further keys."""
    certs = certificates()
    keys = {"cert_file": certs.server_certificate, "key_file": certs.server_key, **more}
    return "tls_server_config:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())


def write_config(directory: Path, *sections: str) -> Path:
    path = directory / "web.yml"
    path.write_text("\n".join(sections))
    return path


def client_context(*, certificate: bool = False) -> ssl.SSLContext:
    """What a client needs to trust the session's server, and to show its own certificate."""
    certs = certificates()
    context = ssl.create_default_context(cafile=str(certs.ca))
    if certificate:
        context.load_cert_chain(certs.client_certificate, certs.client_key)
    return context


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
