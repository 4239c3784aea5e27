"""An OTLP endpoint that takes everything and keeps nothing, for a demo without a collector."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Seconds an idle connection is kept open: longer than the exporter pauses between two requests.
_IDLE_SECONDS = 60.0


class Sink:
    """Listens on a free port of this machine, in threads that end with the process."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Takes)
        # A connection may stay open; its thread must not be waited for.
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )

    @property
    def endpoint(self) -> str:
        """What ``--otlp-endpoint`` takes."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Take requests."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()


class _Takes(BaseHTTPRequestHandler):
    """Answers each POST as an endpoint that took all of it: with an empty message."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS

    def do_POST(self) -> None:
        """Read the request and forget it."""
        left = int(self.headers.get("Content-Length", 0))
        while left > 0 and (piece := self.rfile.read(min(left, 65_536))):
            left -= len(piece)
        self.send_response(http.client.OK)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
