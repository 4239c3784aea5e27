"""What the management reader makes of listings and of servers that are not RabbitMQ."""

import base64
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.certs import certificates
from z4j_exporter.queues import management
from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.management import ManagementReader, reading_of
from z4j_exporter.queues.management_address import ManagementAddress, given_addresses
from z4j_exporter.queues.model import QueueReading
from z4j_exporter.sources.amqp_url import parse_endpoint

NOW = 1_700_000_000.0


class Server:
    """Answers each request with the next of the prepared answers, the last one for ever."""

    def __init__(
        self,
        answers: list[bytes],
        pause_seconds: float = 0.0,
        piece: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._answers = answers
        self._pause = pause_seconds
        self._piece = piece
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, name="fake-management", daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                self._answer(
                    self._tls.wrap_socket(client, server_side=True) if self._tls else client
                )

    def _answer(self, client: socket.socket) -> None:
        while request := client.recv(65536):
            self.requests.append(request.decode(errors="replace"))
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            step = self._piece or max(1, len(answer))
            for start in range(0, len(answer), step):
                client.sendall(answer[start : start + step])
                time.sleep(self._pause)
            if b"Content-Length" not in answer:
                return


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def page(items: Any, pages: Any = 1, count: Any = None, **more: Any) -> bytes:
    filtered = len(items) if count is None else count
    content = {"items": items, "page_count": pages, "filtered_count": filtered, **more}
    return http(json.dumps(content).encode())


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(*answers: bytes, **options: Any) -> Server:
        made.append(Server(list(answers), **options))
        return made[-1]

    yield start
    for server in made:
        server.close()


def reader_of(*servers: Server, vhost: str = "/") -> ManagementReader:
    addresses = [
        ManagementAddress("http", "127.0.0.1", s.port, "", vhost, "user", "sesame") for s in servers
    ]
    return ManagementReader(
        addresses, lambda name: not name.startswith("celeryev."), wall_clock=lambda: NOW
    )


def read(reader: ManagementReader, *names: str, seconds: float = 5.0) -> dict[str, QueueReading]:
    return {r.name: r for r in reader.read(names, time.monotonic() + seconds)}


# One entry of a listing.


def test_an_entry_with_everything() -> None:
    item = {
        "messages_ready": 3,
        "messages_unacknowledged": 0,
        "consumers": 2,
        "memory": 14000,
        "head_message_timestamp": int(NOW) - 60,
        "message_stats": {"publish": 10, "deliver_get": 8, "ack": 7},
    }
    assert reading_of("q", item, NOW) == QueueReading(
        "q",
        ready={"": 3},
        unacked=0,
        consumers=2,
        memory_bytes=14000,
        oldest_age_seconds=60.0,
        published=10,
        delivered=8,
        acked=7,
    )


@pytest.mark.parametrize(
    "item",
    [
        {},
        dict.fromkeys(["messages_ready", "messages_unacknowledged", "consumers", "memory"]),
        {"messages_ready": "", "messages_unacknowledged": [], "message_stats": []},
        {"messages_ready": -1, "messages_unacknowledged": -5, "message_stats": {"ack": -1}},
        {"message_stats": {}, "head_message_timestamp": int(NOW) - 5},
    ],
)
def test_what_is_not_told_is_none_and_not_zero(item: dict[str, Any]) -> None:
    assert reading_of("q", item, NOW) == QueueReading("q", ready=None, unacked=None, consumers=None)


@pytest.mark.parametrize(
    ("ready", "unacked", "stamp", "age"),
    [
        (1, 0, int(NOW) - 10, 10.0),
        (1, 0, int(NOW) + 10, 0.0),
        (1, 0, 0, None),
        (1, 0, -1, None),
        (1, 0, None, None),
        (1, 0, "", None),
        (0, 0, int(NOW) - 10, None),
        (1, 1, int(NOW) - 10, None),
        (1, None, int(NOW) - 10, None),
    ],
)
def test_age_only_where_the_timestamp_is_that_of_a_ready_message(
    ready: int, unacked: int | None, stamp: Any, age: float | None
) -> None:
    item = {
        "messages_ready": ready,
        "messages_unacknowledged": unacked,
        "head_message_timestamp": stamp,
    }
    assert reading_of("q", item, NOW).oldest_age_seconds == age


@pytest.mark.parametrize("value", ["7", True, {}, [1], float("inf")])
def test_what_is_no_number_fails_the_poll(value: Any) -> None:
    with pytest.raises(QueuePollError, match="no number"):
        reading_of("q", {"messages_ready": value}, NOW)


# Listings.


def test_the_request(serve: Callable[..., Server]) -> None:
    server = serve(page([]))
    read(reader_of(server, vhost="a/b c%"))
    (request,) = server.requests
    assert request.startswith("GET /api/queues/a%2Fb%20c%25?page=1&page_size=500&")
    assert "columns=name,exclusive,messages_ready" in request.splitlines()[0]
    assert f"Authorization: Basic {base64.b64encode(b'user:sesame').decode()}" in request
    assert f"Host: 127.0.0.1:{server.port}\r\n" in request


def test_which_queues(serve: Callable[..., Server]) -> None:
    listed = [
        {"name": "found", "messages_ready": 1},
        {"name": "asked", "messages_ready": 2, "exclusive": True},
        {"name": "private", "exclusive": True},
        {"name": "quorum", "exclusive": None},
        {"name": "celeryev.x"},
    ]
    found = read(reader_of(serve(page(listed))), "asked", "absent")
    assert set(found) == {"found", "asked", "quorum", "absent"}
    assert found["absent"] == QueueReading("absent", ready={"": 0}, unacked=0, consumers=0)
    assert found["quorum"].ready is None


def test_pages_are_put_together(serve: Callable[..., Server]) -> None:
    pages = [[{"name": "a"}], [{"name": "b"}], [{"name": "c"}]]
    server = serve(*(page(items, pages=3, count=3) for items in pages))
    assert set(read(reader_of(server))) == {"a", "b", "c"}
    assert [r.split("?")[1].split("&")[0] for r in server.requests] == [
        "page=1",
        "page=2",
        "page=3",
    ]


OUT_OF_RANGE = http(b'{"error":"page_out_of_range"}', "400 Bad Request")


@pytest.mark.parametrize("second", [page([], pages=2, count=1), OUT_OF_RANGE])
def test_a_listing_that_changed_between_its_pages_is_read_again(
    serve: Callable[..., Server], second: bytes
) -> None:
    first = page([{"name": "a"}], pages=2, count=2)
    reader = reader_of(serve(first, second, page([{"name": "b"}])))
    assert set(read(reader)) == {"b"}
    assert reader.notes == ()


def test_a_listing_that_changes_all_the_time_tells_nothing_of_absent_queues(
    serve: Callable[..., Server],
) -> None:
    first = page([{"name": "a"}], pages=2, count=2)
    server = serve(first, OUT_OF_RANGE, first, OUT_OF_RANGE, first, OUT_OF_RANGE)
    reader = reader_of(server)
    assert set(read(reader, "a", "absent")) == {"a"}
    assert any("came or went" in note for note in reader.notes)
    assert len(server.requests) == 6


def test_a_listing_without_end_is_cut(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management, "MAX_PAGES", 3)
    server = serve(page([{"name": "a"}], pages=10**9, count=10**9))
    reader = reader_of(server)
    assert set(read(reader, "absent")) == {"a"}
    assert any("only the first 3 of" in note for note in reader.notes)
    assert len(server.requests) == 3


def test_a_broker_that_keeps_no_statistics_is_noted(serve: Callable[..., Server]) -> None:
    new = {"name": "new"}
    usual = {"name": "q", "messages_ready": 1, "consumers": 0, "memory": 1}
    reader = reader_of(serve(page([new, usual]), page([new, {"name": "q", "messages_ready": 1}])))
    read(reader, "absent")
    assert reader.notes == ()
    read(reader, "absent")
    assert any("disable_stats" in note for note in reader.notes)


# Answers that are none.


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Log in</html>",
        b"",
        b"null",
        b"[]",
        b'{"items": []}',
        b'{"items": {}, "page_count": 1, "filtered_count": 0}',
        b'{"items": [1], "page_count": 1, "filtered_count": 1}',
        b'{"items": [{}], "page_count": 1, "filtered_count": 1}',
        b'{"items": [{"name": 5}], "page_count": 1, "filtered_count": 1}',
        b'{"items": [{"name": "a", "memory": NaN}], "page_count": 1, "filtered_count": 1}',
        b'{"items": [{"name": "a", "memory": 1e999}], "page_count": 1, "filtered_count": 1}',
        b'{"items": [{"name": "a", "memory": "9"}], "page_count": 1, "filtered_count": 1}',
        b'{"items": [{"name": "a", "memory": 9}], "page_count": "1", "filtered_count": 1}',
        b'{"items": [{"name": "a"',
        b'{"items": [{"name": "\xff"}], "page_count": 1, "filtered_count": 1}',
        b'{"items": ' + b"[" * 100_000,
    ],
)
def test_garbage(serve: Callable[..., Server], body: bytes) -> None:
    with pytest.raises(QueuePollError, match="check that rabbitmq_management_url") as e:
        read(reader_of(serve(http(body))))
    assert len(e.value.message) < 400


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        ("401 Unauthorized", b'{"reason":"Login failed"}', "refused user 'user'.*password"),
        ("401 Unauthorized", b'{"reason":"Not management user"}', "tag management"),
        (
            "401 Unauthorized",
            b'{"reason":"User not authorised to access virtual host"}',
            "set_permissions",
        ),
        ("403 Forbidden", b"", "refused user"),
        ("404 Not Found", b'{"error":"Object Not Found"}', "no vhost '/'"),
        ("404 Not Found", b"nothing here", "path_prefix"),
        ("301 Moved", b"", "status 301"),
        ("500 Internal Server Error", b"sesame", "the broker's log"),
        ("503 Service Unavailable", b"", "status 503"),
        ("204 No Content", b"", "status 204"),
    ],
)
def test_refusals(serve: Callable[..., Server], status: str, body: bytes, expected: str) -> None:
    server = serve(http(body, status, "Location: http://127.0.0.1:1/"))
    with pytest.raises(QueuePollError, match=expected) as e:
        read(reader_of(server))
    assert "sesame" not in e.value.message
    assert len(server.requests) == 1, "no redirect is followed"


