"""Asks a running exporter for its traces over HTTP, with TLS and a user where it wants them."""

import base64
import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import msgspec

from z4j_exporter.cli.show import printable
from z4j_exporter.cli.trace_source import shown
from z4j_exporter.errors import ConfigError, FileError, TraceError
from z4j_exporter.tracing.answers import Latest
from z4j_exporter.tracing.decode import NotSpansError, spans_from_json
from z4j_exporter.tracing.memory import Summary
from z4j_exporter.tracing.model import Span

#: Seconds that connecting, and each wait for the answer, may take.
_TIMEOUT_SECONDS = 10.0
#: Bytes of an answer; a trace of ten thousand spans has some twenty millions.
_MAX_BYTES = 128 * 1024 * 1024
#: Characters of an exporter's own sentence that are repeated.
_SENTENCE = 600
#: Traces that an exporter lists at the most (web/traces.py).
_LISTED_MOST = 200


@dataclass(frozen=True, slots=True)
class Address:
    """Where an exporter is, and who asks it."""

    scheme: str
    host: str
    port: int
    #: What stands before /traces: "" unless it is behind a proxy.
    path: str
    #: ``user:password``, as the URL has it.
    login: str = ""

    @property
    def url(self) -> str:
        """The address without a login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_url(url: str) -> Address:
    """Return the address in a URL. Raises ConfigError, which does not repeat it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"--url cannot be understood: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            "--url must begin with http:// or https:// and name a host",
            hint="For example http://127.0.0.1:9808",
        )
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return Address(
        parts.scheme,
        parts.hostname,
        port or (443 if parts.scheme == "https" else 80),
        parts.path.rstrip("/").removesuffix("/metrics").removesuffix("/traces"),
        login if parts.username or parts.password else "",
    )


class RemoteTraces:
    """The traces that a running exporter remembers. Raises ExporterError.

    ``certificate`` is a client's certificate and its key.
    """

    def __init__(
        self,
        address: Address,
        *,
        ca_file: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self._address = address
        self._context = _context(ca_file, certificate) if address.scheme == "https" else None

    def latest(self, count: int) -> list[Summary]:
        """See Traces; an exporter tells 200 at the most."""
        body = self._get(f"/traces?limit={min(count, _LISTED_MOST)}")
        try:
            told = msgspec.json.decode(body, type=Latest)
            return [
                Summary(
                    trace_id=bytes.fromhex(line.trace_id),
                    root=line.root,
                    service=line.service,
                    task_id=line.task_id,
                    start_ns=(start := int(line.start_unix_nano[:20])),
                    end_ns=start + int(line.duration_seconds * 1e9),
                    spans=line.spans,
                    errors=line.errors,
                )
                for line in told.traces
            ]
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError) as error:
            raise self._strange(f"no list of traces ({type(error).__name__})") from None

    def spans(self, wanted: str) -> list[Span]:
        """See Traces."""
        try:
            found = spans_from_json(self._get(f"/traces/{quote(wanted.strip(), safe='')}"))
        except NotSpansError as error:
            raise self._strange(str(error)) from None
        if not found:
            raise self._strange(f"an empty trace for {shown(wanted)}")
        return found

    def _get(self, target: str) -> bytes:
        address = self._address
        connection = (
            http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT_SECONDS)
            if self._context is None
            else http.client.HTTPSConnection(
                address.host, address.port, timeout=_TIMEOUT_SECONDS, context=self._context
            )
        )
        headers = {"Accept": "application/json", "User-Agent": "z4j-exporter"}
        if address.login:
            headers["Authorization"] = f"Basic {base64.b64encode(address.login.encode()).decode()}"
        try:
            connection.request("GET", f"{address.path}{target}", headers=headers)
            answer = connection.getresponse()
            body = answer.read(_MAX_BYTES + 1)
        except ssl.SSLError as error:
            raise TraceError(
                f"TLS with {address.url} failed: {_words(error)}",
                hint="--ca-file names the certificates to trust; the name must be in the"
                " exporter's certificate.",
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TraceError(
                f"no exporter answers at {address.url}: {_words(error)}",
                hint="--url says where it listens; --recording FILE takes a recording instead.",
            ) from None
        finally:
            connection.close()
        if len(body) > _MAX_BYTES:
            raise self._strange(f"more than {_MAX_BYTES} bytes")
        if answer.status != http.client.OK:
            raise self._refused(answer, body)
        return body

    def _refused(self, answer: http.client.HTTPResponse, body: bytes) -> TraceError:
        url = self._address.url
        if answer.status == http.client.UNAUTHORIZED:
            return TraceError(
                f"{url} wants a user and a password{', others' if self._address.login else ''}",
                hint="Put them into the URL (https://USER:PASSWORD@HOST:PORT), and the URL into the"
                " environment variable Z4J_EXPORTER_URL.",
            )
        said = ""
        if answer.headers.get_content_type() == "text/plain":
            said = printable(body[:_SENTENCE].decode("utf-8", "replace").strip())
        return TraceError(
            f"{url}: {said}" if said else f"{url} answered {answer.status}",
            hint="Is it a z4j-exporter of this version?" if not said else "",
        )

    def _strange(self, what: str) -> TraceError:
        return TraceError(
            f"{self._address.url} sent {what}", hint="Is it a z4j-exporter of this version?"
        )


def _context(ca_file: Path | None, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    name = ca_file
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate is not None:
            name = certificate[0]
            context.load_cert_chain(*certificate)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise FileError(f"{name} cannot be used: {_words(error)}") from None
    return context


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(str(text)[:_SENTENCE])
