"""What access to the actions counts, as plain attributes for the metrics to read."""

import threading
from dataclasses import dataclass, field
from typing import Literal

#: Why somebody was let in or not: one for each authentication. All but "accepted" and the three
#: of a request's form look the same from outside.
AuthReason = Literal[
    "accepted",
    "missing",
    # of the request's form
    "malformed",
    "scheme",
    "token_in_url",
    # of a token
    "mistyped",
    "unknown",
    "expired",
    "not_yet",
    # of a certificate
    "certificate_unknown",
    "certificate_ambiguous",
    "certificate_ended",
]
#: Why somebody who was let in may not do a thing.
DenialReason = Literal["role", "task_scope", "queue_scope", "task_unknown", "queue_unknown"]


@dataclass(slots=True)
class AccessStats:
    """Counters since the process started, all monotonic unless they say otherwise.

    Threads that answer requests write, a scrape reads: every change goes through a method and its
    lock, every copy too.
    """

    #: Entries of the token file in force, by "token" and "certificate". Not a counter.
    entries: dict[str, int] = field(default_factory=dict)
    #: Changes of the token file that took effect.
    reloads_ok: int = 0
    #: Changes that were refused; the entries before them stayed in force.
    reloads_failed: int = 0
    #: Whether the newest change took effect. Not a counter.
    last_reload_ok: bool = True
    #: Requests answered with 429, by "actor" (too many) and "peer" (too many that failed).
    rate_limited: dict[str, int] = field(default_factory=dict)
    _authentications: dict[AuthReason, int] = field(default_factory=dict)
    _denials: dict[DenialReason, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count_authentication(self, reason: AuthReason) -> None:
        """Count who was let in, or why not."""
        with self._lock:
            self._authentications[reason] = self._authentications.get(reason, 0) + 1

    def count_denial(self, reason: DenialReason) -> None:
        """Count why somebody was not allowed to do a thing."""
        with self._lock:
            self._denials[reason] = self._denials.get(reason, 0) + 1

    def count_rate_limited(self, what: Literal["actor", "peer"]) -> None:
        """Count an answer with 429."""
        with self._lock:
            self.rate_limited[what] = self.rate_limited.get(what, 0) + 1

    def reloaded(self, tokens: int, certificates: int, *, first: bool = False) -> None:
        """Take note of the entries that are now in force."""
        with self._lock:
            self.entries = {"token": tokens, "certificate": certificates}
            self.last_reload_ok = True
            self.reloads_ok += not first

    def reload_refused(self) -> None:
        """Take note of a change that cannot take effect."""
        with self._lock:
            self.last_reload_ok = False
            self.reloads_failed += 1

    def authentications(self) -> dict[AuthReason, int]:
        """Return authentications by reason, in a copy that no other thread changes."""
        with self._lock:
            return dict(self._authentications)

    def denials(self) -> dict[DenialReason, int]:
        """Return denials by reason, in a copy that no other thread changes."""
        with self._lock:
            return dict(self._denials)
