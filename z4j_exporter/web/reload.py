"""Keeps a web configuration file and the files it names in force, through every change of them."""

import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from z4j_exporter.errors import ConfigError, ExporterError
from z4j_exporter.web.config import parse_web_config, read_file
from z4j_exporter.web.gate import TlsPolicy
from z4j_exporter.web.guard import AccessPolicy
from z4j_exporter.web.schema import WebConfigFile
from z4j_exporter.web.stats import WebStats
from z4j_exporter.web.tls import build_tls, tls_files

_LOGGER = logging.getLogger("z4j_exporter.web")

#: How often the files are looked at, in seconds.
_CHECK_SECONDS = 1.0

#: What tells that a file changed: inode, size, modified, changed (ns); None when it is not there.
_Signature = dict[Path, tuple[int, int, int, int] | None]


@dataclass(frozen=True, slots=True)
class _Loaded:
    tls: TlsPolicy | None
    access: AccessPolicy
    #: Of every file that was read, taken before reading: a change in between is seen later.
    signature: _Signature


class WebConfig:
    """A web configuration in force: encryption for new connections, access for each request.

    Connections that are open keep the certificate they began with. A change that cannot take
    effect leaves the configuration before it in force; `stats` says so (`last_reload_ok`,
    `reloads_failed`), the log says why, once for each change.
    """

    def __init__(self, path: Path, stats: WebStats | None = None) -> None:
        """Read the file; raises `ConfigError` or `FileError`."""
        self.stats = stats if stats is not None else WebStats()
        self._path = path
        self._loaded = _load(path)
        self.stats.last_reload_ok = True
        self._signature = self._loaded.signature
        self._problem = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def tls(self) -> TlsPolicy | None:
        """Return how the next connection is encrypted."""
        return self._loaded.tls

    def access(self) -> AccessPolicy:
        """Return who may make the next request."""
        return self._loaded.access

    def start(self) -> None:
        """Begin to look for changes, once a second, in a thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="z4j-web-config", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_CHECK_SECONDS + 1)

    def check(self) -> bool:
        """Look for a change now; returns whether one took effect."""
        signature = _sign(self._signature)
        changed = signature != self._signature
        # A failure is tried again also without a change: the cause may have been the system's.
        if not changed and not self._problem:
            return False
        self._signature = signature
        try:
            loaded = _load(self._path)
            self._forbid_switch(loaded)
        except ExporterError as exc:
            self._refused(exc.message, changed)
            return False
        except Exception as exc:
            self._refused(f"unforeseen error: {type(exc).__name__}", changed)
            _LOGGER.debug("the web configuration could not be read", exc_info=exc)
            return False
        self._loaded = loaded
        self._signature = loaded.signature
        self._problem = ""
        self.stats.add("reloads_ok")
        self.stats.last_reload_ok = True
        _LOGGER.info("the web configuration %s was read again", self._path)
        return True

    def _forbid_switch(self, loaded: _Loaded) -> None:
        # A line lost in the file must not send passwords in the clear.
        if (loaded.tls is None) != (self._loaded.tls is None):
            raise ConfigError("TLS cannot be switched on or off without a restart.")

    def _refused(self, problem: str, changed: bool) -> None:
        if not changed and problem == self._problem:
            return
        self._problem = problem
        self.stats.add("reloads_failed")
        self.stats.last_reload_ok = False
        _LOGGER.error(
            "the changed web configuration is refused, the one before stays in force: %s", problem
        )

    def _watch(self) -> None:
        while not self._stopping.wait(_CHECK_SECONDS):
            self.check()


def _load(path: Path) -> _Loaded:
    signature = _sign((path,))
    try:
        text = read_file(path).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not valid YAML: it is not UTF-8.") from None
    config = parse_web_config(text, name=str(path))
    signature |= _sign(tls_files(config.tls_server_config, path.parent))
    return _Loaded(build_tls(config.tls_server_config, path.parent), _access(config), signature)


def _access(config: WebConfigFile) -> AccessPolicy:
    return AccessPolicy(
        users={
            user: stored.get_secret_value().encode()
            for user, stored in config.basic_auth_users.items()
        },
        headers=tuple(
            (name.lower().encode(), value.encode())
            for name, value in config.http_server_config.headers.items()
        ),
        interval_seconds=config.rate_limit.interval,
        burst=config.rate_limit.burst,
    )


def _sign(paths: Iterable[Path]) -> _Signature:
    return {path: _stat(path) for path in paths}


def _stat(path: Path) -> tuple[int, int, int, int] | None:
    try:
        # Follows links: Kubernetes changes a mounted secret by turning a link.
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