@pytest.mark.parametrize(
    "raw",
    [
        b"AMQP\x00\x00\x09\x01",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x01\x00\x02\x02",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
    ],
)
def test_what_is_not_http(serve: Callable[..., Server], raw: bytes) -> None:
    with pytest.raises(QueuePollError, match="check that rabbitmq_management_url leads"):
        read(reader_of(serve(raw)))


def test_a_truncated_answer(serve: Callable[..., Server]) -> None:
    raw = http(b'{"items": []').replace(b"Content-Length: 12", b"Content-Length: 99\r\nX: y")
    with pytest.raises(QueuePollError):
        read(reader_of(serve(raw)), seconds=0.3)


def test_an_answer_that_is_too_large(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management, "MAX_LISTING_BYTES", 100_000)
    items = [{"name": "x" * 30_000}]
    reader = reader_of(serve(page(items, pages=9, count=9)))
    with pytest.raises(QueuePollError, match="larger than"):
        read(reader)


@pytest.mark.parametrize(
    "raw",
    [
        b"H" * 1000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + b"[" * 1000,
    ],
)
def test_an_answer_that_drips_ends_at_the_deadline(
    serve: Callable[..., Server], raw: bytes
) -> None:
    server = serve(raw, pause_seconds=0.01, piece=8)
    started = time.monotonic()
    with pytest.raises(QueuePollError, match="did not answer in time"):
        read(reader_of(server), seconds=0.2)
    assert time.monotonic() - started < 1.0


