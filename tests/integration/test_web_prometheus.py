"""The real Prometheus scrapes the listener: TLS, a client certificate and a password together."""

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.certs import certificates
from tests.support.process import require, wait_until
from tests.support.servers import prometheus
from tests.support.web import CONTENT_TYPE, hashed, listening, tls_section, write_config
from z4j_exporter.errors import ExporterError
from z4j_exporter.web.reload import WebConfig

USER = "basic_auth_users:\n  alice: " + hashed("secret") + "\n"


def many(accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
    """Enough to be worth compressing."""
    lines = [f'demo_gauge{{number="{number}"}} 1\n' for number in range(100)]
    return CONTENT_TYPE, "".join(["# TYPE demo_gauge gauge\n", *lines]).encode()


@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_prometheus_scrapes(tmp_path: Path, password: str) -> None:
    certs = certificates()
    web = write_config(
        tmp_path,
        tls_section(client_auth_type="RequireAndVerifyClientCert", client_ca_file=certs.ca),
        f"basic_auth_users:\n  prometheus: {hashed('secret', 10)}\n",
    )
    scrape = f"""
    scheme: https
    basic_auth: {{username: prometheus, password: {password}}}
    tls_config:
      ca_file: {certs.ca}
      cert_file: {certs.client_certificate}
      key_file: {certs.client_key}
      server_name: localhost
"""
    with (
        listening(render=many, web_config=WebConfig(web)) as listener,
        prometheus(f"127.0.0.1:{listener.port}", scrape=scrape) as server,
    ):
        if password == "secret":
            wait_until(lambda: server.value("count(demo_gauge)") == 100, 20)
            # Scrapes share one connection and one check of the password.
            wait_until(lambda: listener.stats.requests_snapshot()["/metrics", 200] > 5, 10)
            assert listener.stats.open_connections == 1
            assert listener.stats.auth_failures == 0
        else:
            wait_until(lambda: any("401" in t["lastError"] for t in server.targets()), 20)
            assert listener.stats.auth_failures > 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        USER,
        tls_section(),
        tls_section() + USER,
        tls_section(cert_file=""),
        tls_section(key_file="nowhere.key"),
        tls_section(key_file=certificates().client_key),
        tls_section(
            client_auth_type="RequireAndVerifyClientCert", client_ca_file=certificates().ca
        ),
        tls_section(client_auth_type="Sometimes"),
        tls_section(client_ca_file=certificates().ca),
        tls_section(min_version="TLS13"),
        tls_section(min_version="SSL3"),
        tls_section(cipher_suites="[TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"),
        tls_section(cipher_suites="[INVENTED]"),
        tls_section(curve_preferences="[CurveP256]"),
        tls_section(curve_preferences="[P-256]"),
        "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n",
        "http_server_config:\n  headers:\n    X-Frame-Options: perhaps\n",
        "http_server_config:\n  headers:\n    Server: x\n",
        "basic_auth_users:\n  alice: secret\n",
        "unknown: 1\n",
        "tls_server_config: [\n",
    ],
    ids=itertools.count(),  # the texts hold paths and hashes that differ from run to run
)
def test_a_file_is_good_when_promtool_says_so(tmp_path: Path, text: str) -> None:
    path = write_config(tmp_path, text)
    asked = subprocess.run([require("promtool"), "check", "web-config", path], check=False)
    try:
        WebConfig(path)
        good = True
    except ExporterError:
        good = False
    assert good is (asked.returncode == 0)


def test_the_example_of_the_documentation_is_good(tmp_path: Path) -> None:
    document = (Path(__file__).parents[2] / "docs" / "web-config.md").read_text()
    example = document.split("```yaml\n")[1].split("```")[0]
    shutil.copy(certificates().server_certificate, tmp_path / "server.crt")
    shutil.copy(certificates().server_key, tmp_path / "server.key")
    config = WebConfig(write_config(tmp_path, example))
    assert config.tls() is not None
    assert set(config.access().users) == {"prometheus"}
