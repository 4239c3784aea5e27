"""Runs an ASGI application on one listening address, in a thread and an event loop of its own."""

import asyncio
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from typing import Protocol

import h11
from uvicorn.config import Config
from uvicorn.server import ServerState

from z4j_exporter.errors import ListenError
from z4j_exporter.web.address import BACKLOG, Address, bind, parse_address, unlink_socket
from z4j_exporter.web.asgi import App
from z4j_exporter.web.connections import Connection, ConnectionTable, Limits
from z4j_exporter.web.gate import Gate, TlsProvider
from z4j_exporter.web.guard import AccessProvider, Guard
from z4j_exporter.web.protocol import DeadlineProtocol
from z4j_exporter.web.stats import WebStats

_LOGGER = logging.getLogger("z4j_exporter.web")

#: Connections accepted at one go, before the loop reads from those it has.
_ACCEPT_BATCH = 32

#: How long `start` waits for the loop to begin, in seconds; it takes milliseconds.
_START_SECONDS = 10.0


class WebPolicy(TlsProvider, AccessProvider, Protocol):
    """Encryption and access together; `z4j_exporter.web.reload.WebConfig` is one."""


class Listener:
    """One address and the application behind it.

    `app` is any ASGI application (no lifespan, no websockets). `web_config` says how connections
    are encrypted and who may make requests; without it, they are not and everybody may. `name`
    is for the thread and the log.
    """

    def __init__(
        self,
        app: App,
        address: str,
        *,
        name: str = "web",
        web_config: WebPolicy | None = None,
        limits: Limits | None = None,
        stats: WebStats | None = None,
    ) -> None:
        self.stats = stats if stats is not None else WebStats()
        self._guard = Guard(app, web_config, self.stats) if web_config else None
        self._app: App = self._guard or app
        self._address: Address = parse_address(address)
        self._name = name
        self._tls = web_config
        self._limits = _affordable(limits if limits is not None else Limits())
        self._sockets: list[socket.socket] = []
        self._bound: list[tuple[str, int]] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._stop_seconds = 0.0
        self._ready = threading.Event()

    def start(self) -> None:
        """Bind, and return once connections are accepted. Raises `ListenError`."""
        if self._thread is not None:
            raise RuntimeError("the listener was started before")
        self._sockets = bind(self._address)
        self._bound = [_bound_to(sock) for sock in self._sockets]
        self._thread = threading.Thread(target=self._run, name=f"z4j-{self._name}", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_SECONDS) or self._stopping is None:
            raise ListenError(
                f"The {self._name} listener on {self._address} did not start.",
                hint="The log says more.",
            )
        _LOGGER.info("%s listens on %s", self._name, self.url)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """What was bound: (host, port) for each socket; for a Unix socket (path, 0)."""
        return list(self._bound)

    @property
    def port(self) -> int:
        """The bound TCP port; 0 for a Unix socket."""
        return self._bound[0][1]

    @property
    def url(self) -> str:
        """The address to open, such as http://localhost:9808; unix:/path for a Unix socket."""
        if self._address.unix_path is not None:
            return str(self._address)
        scheme = "https" if self._tls and self._tls.tls() else "http"
        host, port = self._address.host, self._bound[0][1]
        if host in ("", "::", "0.0.0.0"):  # noqa: S104 - compared, not bound
            host = "localhost"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def alive(self) -> bool:
        """Whether the listener's thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Accept no more, let answers under way finish, and end within about that time."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None or self._stopping is None:
            return
        self._stop_seconds = timeout_seconds
        try:
            loop.call_soon_threadsafe(self._stopping.set)
        except RuntimeError:
            return  # the loop has ended
        thread.join(timeout_seconds + 1)
        if thread.is_alive():
            _LOGGER.warning("the %s listener did not end in %.0f s", self._name, timeout_seconds)

    def _run(self) -> None:
        # asyncio's own loop, not uvloop: its TLS timeouts are what the deadlines rest on.
        loop = asyncio.SelectorEventLoop()
        self._loop = loop
        try:
            loop.run_until_complete(self._serve(loop))
        except Exception:
            _LOGGER.exception("the %s listener ended with an error", self._name)
        finally:
            self._ready.set()
            if self._guard is not None:
                self._guard.close()
            for sock in self._sockets:
                sock.close()
            loop.close()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        table = ConnectionTable(loop, self._limits, self.stats)
        state = ServerState()
        make_http = self._http_factory(state)
        servers = [
            await _accept(loop, sock, lambda: Gate(table, self._tls, make_http))
            for sock in self._sockets
        ]
        self._stopping = asyncio.Event()
        self._ready.set()
        # Held here: the loop itself keeps only a weak reference to its tasks.
        clock = loop.create_task(_keep_date(state))
        await self._stopping.wait()
        for server in servers:
            server.close()
        unlink_socket(self._address)
        await _drain(state, table, loop.time() + self._stop_seconds)
        clock.cancel()
        await _end_tasks()

    def _http_factory(self, state: ServerState) -> Callable[[Connection], asyncio.Protocol]:
        # uvicorn must leave logging as it is: log_config None, and its level stays quiet because
        # whatever it would say of a client, anybody could make it say without end.
        config = Config(
            self._app,
            http=DeadlineProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(self._limits.idle_seconds) + 60,
        )
        config.load()
        return lambda connection: DeadlineProtocol(
            config, state, connection, self._limits, self.stats
        )


async def _accept(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, gate: Callable[[], asyncio.Protocol]
) -> asyncio.Server:
    create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
    # asyncio takes "backlog" connections at one go before it reads from any. In a flood, an honest
    # client would be pushed out before its request is looked at; so few, and then the kernel's
    # own queue back to what it was.
    server = await create(gate, sock=sock, backlog=_ACCEPT_BATCH)
    sock.listen(BACKLOG)
    return server


async def _keep_date(state: ServerState) -> None:
    """Write the Date header that uvicorn adds to answers, once a second."""
    while True:
        state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        await asyncio.sleep(1)


async def _drain(state: ServerState, table: ConnectionTable, deadline: float) -> None:
    """Let answers finish until the deadline (of the loop's clock), then cut off what is left."""
    for protocol in list(state.connections):
        # A connection that is in no state to be closed in order is cut off below.
        with suppress(h11.LocalProtocolError):
            protocol.shutdown()
    loop = asyncio.get_running_loop()
    while state.tasks and loop.time() < deadline:
        await asyncio.sleep(0.02)
    table.abort_all()
    # The losses reach the protocols in the next turns, and end what waits for a slow reader.
    while state.connections and loop.time() < deadline + 1:
        await asyncio.sleep(0)


async def _end_tasks() -> None:
    """End what is left in the loop: handshakes, requests that never end, the clock."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # asyncio closes a socket in the turn after the one that lost it; for TLS, one more.
    for _ in range(3):
        await asyncio.sleep(0)


def _affordable(limits: Limits) -> Limits:
    """Lower the cap on connections to half the file descriptors that this process may open.

    Without a descriptor, accept fails and asyncio stops accepting for a second.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return limits
    return replace(limits, open_connections=min(limits.open_connections, max(1, allowed // 2)))


def _bound_to(sock: socket.socket) -> tuple[str, int]:
    name = sock.getsockname()
    return (name, 0) if isinstance(name, str) else (name[0], name[1])
