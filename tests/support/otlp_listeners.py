"""The HTTP and the gRPC server beneath the OTLP receiver of the tests."""

import contextlib
import gzip
import http.server
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, Protocol

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from tests.support.certs import Certificates
from tests.support.otlp_messages import MESSAGES, Behaviour, Request, Signal, answer

_METHODS: dict[str, Signal] = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
}
_PATHS: dict[str, Signal] = {"/v1/traces": "traces", "/v1/metrics": "metrics"}


class Receiver(Protocol):
    """What the servers need of the receiver."""

    port: int
    certificates: Certificates | None
    client_certificate: bool
    blackhole: bool
    released: threading.Event

    def note(self, request: Request) -> Behaviour: ...


def serve_http(receiver: Receiver) -> Callable[[], object]:
    server = _HttpServer(("127.0.0.1", receiver.port), _Handler)
    server.receiver = receiver
    receiver.port = server.server_address[1]
    if receiver.certificates:
        server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.tls.load_cert_chain(
            receiver.certificates.server_certificate, receiver.certificates.server_key
        )
        if receiver.client_certificate:
            server.tls.load_verify_locations(receiver.certificates.ca)
            server.tls.verify_mode = ssl.CERT_REQUIRED
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        server.cut_all()
        thread.join(10)

    return stop


class _HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    receiver: Receiver
    tls: ssl.SSLContext | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            if self.tls is not None:
                request.settimeout(10)
                request = self.tls.wrap_socket(request, server_side=True)
                self._open.add(request)
            super().finish_request(request, client_address)
        except OSError:
            pass  # the client's affair: tests look at what the client says
        finally:
            self._open.discard(request)

    def cut_all(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self.path.partition("?")[0]
        # A prefix before /v1/traces is taken, as behind a gateway.
        found = next((s for end, s in _PATHS.items() if path.endswith(end)), None)
        if found is None:
            return self._send(404, b"no such path")
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.server.receiver
        try:
            payload = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            if headers.get("content-type") != "application/x-protobuf":
                return self._send(415, b"")
            if not receiver.blackhole:
                MESSAGES[found][0].FromString(payload)
        except (DecodeError, OSError, EOFError) as error:
            return self._send(400, str(error).encode())
        request = Request(found, headers, payload, len(body), self.path)
        return self._behave(found, receiver.note(request), receiver.released)

    def _behave(self, signal: Signal, behaviour: Behaviour, released: threading.Event) -> None:
        if behaviour.hangs:
            released.wait(60)
            self.close_connection = True
        elif behaviour.cuts:
            self.close_connection = True
        elif behaviour.drips:
            self._drip(released)
        elif behaviour.status is not None:
            status = status_pb2.Status(message=behaviour.message).SerializeToString()
            self._send(int(behaviour.status), status, behaviour.retry_after)
        else:
            body = behaviour.body
            if body is None:
                body = answer(signal, behaviour.rejected, behaviour.message)
            self._send(200, body)

    def _drip(self, released: threading.Event) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while not released.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()

    def _send(self, status: int, body: bytes, retry_after: float | str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            value = retry_after if isinstance(retry_after, str) else f"{retry_after:g}"
            self.send_header("Retry-After", value)
        self.end_headers()
        self.wfile.write(body)


def serve_grpc(receiver: Receiver) -> Callable[[], object]:
    server = grpc.server(
        futures.ThreadPoolExecutor(4, thread_name_prefix="otlp-receiver"),
        handlers=[_Methods(receiver)],
        options=[("grpc.so_reuseport", 0)],
    )
    address = f"localhost:{receiver.port}"
    if receiver.certificates:
        credentials = grpc.ssl_server_credentials(
            [
                (
                    receiver.certificates.server_key.read_bytes(),
                    receiver.certificates.server_certificate.read_bytes(),
                )
            ],
            receiver.certificates.ca.read_bytes() if receiver.client_certificate else None,
            receiver.client_certificate,
        )
        receiver.port = server.add_secure_port(address, credentials)
    else:
        receiver.port = server.add_insecure_port(address)
    server.start()
    return lambda: server.stop(0).wait(10)


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def service(self, handler_call_details: Any) -> Any:
        signal = _METHODS.get(handler_call_details.method)
        if signal is None:
            return None

        def export(payload: bytes, context: Any) -> bytes:
            return self._export(signal, payload, context)

        return grpc.unary_unary_rpc_method_handler(export)

    def _export(self, signal: Signal, payload: bytes, context: Any) -> bytes:
        if not self._receiver.blackhole:
            try:
                MESSAGES[signal][0].FromString(payload)
            except DecodeError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        headers = dict(context.invocation_metadata())
        behaviour = self._receiver.note(Request(signal, headers, payload))
        if behaviour.hangs:
            released = self._receiver.released
            while context.is_active() and not released.wait(0.05):
                pass
        if behaviour.status is not None or behaviour.hangs:
            code = grpc.StatusCode[str(behaviour.status or "CANCELLED")]
            if isinstance(behaviour.retry_after, int | float):
                details = _retry_info(code, behaviour.retry_after)
                context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(code, behaviour.message)
        return answer(signal, behaviour.rejected, behaviour.message)


def _retry_info(code: grpc.StatusCode, seconds: float) -> bytes:
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    status = status_pb2.Status(code=code.value[0])
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    result: bytes = status.SerializeToString()
    return result
