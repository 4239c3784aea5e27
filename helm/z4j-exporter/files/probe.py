"""Asks the exporter's Service for its pages, for `helm test`; exits 1 when an answer is wrong."""

import ssl
import sys
import urllib.error
import urllib.request

#: Seconds that one answer may take.
TIMEOUT_SECONDS = 10.0


def ask(url: str) -> tuple[int, bytes]:
    """Return status and body. Raises OSError where nobody answers."""
    # The certificate is for Prometheus's name of the Service, which is not known here.
    context = ssl._create_unverified_context()  # noqa: S323 - nothing secret is sent
    try:
        answered = urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=context)  # noqa: S310 - the chart's own address
        with answered as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def main(base: str, authenticated: bool) -> int:
    """Return the exit code."""
    healthy, _ = ask(f"{base}/-/healthy")
    metrics, body = ask(f"{base}/metrics")
    ready, reason = ask(f"{base}/-/ready")
    pages = f"/-/healthy {healthy}, /metrics {metrics} ({len(body)} bytes), /-/ready {ready}"
    sys.stdout.write(f"{pages}\n{reason.decode(errors='replace')}\n")
    if authenticated:
        return 0 if {healthy, metrics} <= {200, 401} else 1
    return 0 if healthy == metrics == 200 and b"celery" in body else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] == "authenticated"))
