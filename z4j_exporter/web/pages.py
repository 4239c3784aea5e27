"""The pages of the exporter: metrics, status, traces and probes, as ASGI."""

import logging
import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from z4j_exporter.web.asgi import HTML, Receive, Scope, Send, header, send_body, send_text
from z4j_exporter.web.frame import HEADERS
from z4j_exporter.web.negotiation import accepts_gzip, requested_names
from z4j_exporter.web.refresh import NO_CHOICE, Refresh, chosen
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.status import Advice, Status
from z4j_exporter.web.status_page import status_page
from z4j_exporter.web.trace_model import Traces
from z4j_exporter.web.traces import TRACES_PATH, Answer, Asked, answer
from z4j_exporter.web.workers import BusyError, Workers

_LOGGER = logging.getLogger("z4j_exporter.web")

#: Scrapes rendered at one time. More would only share the interpreter lock.
_RENDER_THREADS = 2
#: Scrapes that may wait for one of them; the next is told to come again.
_RENDERS_WAITING = 16
#: Threads for pages that people read: whatever they ask for, scrapes do not wait for it.
_PAGE_THREADS = 1
#: Seconds that a status page is shown again before a new picture is taken.
_STATUS_SECONDS = 1.0
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
    #: Where traces are kept, with ``{trace_id}`` in it; "" where nobody said.
    trace_url: str = ""


def create_app(
    pages: Pages, stats: WebStats, *, monotonic: Callable[[], float] = time.monotonic
) -> "PagesApp":
    """Return the ASGI application for the exporter's pages."""
    return PagesApp(pages, stats, monotonic)


class PagesApp:
    """The pages as an ASGI application; call `close` when no listener serves it any more."""

    def __init__(self, pages: Pages, stats: WebStats, monotonic: Callable[[], float]) -> None:
        self._pages = pages
        self._stats = stats
        self._monotonic = monotonic
        stats.known_paths |= set(PATHS)
        self._workers = Workers(threads=_RENDER_THREADS, waiting=_RENDERS_WAITING, name="render")
        self._page_workers = Workers(threads=_PAGE_THREADS, waiting=_RENDERS_WAITING, name="page")
        #: When it was made, and the page, by how often it renews itself. One thread knows it.
        self._shown: dict[Refresh, tuple[float, Answer]] = {}

    def close(self) -> None:
        """Let the rendering threads end."""
        self._workers.close()
        self._page_workers.close()

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
                await self._status(scope, send)
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

        await self._rendered(scope, send, render, "metrics", self._workers)

    async def _traces(self, scope: Scope, send: Send) -> None:
        accept = (header(scope, b"accept") or b"").decode("latin-1")
        asked = Asked(scope["path"], scope["query_string"], accept)
        pages = self._pages

        def render() -> Answer:
            return answer(pages.traces, asked, version=pages.version, trace_url=pages.trace_url)

        await self._rendered(scope, send, render, "traces", self._page_workers)

    async def _status(self, scope: Scope, send: Send) -> None:
        refresh = chosen(scope["query_string"])
        if refresh is None:
            await send_text(send, 400, f"{NO_CHOICE}\n")
            return
        await self._rendered(
            scope, send, lambda: self._status_page(refresh), "status", self._page_workers
        )

    def _status_page(self, refresh: Refresh) -> Answer:
        """Return the page, of this moment or of one just now."""
        now = self._monotonic()
        made_at, made = self._shown.get(refresh, (0.0, None))
        if made is None or now - made_at >= _STATUS_SECONDS:
            page = status_page(self._picture(), refresh, trace_url=self._pages.trace_url)
            made = Answer(200, HTML, page)
            self._shown[refresh] = (now, made)
        return made

    def _picture(self) -> Status:
        if self._pages.status is not None:
            try:
                return self._pages.status()
            except Exception:
                # The page is what people open when something is wrong: it says what it can.
                _LOGGER.exception("the status could not be taken")
        return self._least()

    def _least(self) -> Status:
        """Return what is known without asking anyone."""
        pages = self._pages
        ready, healthy = _ask(pages.ready), _ask(pages.healthy)
        return Status(
            taken_at=time.time(),
            version=pages.version,
            uptime_seconds=math.nan,
            ready=ready.ready and healthy.ready,
            reason=healthy.reason if not healthy.ready else ready.reason,
            source=pages.source,
            findings=pages.advice(),
            traces=pages.traces is not None,
            notes=["The rest could not be read: the log says why."] if pages.status else [],
        )

    async def _rendered(
        self,
        scope: Scope,
        send: Send,
        render: Callable[[], Answer],
        what: str,
        workers: Workers,
    ) -> None:
        """Send what a worker thread renders, compressed if that is wanted and worth it."""
        gzip = accepts_gzip((header(scope, b"accept-encoding") or b"").decode("latin-1"))
        try:
            made, gzipped = await workers.run(_compressed, render, gzip)
        except BusyError:
            self._stats.add("busy_responses")
            text = "Too many requests at the same time.\n"
            await send_text(send, 503, text, headers=[(b"retry-after", b"1")])
        except Exception:
            self._stats.add("exposition_errors")
            _LOGGER.exception("the %s could not be rendered", what)
            await send_text(send, 500, f"The {what} could not be rendered; the log says why.\n")
        else:
            headers = [(b"vary", b"Accept, Accept-Encoding")]
            if made.content_type == HTML:
                headers += HEADERS
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
