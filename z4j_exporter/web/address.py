"""Listening addresses: what ":9808" or "unix:/run/x.sock" means, and how it is bound."""

import errno
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from z4j_exporter.errors import ListenError

#: Connections the kernel holds for us until the loop accepts them. Linux caps it at
#: net.core.somaxconn (4096 today).
BACKLOG = 1024

_FORMS = 'Write it as ":9808", "127.0.0.1:9808", "[::1]:9808", "localhost:9808" or "unix:/path".'


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed listening address: host and port, or the path of a Unix socket."""

    #: Name or IP address without brackets; empty for every interface.
    host: str = ""
    #: 0 asks the kernel for a free port.
    port: int = 0
    #: Path of a Unix socket, or None for TCP.
    unix_path: str | None = None

    def __str__(self) -> str:
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read a listening address; raises `ListenError` when it is none."""
    text = text.strip()
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            raise ListenError(f"The listening address {text!r} has no path.", hint=_FORMS)
        return Address(unix_path=path)
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise ListenError(f"The listening address {text!r} has no port.", hint=_FORMS)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ListenError(
            f"The listening address {text!r} is not clear: an IPv6 address needs brackets.",
            hint=_FORMS,
        )
    # isdecimal alone would let Arabic and other digits pass.
    if not (port_text.isascii() and port_text.isdecimal()) or int(port_text) > 65535:
        raise ListenError(
            f"The listening address {text!r} has no valid port (0 to 65535).", hint=_FORMS
        )
    return Address(host=host, port=int(port_text))


def bind(address: Address) -> list[socket.socket]:
    """Bind and listen; returns one socket, or one for each address a name resolves to.

    Raises `ListenError`; then no socket stays open.
    """
    if address.unix_path is not None:
        return [_bind_unix(address, address.unix_path)]
    if not address.host:
        return [_bind_every_interface(address)]
    return _bind_host(address)


def _bind_every_interface(address: Address) -> socket.socket:
    try:
        # One socket for IPv6 and IPv4 shares the port number, also when the kernel chooses it.
        return _listen(socket.AF_INET6, ("::", address.port), dual_stack=True)
    except OSError as exc:
        # A kernel without IPv6, or with it switched off: IPv4 is every interface there is.
        if exc.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise _listen_error(address, exc) from exc
    try:
        return _listen(socket.AF_INET, ("0.0.0.0", address.port))  # noqa: S104 - asked for
    except OSError as exc:
        raise _listen_error(address, exc) from exc


def _bind_host(address: Address) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as exc:
        raise ListenError(
            f"The host in the listening address {address} cannot be found.",
            hint="Use an IP address of this machine, or leave the host out for every interface.",
        ) from exc
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    port = address.port
    for family, _, _, _, target in dict.fromkeys(found):
        try:
            bound = _listen(family, (target[0], port, *target[2:]))
        except OSError as exc:
            # localhost often resolves to ::1 in a container that has no IPv6.
            if exc.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                _close(sockets)
                raise _listen_error(address, exc) from exc
            failure = exc
        else:
            sockets.append(bound)
            port = bound.getsockname()[1]  # the same port for the next family
    if not sockets:
        raise _listen_error(address, failure or OSError(errno.EADDRNOTAVAIL, ""))
    return sockets


def _listen(family: int, target: tuple[object, ...], *, dual_stack: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        sock.bind(target)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(address: Address, path: str) -> socket.socket:
    _remove_stale_socket(address, path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        raise _listen_error(address, exc) from exc
    return sock


def _remove_stale_socket(address: Address, path: str) -> None:
    """Remove the socket that a killed process left behind; never another kind of file."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(
            f"Cannot listen on {address}: a file that is no socket is there.",
            hint="Choose another path, or move the file away.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with suppress(OSError):
                Path(path).unlink()
        except OSError:
            return  # not ours to judge: bind will say what is wrong


def unlink_socket(address: Address) -> None:
    """Remove the file of a Unix socket that was closed, unless another process listens on it."""
    if address.unix_path is not None:
        with suppress(ListenError):
            _remove_stale_socket(address, address.unix_path)


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _listen_error(address: Address, exc: OSError) -> ListenError:
    message = f"Cannot listen on {address}: {exc.strerror or exc}."
    match exc.errno:
        case errno.EADDRINUSE:
            message = f"Cannot listen on {address}: the address is in use."
            hint = "Stop the process that uses it, or choose another one with --listen-address."
        case errno.EACCES | errno.EPERM:
            message = f"Cannot listen on {address}: permission denied."
            hint = "Ports below 1024 need privileges; a Unix socket needs a writable directory."
        case errno.EADDRNOTAVAIL:
            message = f"Cannot listen on {address}: this machine does not have that address."
            hint = "Use an address of this machine, or leave the host out for every interface."
        case _:
            hint = _FORMS
    return ListenError(message, hint=hint)
