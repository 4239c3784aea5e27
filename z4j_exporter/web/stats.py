"""What the web side counts, as plain attributes for the metrics to read."""

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

#: The attributes of `WebStats` that `WebStats.add` may change.
CounterName = Literal[
    "auth_failures",
    "rate_limited",
    "slow_connections_closed",
    "evicted_connections",
    "tls_handshake_failures",
    "malformed_requests",
    "busy_responses",
    "exposition_errors",
    "reloads_ok",
    "reloads_failed",
    "open_connections",
]


@dataclass(slots=True)
class WebStats:
    """Counters since the process started, all monotonic unless they say otherwise.

    The event loop and the worker threads write, a scrape reads. Adding to an attribute is not
    atomic in Python, so every change goes through `add` or `count_request` and their lock.
    """

    #: Answers begun, by (path, status code). A path that neither is in `known_paths` nor has one of
    #: `templates` is counted as "other", so that a scanner cannot make series.
    requests: dict[tuple[str, int], int] = field(default_factory=dict)
    #: Requests that came with a wrong user or password. A request with none is not counted: every
    #: browser's and curl's first one is.
    auth_failures: int = 0
    #: Requests refused by the `rate_limit` of the web configuration file.
    rate_limited: int = 0
    #: Connections closed because they were too slow: handshake, request or reading of the answer.
    slow_connections_closed: int = 0
    #: Connections closed to make room for a newer one.
    evicted_connections: int = 0
    #: Connections whose TLS handshake failed, or whose certificate was not on the list.
    tls_handshake_failures: int = 0
    #: Requests that were not HTTP.
    malformed_requests: int = 0
    #: Scrapes answered with 503 because too many were waiting.
    busy_responses: int = 0
    #: Scrapes answered with 500 because rendering failed.
    exposition_errors: int = 0
    #: Changes of the web configuration (or of a file it names) that took effect.
    reloads_ok: int = 0
    #: Changes that were refused; the configuration before them stayed in force.
    reloads_failed: int = 0
    #: Whether the web configuration as it is now is in force; None without one. Not a counter.
    last_reload_ok: bool | None = None
    #: Connections open at this moment. Not a counter.
    open_connections: int = 0
    #: The paths that the application serves; it adds its own before the first request.
    known_paths: frozenset[str] = frozenset()
    #: Patterns of whole paths, and what a path that has one is counted as: /v1/tasks/{task_id}.
    templates: tuple[tuple[re.Pattern[str], str], ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, counter: CounterName, amount: int = 1) -> None:
        """Add to one of the counters above, by its name."""
        with self._lock:
            setattr(self, counter, getattr(self, counter) + amount)

    def count_request(self, path: str, status: int) -> None:
        """Count one answer (see `requests`)."""
        if path not in self.known_paths:
            # What stands beneath a page (/traces/ID) counts as that page.
            parent = path[: path.find("/", 1)] if path.count("/") == 2 else ""
            path = parent if parent in self.known_paths else self._template(path)
        key = (path, status)
        with self._lock:
            self.requests[key] = self.requests.get(key, 0) + 1

    def _template(self, path: str) -> str:
        return next((name for found, name in self.templates if found.fullmatch(path)), "other")

    def requests_snapshot(self) -> dict[tuple[str, int], int]:
        """Return a copy of `requests` that no other thread changes."""
        with self._lock:
            return dict(self.requests)
