"""The demo's own OTLP endpoint."""

import http.client

from z4j_exporter.demo.sink import Sink


def test_the_sink_takes_large_requests_on_one_connection() -> None:
    sink = Sink()
    sink.start()
    try:
        host = sink.endpoint.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        for path in ("/v1/traces", "/v1/metrics"):
            connection.request("POST", path, b"x" * 300_000)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            assert answer.getheader("Content-Type") == "application/x-protobuf"
        connection.close()
    finally:
        sink.stop()