def test_the_next_server_is_asked_and_stays_the_first(serve: Callable[..., Server]) -> None:
    bad = serve(http(b"", "500 Internal Server Error"))
    good = serve(page([{"name": "a"}]))
    reader = reader_of(bad, good)
    assert set(read(reader)) == {"a"}
    assert set(read(reader)) == {"a"}
    assert (len(bad.requests), len(good.requests)) == (1, 2)


def test_all_servers_fail_and_each_is_named(serve: Callable[..., Server]) -> None:
    first, second = serve(http(b"", "500 Oops")), serve(http(b"", "404 Not Found"))
    with pytest.raises(QueuePollError) as e:
        read(reader_of(first, second))
    assert f":{first.port} answered with status 500" in e.value.message
    assert f":{second.port} answered with status 404" in e.value.message


def test_a_host_that_cannot_be_looked_up() -> None:
    address = ManagementAddress("http", "a" * 70 + ".invalid", 1, "", "/", "user", "sesame")
    reader = ManagementReader([address], lambda _: True)
    with pytest.raises(QueuePollError):
        read(reader)


# TLS.


def over_tls(server: Server, host: str, **options: Any) -> ManagementReader:
    url = f"https://user:sesame@{host}:{server.port}"
    return ManagementReader(
        given_addresses(url, parse_endpoint("amqp://broker"), **options), lambda _: True
    )


@pytest.fixture
def tls_server(serve: Callable[..., Server]) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certs = certificates()
    context.load_cert_chain(certs.server_certificate, certs.server_key)
    return serve(page([{"name": "a"}]), tls=context)


def test_tls_with_the_ca_file(tls_server: Server) -> None:
    assert set(read(over_tls(tls_server, "localhost", ca_file=certificates().ca))) == {"a"}


def test_tls_with_any_certificate(tls_server: Server) -> None:
    assert set(read(over_tls(tls_server, "localhost", insecure=True))) == {"a"}


def test_tls_with_a_certificate_that_is_not_known(tls_server: Server) -> None:
    with pytest.raises(QueuePollError, match=r"TLS .*rabbitmq_management_ca_file"):
        read(over_tls(tls_server, "localhost"))
    assert tls_server.requests == [], "no password goes to a server that is not known"


def test_tls_with_a_port_that_speaks_http(serve: Callable[..., Server]) -> None:
    server = serve(http(b"", "400 Bad Request"))
    with pytest.raises(QueuePollError, match=r"TLS .*that the port speaks TLS"):
        read(over_tls(server, "127.0.0.1", insecure=True))
