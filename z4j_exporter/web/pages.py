"""The pages of the exporter: metrics, traces, probes and a landing page, as ASGI."""

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from z4j_exporter.web.asgi import Receive, Scope, Send, header, send_body, send_text
from z4j_exporter.web.landing import CONTENT_SECURITY_POLICY, Advice, Landing, landing_page
from z4j_exporter.web.negotiation import accepts_gzip, requested_names
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.status import Status
from z4j_exporter.web.traces import TRACES_PATH, Answer, Traces, answer
from z4j_exporter.web.workers import BusyError, Workers

_LOGGER = logging.getLogger("z4j_exporter.web")

#: Scrapes (and traces) rendered at one time. More would only share the interpreter lock.
_RENDER_THREADS = 2
#: Scrapes that may wait for one of them; the next is told to come again.
_RENDERS_WAITING = 16
#: zlib's level. An exposition of 5 MB (36 000 samples) took 11 ms and became 0.33 MB at level 1,
#: 34 ms and 0.27 MB at level 6.
_GZIP_LEVEL = 1
#: Bodies below this many bytes are not worth compressing.
_GZIP_MIN_BYTES = 512
#: zlib's code for the gzip format with the largest window.
_GZIP_WBITS = 31

#: /health is where the probes of those who come from celery-exporter point: they need not change.
PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/health", TRACES_PATH)


class Exposition(Protocol):
    """Renders the metrics; called in a worker thread, by two of them at the same time."""

    def __call__(self, accept: str, names: list[str], scraper: str) -> tuple[str, bytes]:
        """Return content type and body for an Accept header; `names` limits it when not empty.

        `scraper` tells one Prometheus from another; it is "" for everyone else.
        """


class Readiness(NamedTuple):
    """Whether something is well, and why not (or a word on why it is)."""

    ready: bool
    reason: str


def _no_advice() -> Sequence[Advice]:
    return ()


@dataclass(frozen=True, slots=True)
class Pages:
    """What the pages show.

    The callables must be quick, since they run in the event loop: all but ``exposition`` and
    ``status``.
    """

    exposition: Exposition
    #: Whether the process does its work: its threads are alive. For a liveness probe.
    healthy: Callable[[], Readiness]
    #: Whether events arrive: the source is connected. For a readiness probe.
    ready: Callable[[], Readiness]
    #: What someone should look at, the worst first.
    advice: Callable[[], Sequence[Advice]] = _no_advice
    version: str = ""
    #: Where the events come from, without secrets.
    source: str = ""
    #: The traces that are remembered, if any are.
    traces: Traces | None = None
    #: The picture of this moment; may take a second, so it is asked in a worker thread.
    status: Callable[[], Status] | None = None


def create_app(pages: Pages, stats: WebStats) -> "PagesApp":
    """Return the ASGI application for the exporter's pages."""
    return PagesApp(pages, stats)


