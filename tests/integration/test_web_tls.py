"""TLS and client certificates under real clients, and what a reload does to them."""

import contextlib
import http.client
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme

from tests.support.certs import certificates
from tests.support.process import wait_until
from tests.support.web import (
    BODY,
    client_context,
    hashed,
    listening,
    tls_section,
    write_config,
)
from z4j_exporter.web.listener import Listener
from z4j_exporter.web.reload import WebConfig


def mutual(**more: object) -> str:
    """TLS with client certificates of the session's authority."""
    keys = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": certificates().ca}
    return tls_section(**{**keys, **more})


def served(listener: Listener, context: ssl.SSLContext) -> bool:
    """Whether a new connection with that context gets the metrics."""
    try:
        with httpx.Client(verify=context, timeout=10) as client:
            return client.get(f"{listener.url}/metrics").content == BODY
    except httpx.TransportError:
        return False


def shown_certificate(listener: Listener) -> bytes:
    """The server's certificate on a new connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", listener.port), timeout=10) as sock,
        context.wrap_socket(sock) as encrypted,
    ):
        return encrypted.getpeercert(binary_form=True) or b""


def test_plain_http_on_a_tls_port_is_refused_and_the_next_client_served(tmp_path: Path) -> None:
    config = WebConfig(write_config(tmp_path, tls_section()))
    with listening(web_config=config) as listener:
        with pytest.raises(httpx.TransportError):
            httpx.get(listener.url.replace("https", "http"))
        assert served(listener, client_context())
        wait_until(lambda: listener.stats.tls_handshake_failures == 1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_is_required(tmp_path: Path, version: ssl.TLSVersion) -> None:
    config = WebConfig(write_config(tmp_path, mutual()))
    with listening(web_config=config) as listener:
        with_certificate, without = client_context(certificate=True), client_context()
        stranger = client_context()
        trustme.CA().issue_cert("client@example.org").configure_cert(stranger)
        for context in (with_certificate, without, stranger):
            context.maximum_version = version
        assert served(listener, with_certificate)
        assert not served(listener, without)
        assert not served(listener, stranger)
        # With TLS 1.3 the client knows that it was refused before the server has counted it.
        wait_until(lambda: listener.stats.tls_handshake_failures == 2)


def test_a_client_certificate_that_is_verified_if_given(tmp_path: Path) -> None:
    text = mutual(client_auth_type="VerifyClientCertIfGiven")
    with listening(web_config=WebConfig(write_config(tmp_path, text))) as listener:
        stranger = client_context()
        trustme.CA().issue_cert("client@example.org").configure_cert(stranger)
        assert served(listener, client_context(certificate=True))
        assert served(listener, client_context())
        assert not served(listener, stranger)


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ("[client@example.org]", True),
        ("[other.example.org, client@example.org]", True),
        ("[example.org]", False),
        ("['*']", False),
        ("[client]", False),  # the common name is no alternative name
    ],
)
def test_allowed_alternative_names(tmp_path: Path, allowed: str, expected: bool) -> None:
    config = WebConfig(write_config(tmp_path, mutual(client_allowed_sans=allowed)))
    with listening(web_config=config) as listener:
        assert served(listener, client_context(certificate=True)) is expected
        wait_until(lambda: listener.stats.tls_handshake_failures == (0 if expected else 1))


@pytest.mark.parametrize("name", ["prometheus.example.org", "10.1.2.3", "2001:db8::1"])
def test_allowed_names_of_every_kind(tmp_path: Path, name: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = client_context()
    authority.issue_cert(name).configure_cert(context)
    text = mutual(client_ca_file="ca.pem", client_allowed_sans=f"['{name}']")
    with listening(web_config=WebConfig(write_config(tmp_path, text))) as listener:
        assert served(listener, context)


def limited(**wanted: object) -> Callable[[], ssl.SSLContext]:
    def make() -> ssl.SSLContext:
        context = client_context()
        for name, value in wanted.items():
            if callable(attribute := getattr(context, name)):
                attribute(value)
            else:
                setattr(context, name, value)
        return context

    return make


TLS12 = ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("keys", "client", "expected"),
    [
        ({"min_version": "TLS13"}, limited(), True),
        ({"min_version": "TLS13"}, limited(maximum_version=TLS12), False),
        ({"max_version": "TLS12"}, limited(), True),
        ({"max_version": "TLS12"}, limited(minimum_version=ssl.TLSVersion.TLSv1_3), False),
        (
            {"cipher_suites": "[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"},
            limited(maximum_version=TLS12, set_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"),
            True,
        ),
        (
            {"cipher_suites": "[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"},
            limited(maximum_version=TLS12, set_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"),
            False,
        ),
        ({"curve_preferences": "[CurveP256]"}, limited(set_ecdh_curve="prime256v1"), True),
        ({"curve_preferences": "[CurveP384]"}, limited(set_ecdh_curve="prime256v1"), False),
    ],
)
def test_versions_ciphers_and_curves(
    tmp_path: Path, keys: dict[str, str], client: Callable[[], ssl.SSLContext], expected: bool
) -> None:
    config = WebConfig(write_config(tmp_path, tls_section(**keys)))
    with listening(web_config=config) as listener:
        assert served(listener, client()) is expected


def test_a_new_certificate_is_for_new_connections_and_the_open_ones_live_on(
    tmp_path: Path,
) -> None:
    certs = certificates()
    for source, target in ((certs.server_certificate, "a.pem"), (certs.server_key, "a.key")):
        shutil.copy(source, tmp_path / target)
    keys = "tls_server_config:\n  cert_file: a.pem\n  key_file: a.key\n"
    config = WebConfig(write_config(tmp_path, keys))
    config.start()  # the real thing: its own thread looks once a second
    try:
        with listening(web_config=config) as listener:
            old = shown_certificate(listener)
            alive = http.client.HTTPSConnection(
                "localhost", listener.port, context=client_context(), timeout=10
            )
            alive.request("GET", "/metrics")
            assert alive.getresponse().read() == BODY
            socket_before = alive.sock

            renewed = trustme.CA().issue_cert("localhost")
            renewed.private_key_pem.write_to_path(str(tmp_path / "a.key"))
            renewed.cert_chain_pems[0].write_to_path(str(tmp_path / "a.pem"))
            wait_until(lambda: shown_certificate(listener) != old, 10)

            alive.request("GET", "/metrics")
            assert alive.getresponse().read() == BODY
            assert alive.sock is socket_before, "the same connection"
            assert not served(listener, client_context()), "another authority has signed it"
            assert listener.stats.last_reload_ok
            alive.close()
    finally:
        config.stop()


def test_client_authentication_can_be_switched_on_and_its_ca_changed(tmp_path: Path) -> None:
    """What an sni_callback cannot do: it changes the certificate but never who is asked for one."""
    authority = tmp_path / "ca.pem"
    shutil.copy(certificates().ca, authority)
    config = WebConfig(write_config(tmp_path, tls_section()))
    with listening(web_config=config) as listener:
        known, unknown = client_context(certificate=True), client_context()
        assert served(listener, unknown)
        write_config(tmp_path, mutual(client_ca_file="ca.pem"))
        assert config.check()
        assert (served(listener, known), served(listener, unknown)) == (True, False)
        shutil.copy(certificates().other_ca, authority)
        assert config.check()
        assert (served(listener, known), served(listener, unknown)) == (False, False)
        authority.write_text("broken")
        assert not config.check()
        assert not served(listener, unknown), "a broken change opens nothing"
        write_config(tmp_path, tls_section())
        assert config.check()
        assert served(listener, unknown)


def test_users_change_on_live_connections_too(tmp_path: Path) -> None:
    config = WebConfig(write_config(tmp_path, f"basic_auth_users:\n  alice: {hashed('one')}\n"))
    with listening(web_config=config) as listener, httpx.Client(base_url=listener.url) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/-/healthy").status_code == 401, "every path, as in exporter-toolkit"
        assert client.get("/metrics", auth=("alice", "one")).content == BODY
        write_config(tmp_path, f"basic_auth_users:\n  alice: {hashed('two')}\n")
        assert config.check()
        assert client.get("/metrics", auth=("alice", "one")).status_code == 401
        assert client.get("/metrics", auth=("alice", "two")).content == BODY
        assert listener.stats.auth_failures == 1


def test_a_client_that_leaves_during_the_handshake(tmp_path: Path) -> None:
    config = WebConfig(write_config(tmp_path, tls_section()))
    with listening(web_config=config) as listener:
        for sent in (b"", b"\x16\x03\x01\x02\x00\x01", b"\x00" * 100):
            address = ("127.0.0.1", listener.port)
            with contextlib.suppress(OSError), socket.create_connection(address) as sock:
                sock.sendall(sent)
        wait_until(lambda: listener.stats.tls_handshake_failures == 3)
        wait_until(lambda: listener.stats.open_connections == 0)
        assert served(listener, client_context())
