"""Confirm tokens of purges: given by a dry run, good once, for minutes, for one actor and queue."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

#: Seconds between the dry run and the purge, at most.
CONFIRM_SECONDS: Final = 300.0
#: Tokens remembered as used. More purges than that in five minutes are no purges by people.
_MOST_USED: Final = 10_000


class Confirmations:
    """Gives and takes tokens; they die with the process, and a new dry run gives new ones.

    ``clock`` is epoch seconds: the time of expiry is told. Any thread may call.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        #: Tokens that were used → when they expire.
        self._used: dict[str, float] = {}

    def give(self, actor: str, queue: str) -> tuple[str, float]:
        """Return a token and when it expires (epoch seconds)."""
        expires_at = round(self._clock() + CONFIRM_SECONDS, 3)
        begun = f"{round(expires_at * 1000)}.{secrets.token_hex(8)}"
        return f"{begun}.{self._mac(begun, actor, queue)}", expires_at

    def take(self, token: str, actor: str, queue: str) -> bool:
        """Whether a token is good; it is not any more after this."""
        begun, _, mac = token.rpartition(".")
        good = self._mac(begun, actor, queue)
        if not hmac.compare_digest(mac.encode(errors="replace"), good.encode()):
            return False
        # It has our MAC, so it has our form.
        expires_at, now = int(begun.partition(".")[0]) / 1000, self._clock()
        if now >= expires_at:
            return False
        with self._lock:
            self._used = {used: until for used, until in self._used.items() if until > now}
            if token in self._used or len(self._used) >= _MOST_USED:
                return False
            self._used[token] = expires_at
        return True

    def _mac(self, begun: str, actor: str, queue: str) -> str:
        message = hashlib.sha256()
        for part in (begun, actor, queue):
            data = part.encode("utf-8", "surrogatepass")
            message.update(len(data).to_bytes(8, "big") + data)
        return hmac.new(self._key, message.digest(), "sha256").hexdigest()
