"""Asks the exporter in this container whether it works; exit code 0 when it does, 1 when not.

What is asked is /-/healthy, which does not depend on the broker. The address is that of
Z4J_EXPORTER_LISTEN_ADDRESS, or the default, with TLS where the file that
Z4J_EXPORTER_WEB_CONFIG_FILE names has it; where an option or a configuration file says otherwise,
set HEALTHCHECK_URL (``https://127.0.0.1:9808/-/healthy``). Nothing of the package is imported:
this runs every half a minute, and is to cost little.
"""

import http.client
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

#: Seconds that an answer may take; less than the image's HEALTHCHECK --timeout.
TIMEOUT_SECONDS = 4.0

_TLS = re.compile(r"^tls_server_config\s*:", re.MULTILINE)


def url() -> str:
    """Return the address to ask. Raises OSError where the web configuration cannot be read."""
    if given := os.environ.get("HEALTHCHECK_URL"):
        return given
    address = os.environ.get("Z4J_EXPORTER_LISTEN_ADDRESS") or ":9808"
    host, _, port = address.rpartition(":")
    if host in ("", "0.0.0.0", "[::]"):  # noqa: S104 - every address: this one is among them
        host = "127.0.0.1"
    web = os.environ.get("Z4J_EXPORTER_WEB_CONFIG_FILE")
    tls = web and _TLS.search(Path(web).read_text(errors="replace"))
    return f"{'https' if tls else 'http'}://{host}:{port}/-/healthy"


def trouble() -> str:
    """Return what is wrong, "" when the exporter says that it works."""
    # The certificate is made for the name that others use, and nothing secret is sent.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # No proxy of the environment: the exporter is in this container.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url(), timeout=TIMEOUT_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        # Users are asked for on every path: who asks for one is up.
        return "" if error.code == 401 else f"it answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"no answer: {error}"


if __name__ == "__main__":
    found = trouble()
    print(found or "it works")  # noqa: T201 - `docker inspect` shows it
    sys.exit(1 if found else 0)
