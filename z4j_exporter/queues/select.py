"""Decides which queues are watched, and remembers those it learned of."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from z4j_exporter.config import Settings
from z4j_exporter.patterns import compile_pattern
from z4j_exporter.track.cluster import Cluster

#: Seconds after which a queue is forgotten that nobody configured, sent to, consumed or bound,
#: and that held no message.
FORGET_SECONDS: Final = 86_400.0
#: Characters of a queue's name; RabbitMQ's own limit is 255 bytes. Longer ones are not watched.
MAX_NAME_LENGTH: Final = 255
#: Queues of Celery itself: workers' mailboxes and the mailbox of all, replies to inspect.
_MAILBOX: Final = re.compile(r"(?:.*\.)?(?:reply\.)?celery\.pidbox", re.DOTALL)
#: Reply queues: a bare uuid (the result backend rpc://), or a name that RabbitMQ made up.
_REPLIES: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|amq\.gen-.*", re.IGNORECASE | re.DOTALL
)


class Origin(IntEnum):
    """How a queue became known; where there are too many, a higher one stays."""

    SENT = 0
    FOUND = 1
    CONSUMED = 2
    CONFIGURED = 3


@dataclass(frozen=True)
class KnownNames:
    """Names of queues that the rest of the program knows of at one moment."""

    #: From task-sent events (see ``queues_sent_to``).
    sent: Collection[str] = ()
    #: Consumed by workers, by their own account.
    consumed: Collection[str] = ()


class QueueFilter:
    """Says which queues may be watched.

    Configured ones always are. Of the others, those of Celery itself (events, replies,
    mailboxes) and those that ``--queue-deny`` or ``--queue-allow`` leave out are not.

    Raises ConfigError for a pattern that is none.
    """

    def __init__(self, settings: Settings) -> None:
        self.configured = frozenset(settings.queues)
        self._events = settings.event_queue_prefix
        self._allow = [compile_pattern(p, "--queue-allow") for p in settings.queue_allow]
        self._deny = [compile_pattern(p, "--queue-deny") for p in settings.queue_deny]

    def admits(self, name: str) -> bool:
        """Return whether a queue of this name may be watched."""
        if name in self.configured:
            return True
        if not name or len(name) > MAX_NAME_LENGTH or not _encodable(name):
            return False
        if self._is_internal(name) or any(p.fullmatch(name) for p in self._deny):
            return False
        return not self._allow or any(p.fullmatch(name) for p in self._allow)

    def _is_internal(self, name: str) -> bool:
        prefix = self._events
        if prefix and (name == prefix or name.startswith(f"{prefix}.")):
            return True
        return bool(_MAILBOX.fullmatch(name) or _REPLIES.fullmatch(name))


class QueueSelection:
    """The queues that are watched: at most ``max_queues`` beside the configured ones.

    Times are seconds on a clock that never goes back.
    """

    def __init__(self, admit: QueueFilter, *, max_queues: int) -> None:
        self._filter = admit
        self._max = max_queues
        self._origin: dict[str, Origin] = {}
        self._counts: Counter[Origin] = Counter()
        self._seen: dict[str, float] = {}
        #: Queues that found no room when last they were seen.
        self.left_out = 0

    def learn(self, known: KnownNames, now: float) -> None:
        """Take note of the names known now, and forget those unseen for FORGET_SECONDS."""
        self._forget(now)
        self.left_out = 0
        self._take(known.consumed, Origin.CONSUMED, now)
        self._take(known.sent, Origin.SENT, now)

    def find(self, names: Iterable[str], now: float) -> None:
        """Take note of names that the broker itself knows, or that hold messages."""
        self._take(names, Origin.FOUND, now)

    def names(self) -> list[str]:
        """Return the names to watch, sorted."""
        return sorted({*self._filter.configured, *self._origin})

    def __contains__(self, name: str) -> bool:
        return name in self._filter.configured or name in self._origin

    def _take(self, names: Iterable[str], origin: Origin, now: float) -> None:
        for name in names:
            known = self._origin.get(name)
            if known is None and not self._filter.admits(name):
                continue
            if name in self._filter.configured:
                continue
            if known is None and len(self._origin) >= self._max and not self._displace(origin):
                self.left_out += 1
                continue
            if known is None or known < origin:
                self._origin[name] = origin
                self._counts[origin] += 1
                if known is not None:
                    self._counts[known] -= 1
            self._seen[name] = now

    def _displace(self, origin: Origin) -> bool:
        """Make room by forgetting one queue of a lower origin; return whether there was one.

        Anybody can send events that name queues: they must not keep out what is consumed.
        """
        if not any(self._counts[lower] for lower in Origin if lower < origin):
            return False
        self._drop(next(name for name, known in self._origin.items() if known < origin))
        return True

    def _forget(self, now: float) -> None:
        for name in [n for n, seen in self._seen.items() if now - seen > FORGET_SECONDS]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._counts[self._origin.pop(name)] -= 1
        del self._seen[name]


def queues_sent_to(cluster: Cluster) -> set[str]:
    """Return the queues of the tasks that are remembered; only task-sent events name them.

    To be called by the cluster's owner.
    """
    return {task.queue for task in cluster.tasks.table if task.queue}


def _encodable(name: str) -> bool:
    # JSON can bring half a surrogate pair. Bytes of Redis that are no UTF-8 are kept as others.
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
