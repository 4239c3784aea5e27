"""Sends OTLP over HTTP (http/protobuf); one deadline holds for the whole of each request.

Redirects are not followed: the request carries the user's headers.
https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import gzip
import ssl
import time
from collections.abc import Iterable
from typing import Final

import httpcore

from z4j_exporter import __version__
from z4j_exporter.http_deadline import HTTP_FAILURES, Deadline
from z4j_exporter.otlp.address import authority
from z4j_exporter.otlp.answers import (
    MAX_ANSWER_BYTES,
    answers,
    error_message,
    printable,
    retry_after,
)
from z4j_exporter.otlp.environment import Target
from z4j_exporter.otlp.outcome import Failed, Outcome, Refused
from z4j_exporter.otlp.tls import client_context

#: Statuses that the specification says to try again after.
_RETRYABLE: Final = frozenset({429, 502, 503, 504})
#: Seconds after which an idle connection is not used again.
_KEEPALIVE_SECONDS: Final = 45.0
#: Level of zlib: more makes spans little smaller and costs several times as much.
_GZIP_LEVEL: Final = 1


class HttpChannel:
    """A connection to one endpoint that is kept open between the requests."""

    def __init__(self, target: Target) -> None:
        """Raise FileError for a certificate that cannot be used."""
        address = target.address
        self.location = address.location
        self.timeout = target.timeout
        self._gzip = target.gzip
        self._url = httpcore.URL(
            scheme=b"https" if address.tls else b"http",
            host=address.host.encode(),
            port=address.port,
            target=address.path.encode(),
        )
        headers = {
            "host": authority(address.host, address.port),
            "user-agent": f"z4j-exporter/{__version__}",
            **target.headers,
            "content-type": "application/x-protobuf",
        }
        if target.gzip:
            headers["content-encoding"] = "gzip"
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._answers = answers(target.signal)
        self._deadline = Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=client_context(target) if address.tls else None,
            max_connections=1,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=self._deadline,
        )

    def send(self, payload: bytes, seconds: float) -> Outcome:
        """Send one request; returns within ``seconds`` (beside a lookup of the host's name)."""
        self._deadline.at = time.monotonic() + seconds
        body = gzip.compress(payload, _GZIP_LEVEL, mtime=0) if self._gzip else payload
        headers = [*self._headers, (b"content-length", str(len(body)).encode())]
        try:
            with self._pool.stream("POST", self._url, headers=headers, content=body) as answer:
                return self._outcome(answer, _body(answer.iter_stream()))
        except HTTP_FAILURES as error:
            return _explain(error)

    def close(self) -> None:
        """Close the connection; another send opens it again."""
        self._pool.close()

    def _outcome(self, answer: httpcore.Response, body: bytes) -> Outcome:
        status = answer.status
        if 200 <= status < 300:
            return self._answers(body)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in answer.headers
        }
        reason = f"HTTP status {status}"
        message = error_message(body) if "protobuf" in headers.get("content-type", "") else ""
        if message:
            reason = f"{reason}: {message}"
        if status not in _RETRYABLE:
            return Refused(reason)
        return Failed(reason, retry_after(headers, time.time()))


def _body(chunks: Iterable[bytes]) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            return b""  # the rest is not read: the connection goes, the status stays
        pieces.append(chunk)
    return b"".join(pieces)


def _explain(error: Exception) -> Outcome:
    words = printable(str(error)) or type(error).__name__
    # httpcore wraps what the socket raised.
    if any(isinstance(argument, ssl.SSLError) for argument in error.args):
        return Failed(f"TLS failed: {words}")
    if isinstance(error, httpcore.TimeoutException):
        return Failed("no answer in time")
    if isinstance(error, httpcore.ConnectError):
        return Failed(f"cannot connect: {words}")
    return Failed(f"no HTTP answer: {words}")
