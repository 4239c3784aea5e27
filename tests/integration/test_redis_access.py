"""The Redis source logs in, over plain sockets and TLS, and says what is wrong without secrets."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.certs import certificates
from tests.support.process import wait_until
from tests.support.redis_events import dispatch, events_from, publisher
from tests.support.servers import Redis
from z4j_exporter.errors import FileError, SourceLostError
from z4j_exporter.sources import base
from z4j_exporter.sources.base import Session
from z4j_exporter.sources.redis import RedisSource

SECRET = "s3cr/t@:?#%"


def heard(url: str, publish_url: str | None = None, **settings: Any) -> int:
    """How many of two events from Celery's dispatcher arrive."""
    session = RedisSource([url], **settings).connect()
    try:
        dispatch(publisher(publish_url or url, broker_use_ssl=settings.get("ssl_options")), 2)
        return len(events_from(session, 2))
    finally:
        session.close()


def read_for(session: Session, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        session.read(0.1)


def refusal(url: str, **settings: Any) -> str:
    with pytest.raises(SourceLostError) as lost:
        RedisSource([url], **settings).connect()
    message = lost.value.message
    assert SECRET not in message
    assert "Traceback" not in message
    assert len(message) < 500
    return message


@contextmanager
def acl(*rules: str) -> Iterator[tuple[Redis, str]]:
    """A server with a user ``reader`` that has these rights; and the URL for that user."""
    with servers.redis_server() as running:
        running.client().acl_setuser("reader", enabled=True, passwords=["+pw"], reset=True)
        running.client().execute_command("ACL", "SETUSER", "reader", *rules)
        yield running, f"redis://reader:pw@127.0.0.1:{running.port}/0"


def test_a_password_alone_and_with_a_user() -> None:
    with servers.redis_server(password=SECRET) as server:
        assert heard(server.url) == 2
    with servers.valkey(password=SECRET, username="me") as server:
        assert heard(server.url) == 2


def test_a_wrong_password_is_told_without_it() -> None:
    with servers.redis_server(password="right") as server:
        url = f"redis://:{'s3cr%2Ft%40%3A%3F%23%25'}@127.0.0.1:{server.port}/0"
        assert "refused the user or the password" in refusal(url)
        bare = f"redis://127.0.0.1:{server.port}/0"
        assert "asks for a password" in refusal(bare)


def test_a_user_with_no_rights_but_to_listen() -> None:
    rights = ("+subscribe", "+psubscribe", "+ping", "&/0.celeryev", "&/0.celeryev/*")
    with acl(*rights) as (server, url):
        assert heard(url, server.url) == 2


def test_a_user_that_may_not_ping_is_not_taken_for_a_dead_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "KEEPALIVE_SECONDS", 0.05)
    monkeypatch.setattr(base, "KEEPALIVE_TIMEOUT_SECONDS", 0.05)
    with acl("+subscribe", "+psubscribe", "&*") as (_, url):
        session = RedisSource([url]).connect()
        for _ in range(20):
            assert session.unpack(session.read(0.02)[0]) == []
        session.close()


def test_the_missing_right_is_named_so_that_it_can_be_granted() -> None:
    for rules in (("+subscribe", "+psubscribe", "&other"), ("+ping", "&*")):
        with acl(*rules) as (server, url):
            words = refusal(url)
            assert "user 'reader' may not subscribe" in words
            needed = [word for word in words.split() if word[0] in "+&"]
            server.client().execute_command("ACL", "SETUSER", "reader", "resetchannels", *needed)
            assert heard(url, server.url) == 2


def test_a_right_that_is_taken_away_ends_the_session() -> None:
    with acl("+subscribe", "+psubscribe", "&*") as (server, url):
        session = RedisSource([url]).connect()
        server.client().execute_command("ACL", "SETUSER", "reader", "resetchannels")
        with pytest.raises(SourceLostError):
            read_for(session, 5)
        session.close()


def test_a_full_server_says_so() -> None:
    with servers.redis_server() as server:
        keep = server.client()
        wait_until(lambda: len(keep.client_list()) == 1, 5)
        keep.config_set("maxclients", 1)
        assert "max number of clients" in refusal(server.url)
        keep.close()


def test_nobody_listens() -> None:
    words = refusal(f"redis://:s3cr%2Ft%40%3A%3F%23%25@127.0.0.1:{servers.free_port()}/0")
    assert words.startswith("cannot connect: ")
    assert words.endswith("refused")
    assert refusal("redis+socket:///no/such.sock").endswith("No such file or directory")
    assert "no.such.host.invalid" in refusal("redis://no.such.host.invalid/0")


