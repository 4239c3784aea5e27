"""A TCP proxy that can cut, stall, delay and refuse connections."""

import contextlib
import selectors
import socket
import threading
import time
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 1 << 16


class Proxy:
    """Forwards a loopback port to another port; the methods make the network bad.

    One thread per direction and connection, all of them daemons; ``close`` ends them.
    """

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        #: The port to connect to.
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._delay_seconds = 0.0
        self._refusing = False
        self._closed = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        #: Connections accepted since the start.
        self.accepted = 0
        self._spawn("accept", self._accept)

    def cut(self) -> int:
        """Close every connection at once (a reset to both sides); return how many there were."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with contextlib.suppress(OSError):
                # Linger 0: the peer sees a reset, as from a crashed machine that came back.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.shutdown(socket.SHUT_RDWR)
        for sock in sockets:
            sock.close()
        return len(sockets) // 2

    def stall(self) -> None:
        """Half-open: forward nothing any more, keep every socket open, accept and say nothing."""
        self._flowing.clear()

    def flow(self) -> None:
        """End a stall: what was held back goes on."""
        self._flowing.set()

    def delay(self, seconds: float) -> None:
        """Hold every chunk back for this long, in each direction."""
        self._delay_seconds = seconds

    def refuse(self, refusing: bool = True) -> None:
        """Close new connections as soon as they are made (and let those that are be)."""
        self._refusing = refusing

    def close(self) -> None:
        """Stop: no new connections, the present ones are cut."""
        self._closed = True
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _spawn(self, name: str, target: object, *args: object) -> None:
        thread = threading.Thread(
            target=target,  # type: ignore[arg-type]  # any callable of the args
            args=args,
            name=f"proxy-{self.port}-{name}",
            daemon=True,
        )
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self._refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream_port), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets += [client, server]
            self._spawn("up", self._pump, client, server)
            self._spawn("down", self._pump, server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while True:
                self._flowing.wait()
                # Waits apart from reading, so that a stall that began meanwhile holds the bytes.
                if not _readable(source, 0.1):
                    continue
                self._flowing.wait()
                chunk = source.recv(_CHUNK_BYTES)
                if not chunk:
                    break
                if self._delay_seconds:
                    time.sleep(self._delay_seconds)
                sink.sendall(chunk)
        except (OSError, ValueError):
            pass  # cut: the other direction ends as well
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _readable(sock: socket.socket, timeout_seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(timeout_seconds))
