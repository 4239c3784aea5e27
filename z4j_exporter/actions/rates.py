"""Limits how often one actor may ask, and how often one peer may fail to say who it is. Pure."""

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from z4j_exporter.actions.model import ActionError

#: Buckets of each kind: an attacker may have many addresses, memory has an end.
_MOST_BUCKETS = 4096
#: Requests that a token may make at once, in seconds' worth of its rate.
_BURST_SECONDS = 5.0
#: An IPv6 host has a network of its own of this size (RFC 6177): its addresses are one peer.
_IPV6_NETWORK_BITS = 64


@dataclass(frozen=True, slots=True)
class Rate:
    """How many at once, and how many more a second."""

    per_second: float
    burst: float

    @property
    def refill_seconds(self) -> float:
        """Seconds after which a bucket is full, whatever was taken from it."""
        return self.burst / self.per_second


#: Requests of one peer that fail to authenticate: ten at once, then one in six seconds. A person
#: who mistypes is not stopped; a flood fills neither the log nor the audit log.
FAILURES = Rate(per_second=1 / 6, burst=10.0)


class RateLimitedError(ActionError):
    """Too many requests: 429, with ``retry_after`` whole seconds for the header Retry-After."""

    def __init__(self, what: Literal["actor", "peer"], wait_seconds: float) -> None:
        detail = (
            "This token makes too many requests."
            if what == "actor"
            else "Too many requests from this address had no valid token."
        )
        super().__init__("rate-limited", 429, detail, hint="Wait as Retry-After says.")
        self.what = what
        self.retry_after = max(1, math.ceil(wait_seconds))


class Buckets:
    """One token bucket for each key, and never more than ``capacity`` of them.

    A bucket that nobody used for as long as it takes to fill is like a new one and can go. When
    all are in use, who is not yet among them shares one bucket with all others who are not.

    ``now`` is in seconds of a clock that never goes back. One thread at a time.
    """

    def __init__(self, rate: Rate, *, capacity: int = _MOST_BUCKETS) -> None:
        self._rate = rate
        self._capacity = capacity
        #: Key → (what is in it, when that was), least recently used first.
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._shared = (rate.burst, -math.inf)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, now: float) -> float:
        """Take one; returns 0, or the seconds until there is one to take."""
        known = self._buckets.get(key)
        if known is None and not self._room(now):
            self._shared, wait = self._taken(self._shared, now)
            return wait
        self._buckets[key], wait = self._taken(known or (self._rate.burst, now), now)
        self._buckets.move_to_end(key)
        return wait

    def _room(self, now: float) -> bool:
        while self._buckets:
            oldest = next(iter(self._buckets))
            if now - self._buckets[oldest][1] < self._rate.refill_seconds:
                break
            del self._buckets[oldest]
        return len(self._buckets) < self._capacity

    def _taken(self, bucket: tuple[float, float], now: float) -> tuple[tuple[float, float], float]:
        level, updated = bucket
        gained = max(0.0, now - updated) * self._rate.per_second
        level = min(self._rate.burst, level + gained)
        if level >= 1:
            return (level - 1, now), 0.0
        return (level, now), (1 - level) / self._rate.per_second


class RateLimits:
    """The limits of the actions' listener; any thread may ask."""

    def __init__(self, requests_per_second: float, *, failures: Rate = FAILURES) -> None:
        burst = max(1.0, requests_per_second * _BURST_SECONDS)
        self._requests = Buckets(Rate(requests_per_second, burst))
        self._failures = Buckets(failures)
        self._lock = threading.Lock()

    def request(self, actor: str, now: float) -> float:
        """Count a request of somebody who is known; returns 0, or the seconds to wait."""
        with self._lock:
            return self._requests.take(actor, now)

    def failure(self, peer: str | None, now: float) -> float:
        """Count a failed authentication; returns 0, or the seconds to wait."""
        with self._lock:
            return self._failures.take(peer_key(peer), now)


def peer_key(address: str | None) -> str:
    """Return what stands for a peer: its IPv4 address, its IPv6 network; "" on a Unix socket."""
    if address is None:
        return ""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK_BITS), strict=False))
