"""The exporter's pages on a loopback listener, for tests of the web side."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt

from tests.support.certs import certificates
from z4j_exporter.web.connections import Limits
from z4j_exporter.web.listener import Listener
from z4j_exporter.web.pages import Exposition, Pages, Readiness, create_app
from z4j_exporter.web.reload import WebConfig
from z4j_exporter.web.stats import WebStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BODY = b"# HELP demo_up Whether the demo is up.\n# TYPE demo_up gauge\ndemo_up 1\n"
WELL = Readiness(True, "connected")


def exposition(accept: str, names: list[str]) -> tuple[str, bytes]:
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
    stats = web_config.stats if web_config else WebStats()
    app = create_app(pages(render), stats)
    listener = Listener(app, address, web_config=web_config, limits=limits, stats=stats)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop(5.0)
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
