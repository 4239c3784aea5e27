"""The real Prometheus scrapes the listener: TLS, a client certificate and a password together."""

from pathlib import Path

import pytest

from tests.support.certs import certificates
from tests.support.process import wait_until
from tests.support.servers import prometheus
from tests.support.web import hashed, listening, tls_section, write_config
from z4j_exporter.web.reload import WebConfig


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
        listening(web_config=WebConfig(web)) as listener,
        prometheus(f"127.0.0.1:{listener.port}", scrape=scrape) as server,
    ):
        if password == "secret":
            wait_until(lambda: server.value("demo_up") == 1, 20)
            # Scrapes share one connection and one check of the password.
            wait_until(lambda: listener.stats.requests_snapshot()["/metrics", 200] > 5, 10)
            assert listener.stats.open_connections == 1
            assert listener.stats.auth_failures == 0
        else:
            wait_until(lambda: any("401" in t["lastError"] for t in server.targets()), 20)
            assert listener.stats.auth_failures > 0
