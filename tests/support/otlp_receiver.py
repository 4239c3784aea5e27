"""A real OTLP receiver on the official messages, over HTTP or gRPC; fails in each way when told to.

``with receiving("grpc") as receiver:`` then ``receiver.endpoint``, ``receiver.spans()``,
``receiver.metrics()``; ``receiver.fail(503, retry_after=2)`` … ``receiver.heal()``.
``python -m tests.support.otlp_receiver`` runs one that only counts, in a process of its own.
"""

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.support.certs import Certificates
from tests.support.otlp_decoded import ReceivedMetric, ReceivedSpan, metrics_of, spans_of
from tests.support.otlp_listeners import serve_grpc, serve_http
from tests.support.otlp_messages import MESSAGES, Behaviour, Request, Signal

Protocol = Literal["http/protobuf", "grpc"]


@dataclass
class OtlpReceiver:
    """Takes requests until it is stopped; what it took stays readable."""

    protocol: Protocol
    certificates: Certificates | None = None
    client_certificate: bool = False
    #: Only counts requests and bytes.
    blackhole: bool = False
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    request_count: int = 0
    payload_bytes: int = 0

    def __post_init__(self) -> None:
        self._behaviour = Behaviour()
        self._lock = threading.Lock()
        self.released = threading.Event()
        self._stop: Callable[[], object] | None = None

    @property
    def endpoint(self) -> str:
        """What --otlp-endpoint takes."""
        return f"{'https' if self.certificates else 'http'}://localhost:{self.port}"

    def start(self) -> None:
        """Listen (again, on the port that it had before)."""
        self.released = threading.Event()
        self._stop = (serve_grpc if self.protocol == "grpc" else serve_http)(self)

    def stop(self) -> None:
        """Close the listener and every connection."""
        self.released.set()
        if self._stop is not None:
            self._stop()
            self._stop = None

    def behave(self, **how: Any) -> None:
        """Answer as ``Behaviour(**how)`` says from now on."""
        with self._lock:
            self._behaviour = Behaviour(**how)
        if not (self._behaviour.hangs or self._behaviour.drips):
            self.released.set()
            self.released = threading.Event()

    def fail(self, status: int | str, **how: Any) -> None:
        """Answer each request with this status."""
        self.behave(status=status, **how)

    def heal(self) -> None:
        """Take requests again."""
        self.behave()

    def taken(self, signal: Signal = "traces") -> list[Request]:
        """Return the requests that were taken."""
        return [r for r in list(self.requests) if r.taken and r.signal == signal]

    def messages(self, signal: Signal = "traces") -> list[Any]:
        """Return the official messages that were taken."""
        return [MESSAGES[signal][0].FromString(r.payload) for r in self.taken(signal)]

    def spans(self) -> list[ReceivedSpan]:
        """Return the spans that were taken, in the order they came."""
        return [span for message in self.messages() for span in spans_of(message)]

    def metrics(self) -> list[list[ReceivedMetric]]:
        """Return the metrics that were taken, a list for each request."""
        return [metrics_of(message) for message in self.messages("metrics")]

    def note(self, request: Request) -> Behaviour:
        """Remember a request, and say what to answer."""
        with self._lock:
            behaviour = self._behaviour
            if behaviour.times is not None:
                left = behaviour.times - 1
                self._behaviour = replace(behaviour, times=left) if left > 0 else Behaviour()
            self.request_count += 1
            self.payload_bytes += len(request.payload)
            if self.blackhole:
                return behaviour
            failing = behaviour.status is not None or behaviour.hangs or behaviour.drips
            request.taken = not failing and not behaviour.cuts
            self.requests.append(request)
        return behaviour


@contextlib.contextmanager
def receiving(
    protocol: Literal["http", "http/protobuf", "grpc"] = "http/protobuf",
    *,
    certificates: Certificates | None = None,
    client_certificate: bool = False,
    port: int = 0,
    started: bool = True,
) -> Iterator[OtlpReceiver]:
    """Run a receiver; TLS with ``certificates``, asking for the client's with the other."""
    receiver = OtlpReceiver(
        "grpc" if protocol == "grpc" else "http/protobuf", certificates, client_certificate
    )
    receiver.port = port
    if started:
        receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


def main() -> None:
    """Run a receiver that only counts: prints its port, and what it counted when it is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.otlp_receiver")
    parser.add_argument("--protocol", choices=["http/protobuf", "grpc"], default="http/protobuf")
    receiver = OtlpReceiver(parser.parse_args().protocol, blackhole=True)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    receiver.start()
    sys.stdout.write(f"{receiver.port}\n")
    sys.stdout.flush()
    while not done.wait(0.5):
        pass
    receiver.stop()
    sys.stdout.write(f"{receiver.request_count} {receiver.payload_bytes}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