class PagesApp:
    """The pages as an ASGI application; call `close` when no listener serves it any more."""

    def __init__(self, pages: Pages, stats: WebStats) -> None:
        self._pages = pages
        self._stats = stats
        stats.known_paths |= set(PATHS)
        self._workers = Workers(threads=_RENDER_THREADS, waiting=_RENDERS_WAITING, name="render")

    def close(self) -> None:
        """Let the rendering threads end."""
        self._workers.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            # Closing spares us reading the body.
            refusal = [(b"allow", b"GET, HEAD"), (b"connection", b"close")]
            await send_text(send, 405, "Only GET and HEAD are served here.\n", headers=refusal)
            return
        match path:
            case "/metrics":
                await self._metrics(scope, send)
            case "/-/healthy" | "/health":
                await self._state(send, self._pages.healthy, "Healthy.")
            case "/-/ready":
                await self._state(send, self._pages.ready, "Ready.", self._pages.advice())
            case "/":
                await self._landing(send)
            case _ if path == TRACES_PATH or path.startswith(f"{TRACES_PATH}/"):
                await self._traces(scope, send)
            case _:
                await send_text(send, 404, "Not found. Paths: " + " ".join(PATHS) + "\n")

    async def _metrics(self, scope: Scope, send: Send) -> None:
        accept = (header(scope, b"accept") or b"").decode("latin-1")
        names = requested_names(scope["query_string"])
        scraper = _scraper(scope)

        def render() -> Answer:
            content_type, body = self._pages.exposition(accept, names, scraper)
            return Answer(200, content_type.encode("latin-1"), body)

        await self._rendered(scope, send, render, "metrics")

    async def _traces(self, scope: Scope, send: Send) -> None:
        path, query = scope["path"], scope["query_string"]
        await self._rendered(scope, send, lambda: answer(self._pages.traces, path, query), "traces")

    async def _rendered(
        self, scope: Scope, send: Send, render: Callable[[], Answer], what: str
    ) -> None:
        """Send what a worker thread renders, compressed if that is wanted and worth it."""
        gzip = accepts_gzip((header(scope, b"accept-encoding") or b"").decode("latin-1"))
        try:
            made, gzipped = await self._workers.run(_compressed, render, gzip)
        except BusyError:
            self._stats.add("busy_responses")
            text = "Too many scrapes at the same time.\n"
            await send_text(send, 503, text, headers=[(b"retry-after", b"1")])
        except Exception:
            self._stats.add("exposition_errors")
            _LOGGER.exception("the %s could not be rendered", what)
            await send_text(send, 500, f"The {what} could not be rendered; the log says why.\n")
        else:
            headers = [(b"vary", b"Accept, Accept-Encoding")]
            if gzipped:
                headers.append((b"content-encoding", b"gzip"))
            await send_body(send, made.status, made.content_type, made.body, headers=headers)

    async def _state(
        self, send: Send, ask: Callable[[], Readiness], good: str, advice: Sequence[Advice] = ()
    ) -> None:
        state = _ask(ask)
        text = good if state.ready else state.reason
        lines = [text, *(f"{a.severity}: {a.title}: {a.text}" for a in advice)]
        await send_text(send, 200 if state.ready else 503, "\n".join(lines) + "\n")

    async def _landing(self, send: Send) -> None:
        ready, healthy = _ask(self._pages.ready), _ask(self._pages.healthy)
        page = landing_page(
            Landing(
                version=self._pages.version,
                source=self._pages.source,
                ready=ready.ready and healthy.ready,
                reason=healthy.reason if not healthy.ready else ready.reason,
                advice=self._pages.advice(),
                traces=self._pages.traces is not None,
            )
        )
        policy = [(b"content-security-policy", CONTENT_SECURITY_POLICY)]
        await send_body(send, 200, b"text/html; charset=utf-8", page, headers=policy)


def _compressed(render: Callable[[], Answer], gzip: bool) -> tuple[Answer, bool]:
    made = render()
    if not gzip or len(made.body) < _GZIP_MIN_BYTES:
        return made, False
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS)
    return made._replace(body=compressor.compress(made.body) + compressor.flush()), True


def _ask(ask: Callable[[], Readiness]) -> Readiness:
    try:
        return ask()
    except Exception:
        # A probe that cannot be answered is a failed probe.
        _LOGGER.exception("the state of the process could not be told")
        return Readiness(False, "The state of the process could not be told; the log says why.")


def _scraper(scope: Scope) -> str:
    """Return who scrapes, if it is a Prometheus: it says how long it waits, others do not.

    Two behind one address are told apart by what they ask for, if by anything.
    """
    if header(scope, b"x-prometheus-scrape-timeout-seconds") is None:
        return ""
    client = scope.get("client")
    agent = (header(scope, b"user-agent") or b"").decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return f"{client[0] if client else 'unix'} {agent[:100]} {query[:200]}"
