"""Asks the exporter's Service for its pages, for `helm test`; exits 1 when an answer is wrong."""

import socket
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

#: Seconds that one answer may take.
TIMEOUT_SECONDS = 10.0
#: Bytes of an answer that are looked at: the metrics of many workers are many.
MOST_BYTES = 65536


def ask(url: str) -> tuple[int, bytes]:
    """Return status and beginning of the body. Raises OSError where nobody answers."""
    # The certificate is for Prometheus's name of the Service, which is not known here.
    context = ssl._create_unverified_context()  # noqa: S323 - nothing secret is sent
    try:
        answered = urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=context)  # noqa: S310 - the chart's own address
        with answered as answer:
            return answer.status, answer.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        return error.code, error.read(MOST_BYTES)


def main(base: str, authenticated: bool, patience: float) -> int:
    """Return the exit code; wait up to ``patience`` seconds for a pod that is just coming up."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return look(base, authenticated)
        except OSError as error:
            if authenticated and shakes_hands(base):
                sys.stdout.write("it asks for a client certificate\n")
                return 0
            if time.monotonic() >= deadline:
                sys.stdout.write(f"{base} does not answer: {error}\n")
                return 1
        time.sleep(1)


def shakes_hands(base: str) -> bool:
    """Whether there is TLS; who asks for a client certificate hangs up after that, in TLS 1.3."""
    parts = urllib.parse.urlsplit(base)
    context = ssl._create_unverified_context()  # noqa: S323 - nothing secret is sent
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        with (
            socket.create_connection((parts.hostname, parts.port), TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname),
        ):
            return True
    except OSError:
        return False


def look(base: str, authenticated: bool) -> int:
    """Ask for each page once, and return the exit code. Raises OSError where nobody answers."""
    healthy, _ = ask(f"{base}/-/healthy")
    metrics, body = ask(f"{base}/metrics")
    ready, reason = ask(f"{base}/-/ready")
    pages = f"/-/healthy {healthy}, /metrics {metrics}, /-/ready {ready}"
    sys.stdout.write(f"{pages}\n{reason.decode(errors='replace')}\n")
    if authenticated:
        return 0 if {healthy, metrics} <= {200, 401} else 1
    return 0 if healthy == metrics == 200 and b"celery" in body else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] == "authenticated", float(sys.argv[3])))
