"""The image's health check: 0 when the exporter answers that it works, 1 in every other case."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.certs import certificates
from tests.support.process import free_port

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "healthcheck.py"


@contextmanager
def answering(status: int, *, tls: bool = False) -> Iterator[int]:
    """Answer every request for /-/healthy with ``status``, and others with 404; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/-/healthy" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made = certificates()
        context.load_cert_chain(made.server_certificate, made.server_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def check(**variables: str) -> int:
    """Run the script as the image does, and return its exit code."""
    kept = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    checked = subprocess.run(
        [sys.executable, SCRIPT],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.stderr == ""
    assert (checked.stdout == "it works\n") == (checked.returncode == 0)
    return checked.returncode


@pytest.mark.parametrize(
    ("status", "code"), [(200, 0), (401, 0), (503, 1), (404, 1), (500, 1), (403, 1)]
)
def test_the_status_decides(status: int, code: int) -> None:
    with answering(status) as port:
        assert check(Z4J_EXPORTER_LISTEN_ADDRESS=f"127.0.0.1:{port}") == code


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]", "localhost"])
def test_it_asks_where_the_exporter_listens(host: str) -> None:
    with answering(200) as port:
        assert check(Z4J_EXPORTER_LISTEN_ADDRESS=f"{host}:{port}") == 0


def test_it_takes_the_exporters_own_certificate() -> None:
    with answering(200, tls=True) as port:
        assert check(HEALTHCHECK_URL=f"https://localhost:{port}/-/healthy") == 0


def test_it_sees_that_the_web_configuration_has_tls(tmp_path: Path) -> None:
    web = tmp_path / "web.yaml"
    web.write_text("# tls\ntls_server_config:\n  cert_file: tls.crt\n")
    with answering(200, tls=True) as port:
        given = {"Z4J_EXPORTER_LISTEN_ADDRESS": f":{port}"}
        assert check(**given) == 1
        assert check(**given, Z4J_EXPORTER_WEB_CONFIG_FILE=str(web)) == 0


def test_a_web_configuration_with_users_only(tmp_path: Path) -> None:
    web = tmp_path / "web.yaml"
    web.write_text("#tls_server_config:\nbasic_auth_users: {ada: $2y$05$x}\n")
    address = {"Z4J_EXPORTER_WEB_CONFIG_FILE": str(web)}
    with answering(401) as port:
        assert check(Z4J_EXPORTER_LISTEN_ADDRESS=f":{port}", **address) == 0


def test_a_web_configuration_that_is_gone(tmp_path: Path) -> None:
    with answering(200) as port:
        gone = {"Z4J_EXPORTER_WEB_CONFIG_FILE": str(tmp_path / "gone")}
        assert check(Z4J_EXPORTER_LISTEN_ADDRESS=f":{port}", **gone) == 1


def test_no_proxy_is_asked() -> None:
    with answering(200) as port:
        proxy = f"http://127.0.0.1:{free_port()}"
        address = f"127.0.0.1:{port}"
        assert check(Z4J_EXPORTER_LISTEN_ADDRESS=address, http_proxy=proxy, HTTP_PROXY=proxy) == 0


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "unix:/nowhere", "nonsense", ":none"])
def test_nobody_there_is_not_healthy(address: str) -> None:
    assert check(Z4J_EXPORTER_LISTEN_ADDRESS=address.format(free_port())) == 1
