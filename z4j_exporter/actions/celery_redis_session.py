"""One connection to a Redis broker for one action, and where kombu keeps a queue there.

Our own connection and never kombu's, whose client may send a command again after a timeout
(redis-py retries by itself): a task would run twice. Each session has one deadline.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from z4j_exporter.actions.celery_errors import unknown, unreachable
from z4j_exporter.config import Settings
from z4j_exporter.errors import SourceLostError
from z4j_exporter.queues.redis import DEFAULT_PRIORITY_STEPS, DEFAULT_SEPARATOR
from z4j_exporter.queues.redis_bindings import Bindings, encoded
from z4j_exporter.queues.redis_scripts import TAIL_BYTES, TAILS, Scripts
from z4j_exporter.sources.redis_calls import RedisCalls, connect_calls
from z4j_exporter.sources.redis_servers import RedisServers

#: Other lists that a queue may have, if the application's priority_steps are not the exporter's:
#: kombu's Redis transport knows priorities from 0 to 9.
_ALL_STEPS: Final = range(10)
#: Searches for bindings, of 20 000 keys each, until a queue counts as unknown.
_SEARCHES: Final = 10
#: Seconds that searching leaves for what comes after it.
_SPARE_SECONDS: Final = 0.5


class Installation:
    """The Redis or Valkey that ``settings`` lead to, and how kombu names keys there.

    ``clock`` is the clock of deadlines. Raises BrokerUrlError, ConfigError or FileError for what
    cannot be used.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        options = settings.broker_transport_options
        urls = [url for url in (settings.broker_url or "").split(";") if url]
        self.servers = RedisServers(urls, options, settings.broker_tls)
        steps = options.get("priority_steps") or DEFAULT_PRIORITY_STEPS
        self._steps = tuple(int(step) for step in steps)
        #: Every step a queue may have a list for.
        self.steps = sorted({*self._steps, *_ALL_STEPS})
        self.separator = str(options.get("sep") or DEFAULT_SEPARATOR)
        self._prefix = str(options.get("global_keyprefix") or "")
        #: The hash of the messages that workers hold.
        self.unacked = encoded(self._prefix + str(options.get("unacked_key") or "unacked"))
        self._event_exchange = settings.event_exchange
        self.clock = clock

    def key(self, queue: str, step: int) -> bytes:
        """Return the list of a queue for a priority step."""
        return encoded(self._prefix + queue + (f"{self.separator}{step}" if step else ""))

    def keys(self, queue: str) -> list[bytes]:
        """Return all lists that a queue may have, by step."""
        return [self.key(queue, step) for step in self.steps]

    def can_name(self, queue: str) -> bool:
        """Whether a queue may have this name: one of the lists of another queue is none."""
        return bool(queue) and self.separator not in queue

    def step(self, priority: int) -> int:
        """Return the application's step for a priority."""
        return step_of(self._steps, priority)

    def bindings(self) -> Bindings:
        """Return the binding tables, not read yet."""
        return Bindings(
            key_prefix=self._prefix, separator=self.separator, event_exchange=self._event_exchange
        )


class Session:
    """One connection, closed at the end; what the driver raises becomes an ActionError there.

    Raises ActionError (503) when there is no connection.
    """

    def __init__(self, installation: Installation, deadline: float) -> None:
        self.scripts = Scripts()
        self._installation = installation
        self._acted = False
        try:
            self.calls: RedisCalls = connect_calls(
                installation.servers, deadline, "z4j-exporter-actions", installation.clock
            )
        except SourceLostError as error:
            raise unreachable(error.message) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.calls.close()
        if isinstance(error, SourceLostError):
            raise (unknown if self._acted else unreachable)(error.message) from None

    def acts(self) -> None:
        """Note that what is sent from here on changes something."""
        self._acted = True

    def has_time(self) -> bool:
        """Whether there is time to look further."""
        return self.calls.remaining_seconds() > _SPARE_SECONDS

    def bound(self) -> set[str]:
        """Return the queues that bindings name, as far as one search finds them."""
        bindings = self._installation.bindings()
        bindings.refresh(self.calls)
        return bindings.queues()

    def knows(self, queue: str) -> bool:
        """Whether a queue is there: what stands in it is kombu's, or a binding names it.

        A list that is no queue may have the same name: data of the application's.
        """
        if not self._installation.can_name(queue):
            return False
        keys = self._installation.keys(queue)
        (tails,) = self.scripts.run(self.calls, [(TAILS, len(keys), *keys, TAIL_BYTES)])
        found = [tail for tail in tails if tail is not None] if isinstance(tails, list) else []
        # Where a server lost its data, senders go on without telling it of the bindings again.
        if found and all(_is_message(tail) for tail in found):
            return True
        bindings = self._installation.bindings()
        # Celery's own way of naming: an exchange with the queue's name.
        address = (queue, queue)
        if queue in (bindings.route(self.calls, [address])[address] or ()):
            return True
        for _ in range(_SEARCHES):
            bindings.refresh(self.calls)
            if queue in bindings.queues():
                return True
            if not self.has_time():
                break
        return False


def _is_message(tail: object) -> bool:
    """Whether this ends as kombu's messages do (virtual/base.py ``_inplace_augment_message``)."""
    return isinstance(tail, bytes) and b'"delivery_tag"' in tail and b'"delivery_info"' in tail


def step_of(steps: Sequence[int], priority: int) -> int:
    """Return the step whose list takes a priority (kombu/transport/redis.py ``priority``)."""
    clamped = max(0, min(9, priority))
    return max((step for step in steps if step <= clamped), default=max(steps))
