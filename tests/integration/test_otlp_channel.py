"""OTLP requests to a real receiver: HTTP and gRPC, TLS, gzip, headers, and every way to fail."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support.certs import certificates
from tests.support.otlp_messages import MESSAGES, Signal
from tests.support.otlp_receiver import OtlpReceiver, receiving
from tests.support.process import free_port, wait_until
from z4j_exporter.config.otlp import OtlpSettings
from z4j_exporter.otlp.channel import Channel, open_channel
from z4j_exporter.otlp.outcome import Accepted, Failed, Refused
from z4j_exporter.tracing.encode import SpanEncoder
from z4j_exporter.tracing.model import CONSUMER, Source, Span

Protocol = Literal["http/protobuf", "grpc"]
PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")
both = pytest.mark.parametrize("protocol", PROTOCOLS)

SPAN = Span(
    trace_id=b"\1" * 16,
    span_id=b"\2" * 8,
    kind=CONSUMER,
    name="process shop.pay",
    start_ns=1,
    end_ns=2,
    source=Source(service="shop", nodename="shop@host"),
    attributes=(("key", "value"),),
)
PAYLOAD = SpanEncoder({}).encode([SPAN]).payload


def channel(receiver: OtlpReceiver, signal: Signal = "traces", **settings: Any) -> Channel:
    given = {"otlp_endpoint": receiver.endpoint, "otlp_protocol": receiver.protocol, **settings}
    made = open_channel(OtlpSettings.model_validate(given), signal, {})
    assert made is not None
    return made


@pytest.fixture(params=PROTOCOLS)
def receiver(request: pytest.FixtureRequest) -> Iterator[OtlpReceiver]:
    with receiving(request.param) as made:
        yield made


def test_what_is_sent_arrives(receiver: OtlpReceiver) -> None:
    sender = channel(receiver, otlp_headers={"X-Api-Key": "k"})
    assert sender.send(PAYLOAD, 5) == sender.send(PAYLOAD, 5) == Accepted()
    names = [(span.service, span.name, span.attributes) for span in receiver.spans()]
    assert names == [("shop", "process shop.pay", {"key": "value"})] * 2
    headers = receiver.requests[0].headers
    assert headers["x-api-key"] == "k"
    assert headers["user-agent"].startswith("z4j-exporter/")
    sender.close()
    assert sender.send(PAYLOAD, 5) == Accepted()  # opens it again


def test_metrics_go_their_own_way(receiver: OtlpReceiver) -> None:
    payload = MESSAGES["metrics"][0]().SerializeToString()
    receiver.behave(rejected=2, message="old")
    assert channel(receiver, "metrics").send(payload, 5) == Accepted(2, "old")
    assert len(receiver.taken("metrics")) == 1


@pytest.mark.parametrize("with_client", [False, True])
@both
def test_tls(protocol: Protocol, with_client: bool) -> None:
    files = certificates()
    own = {
        "otlp_client_certificate_file": files.client_certificate,
        "otlp_client_key_file": files.client_key,
    }
    with receiving(protocol, certificates=files, client_certificate=with_client) as receiver:
        trusted = {"otlp_ca_file": files.ca, **(own if with_client else {})}
        assert channel(receiver, **trusted).send(PAYLOAD, 5) == Accepted()
        distrusted: list[dict[str, Path]] = [{"otlp_ca_file": files.other_ca, **own}, own]
        if with_client:
            distrusted.append({"otlp_ca_file": files.ca})
        for settings in distrusted:
            outcome = channel(receiver, **settings).send(PAYLOAD, 5)
            assert isinstance(outcome, Failed), settings  # certificates are replaced
        assert len(receiver.spans()) == 1


@both
def test_the_systems_authorities_are_trusted(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates().ca))
    with receiving(protocol, certificates=certificates()) as receiver:
        assert channel(receiver).send(PAYLOAD, 5) == Accepted()


def test_gzip(receiver: OtlpReceiver) -> None:
    payload = SpanEncoder({}).encode([SPAN] * 200).payload
    assert channel(receiver, otlp_compression="gzip").send(payload, 5) == Accepted()
    assert len(receiver.spans()) == 200
    if receiver.protocol != "grpc":
        assert receiver.requests[0].headers["content-encoding"] == "gzip"
        assert receiver.requests[0].wire_bytes < len(payload) / 10


def test_a_password_in_the_url() -> None:
    with receiving() as receiver:
        url = receiver.endpoint.replace("//", "//me:pass%40@") + "/prefix?key=1"
        sender = channel(receiver, otlp_endpoint=url)
        assert sender.send(PAYLOAD, 5) == Accepted()
        assert receiver.requests[0].headers["authorization"] == "Basic bWU6cGFzc0A="
        assert receiver.requests[0].path == "/prefix/v1/traces?key=1"
        assert sender.location == f"{receiver.endpoint}/prefix/v1/traces"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_http_statuses_that_may_be_tried_again(status: int) -> None:
    with receiving() as receiver:
        sender = channel(receiver)
        receiver.fail(status, retry_after=3, message="come again", times=1)
        assert sender.send(PAYLOAD, 5) == Failed(f"HTTP status {status}: come again", 3.0)
        assert sender.send(PAYLOAD, 5) == Accepted()
        assert len(receiver.spans()) == 1


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500, 501])
def test_http_statuses_that_may_not(status: int) -> None:
    with receiving() as receiver:
        receiver.fail(status, message="no\x07")
        assert channel(receiver).send(PAYLOAD, 5) == Refused(f"HTTP status {status}: no?")


@pytest.mark.parametrize(
    ("status", "wait", "retryable"),
    [
        ("CANCELLED", None, True),
        ("DEADLINE_EXCEEDED", None, True),
        ("ABORTED", None, True),
        ("OUT_OF_RANGE", None, True),
        ("UNAVAILABLE", 2.5, True),
        ("DATA_LOSS", None, True),
        ("RESOURCE_EXHAUSTED", 2.5, True),
        ("RESOURCE_EXHAUSTED", None, False),
        ("UNKNOWN", None, False),
        ("INVALID_ARGUMENT", None, False),
        ("UNAUTHENTICATED", None, False),
        ("PERMISSION_DENIED", 2.5, False),
        ("UNIMPLEMENTED", None, False),
        ("INTERNAL", None, False),
    ],
)
def test_grpc_statuses(status: str, wait: float | None, retryable: bool) -> None:
    with receiving("grpc") as receiver:
        receiver.fail(status, retry_after=wait, message="no")
        reason = f"gRPC status {status}: no"
        expected = Failed(reason, wait) if retryable else Refused(reason)
        assert channel(receiver).send(PAYLOAD, 5) == expected


@pytest.mark.parametrize(
    ("protocol", "how"),
    [("http/protobuf", "hangs"), ("http/protobuf", "drips"), ("grpc", "hangs")],
)
def test_one_deadline_holds_for_the_whole_request(protocol: Protocol, how: str) -> None:
    with receiving(protocol) as receiver:
        sender = channel(receiver)
        receiver.behave(**{how: True})
        began = time.monotonic()
        assert isinstance(sender.send(PAYLOAD, 0.4), Failed)
        assert 0.3 < time.monotonic() - began < 2
        receiver.heal()
        assert sender.send(PAYLOAD, 5) == Accepted()


@both
def test_a_peer_that_accepts_and_says_nothing(protocol: Protocol) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for scheme in ("http", "https"):
            settings = OtlpSettings(
                otlp_endpoint=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}",
                otlp_protocol=protocol,
            )
            sender = open_channel(settings, "traces", {})
            assert sender is not None
            began = time.monotonic()
            # Larger than what sockets hold: writing waits too.
            assert isinstance(sender.send(b"x" * 20_000_000, 0.4), Failed)
            assert time.monotonic() - began < 2
            sender.close()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"cuts": True}, Failed),
        ({"body": b"\xff\xff\xff"}, Accepted),
        ({"body": b"x" * 10_000_000}, Accepted),
        ({"body": b""}, Accepted),
    ],
)
def test_odd_http_answers(how: dict[str, Any], expected: type) -> None:
    with receiving() as receiver:
        sender = channel(receiver)
        receiver.behave(**how)
        assert isinstance(sender.send(PAYLOAD, 5), expected)
        receiver.heal()
        assert sender.send(PAYLOAD, 5) == Accepted()


@both
def test_an_endpoint_that_comes_late_and_comes_back(protocol: Protocol) -> None:
    with receiving(protocol, port=free_port(), started=False) as receiver:
        sender = channel(receiver)
        outcome = sender.send(PAYLOAD, 5)
        assert isinstance(outcome, Failed)
        assert "refused" in outcome.reason
        for _ in range(2):
            receiver.start()
            wait_until(lambda: sender.send(PAYLOAD, 5) == Accepted(), every=0.1)
            receiver.stop()
            assert isinstance(sender.send(PAYLOAD, 5), Failed)
        assert len(receiver.spans()) == 2


@both
def test_a_host_that_is_not_there(protocol: Protocol) -> None:
    for host in ("nowhere.invalid", "x" * 64 + ".example"):
        settings = OtlpSettings(otlp_endpoint=f"http://{host}:1", otlp_protocol=protocol)
        sender = open_channel(settings, "traces", {})
        assert sender is not None
        assert isinstance(sender.send(PAYLOAD, 2), Failed)


@both
def test_the_wrong_kind_of_port(protocol: Protocol) -> None:
    other: Protocol = "grpc" if protocol == "http/protobuf" else "http/protobuf"
    with receiving(other) as receiver:
        outcome = channel(receiver, otlp_protocol=protocol).send(PAYLOAD, 2)
        assert isinstance(outcome, Failed | Refused)