def test_something_else_listens() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.recv(4096)
        connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert refusal(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
    thread.join(5)
    listener.close()


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CONNECT_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for url in (f"redis://127.0.0.1:{port}/0", f"redis://:pw@127.0.0.1:{port}/0"):
            assert "in time" in refusal(url) or "within 0.2 s" in refusal(url)
        assert "within 0.2 s" in refusal(f"rediss://127.0.0.1:{port}/0")


def test_several_servers_are_tried_in_order(valkey: Redis) -> None:
    gone = f"redis://:{'pw'}@127.0.0.1:{servers.free_port()}/0"
    session = RedisSource([gone, valkey.url]).connect()
    dispatch(publisher(valkey.url), 1)
    events_from(session, 1)
    session.close()
    with pytest.raises(SourceLostError) as lost:
        RedisSource([gone, gone]).connect()
    assert lost.value.message.count("redis://127.0.0.1") == 2


# -- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_server() -> Iterator[Redis]:
    with servers.redis_server(tls=True) as running:
        yield running


@pytest.fixture(scope="module")
def strict_server() -> Iterator[Redis]:
    with servers.redis_server(tls=True, client_certificates=True) as running:
        yield running


def options(**more: Any) -> dict[str, Any]:
    return {"ssl_ca_certs": str(certificates().ca), **more}


def query(values: dict[str, Any]) -> str:
    return "?" + "&".join(f"{key}={value}" for key, value in values.items())


def test_tls_with_a_ca(tls_server: Redis) -> None:
    # celery's own side needs broker_use_ssl; the exporter takes the same from the URL.
    assert heard(tls_server.url, ssl_options=options()) == 2
    session = RedisSource([tls_server.url + query(options())]).connect()
    dispatch(publisher(tls_server.url, broker_use_ssl=options()), 2)
    assert len(events_from(session, 2)) == 2
    session.close()


def test_tls_for_a_redis_url_with_options_as_kombu_does(tls_server: Redis) -> None:
    url = tls_server.url.replace("rediss://", "redis://")
    assert heard(url, ssl_options=options()) == 2


@pytest.mark.parametrize("reqs", ["required", "CERT_REQUIRED", "optional"])
def test_a_certificate_that_is_not_trusted(tls_server: Redis, reqs: str) -> None:
    for given in ({}, {"ssl_ca_certs": str(certificates().other_ca)}):
        words = refusal(tls_server.url, ssl_options={**given, "ssl_cert_reqs": reqs})
        assert words.startswith("TLS failed: ")
        assert "ssl_ca_certs" in words
    assert heard(tls_server.url, ssl_options=options(ssl_cert_reqs=reqs.lower().split("_")[-1]))


def test_a_bare_rediss_url_demands_a_certificate(tls_server: Redis) -> None:
    assert "TLS failed" in refusal(tls_server.url)


def test_any_certificate_on_demand(tls_server: Redis) -> None:
    for none in ("none", "CERT_NONE", ssl.CERT_NONE, 0, None):
        session = RedisSource(
            [tls_server.url], ssl_options={"ssl_cert_reqs": none, "ssl_check_hostname": True}
        ).connect()
        session.close()
    session = RedisSource([tls_server.url + "?ssl_cert_reqs=none"]).connect()
    dispatch(publisher(tls_server.url, broker_use_ssl={"ssl_cert_reqs": ssl.CERT_NONE}), 1)
    events_from(session, 1)
    session.close()


def test_a_certificate_for_another_host() -> None:
    with servers.redis_server(tls=True) as server:
        server.client().config_set("bind", "127.0.0.1 127.0.0.2")
        url = f"rediss://127.0.0.2:{server.port}/0"
        words = refusal(url, ssl_options=options())
        assert "TLS failed" in words
        assert "ssl_check_hostname" in words
        RedisSource([url], ssl_options=options(ssl_check_hostname=False)).connect().close()
        RedisSource([url + query(options(ssl_check_hostname="false"))]).connect().close()


def test_a_client_certificate(strict_server: Redis) -> None:
    certs = certificates()
    shown = {
        "ssl_certfile": str(certs.client_certificate),
        "ssl_keyfile": str(certs.client_key),
    }
    assert heard(strict_server.url, ssl_options=options(**shown)) == 2
    words = refusal(strict_server.url, ssl_options=options())
    assert "client certificate" in words


def test_a_plain_port_and_a_tls_port_taken_for_each_other(
    tls_server: Redis, valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "CONNECT_TIMEOUT_SECONDS", 0.5)
    assert "TLS" in refusal(valkey.url.replace("redis://", "rediss://"), ssl_options=options())
    assert refusal(tls_server.url.replace("rediss://", "redis://"))


def test_a_missing_file_is_named_at_once(tmp_path: Path) -> None:
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        with pytest.raises(FileError, match=f"{name} .*gone.pem"):
            RedisSource(["rediss://h"], ssl_options={name: str(tmp_path / "gone.pem")})


def test_a_file_that_is_no_certificate(tls_server: Redis, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    assert refusal(tls_server.url, ssl_options={"ssl_ca_certs": str(junk)})
    assert refusal(
        tls_server.url, ssl_options=options(ssl_certfile=str(junk), ssl_keyfile=str(junk))
    )


def test_events_over_tls_come_in_large_bites(tls_server: Redis) -> None:
    """A read takes all records that are there: one record a read would not survive a burst."""
    session = RedisSource([tls_server.url], ssl_options=options()).connect()
    client = tls_server.client()
    with client.pipeline(transaction=False) as pipe:
        for _ in range(2000):
            pipe.publish("/0.celeryev/task.sent", b"x" * 500)
        pipe.execute()
    reads: list[int] = []
    while sum(reads) < 2000:
        items, _ = session.read(5.0)
        messages = session.unpack(items)
        assert messages
        reads.append(len(messages))
    assert len(reads) < 2000 * 500 / 16384
    session.close()
