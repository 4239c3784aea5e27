"""Tells which broker URLs can carry events, and which source reads them.

Which transports can carry events? An event is published to an exchange, and a subscriber binds
a queue to it from another process. kombu's virtual transports keep exchanges and bindings in
the memory of each process (kombu/transport/virtual/base.py ``BrokerState``, ``get_table``)
unless they say otherwise, and then an event published by a worker reaches no queue but those of
the worker itself. Those that say otherwise, or whose broker routes by itself:

- filesystem, mongodb: ``get_table`` reads bindings that all processes share (filesystem keeps
  no order within a millisecond: its file names are a time and a random uuid);
- pgmq: ``_put_topic`` leaves the routing to the database;
- gcpubsub: ``_queue_bind`` makes a subscription in the cloud; Celery declares the event
  exchange as fanout there (celery/events/event.py ``get_exchange``);
- qpid: ``queue_bind`` asks the broker;
- memory: nothing is shared, so it works where worker and exporter are one process (tests).

filesystem and memory are tested against real workers; the others follow from kombu's source.

SQL transports are refused by Celery itself (celery/events/dispatcher.py ``DISABLED_TRANSPORTS``).
"""

import difflib
from collections.abc import Mapping
from typing import Final, Literal

from z4j_exporter.errors import BrokerUrlError

#: Which source reads a broker: redis.py, amqp.py or kombu.py.
TransportKind = Literal["redis", "amqp", "kombu"]

_OWN_SOURCE: Final[Mapping[str, TransportKind]] = {
    "redis": "redis",
    "rediss": "redis",
    "redis+socket": "redis",
    "sentinel": "redis",
    "amqp": "amqp",
    "amqps": "amqp",
    "pyamqp": "amqp",
    "librabbitmq": "amqp",
}
_THROUGH_KOMBU: Final = frozenset({"filesystem", "memory", "mongodb", "pgmq", "gcpubsub", "qpid"})

_SQL = "Celery sends no events over SQL (celery/events/dispatcher.py, DISABLED_TRANSPORTS)"
_UNSHARED = (
    "kombu keeps the bindings of this transport in the memory of each process "
    "(kombu/transport/virtual/base.py), so that no event leaves the worker"
)
_REFUSED: Final[Mapping[str, str]] = {
    "sqla": _SQL,
    "sqlalchemy": _SQL,
    **dict.fromkeys(
        (
            "sqs",
            "zookeeper",
            "consul",
            "etcd",
            "azurestoragequeues",
            "azureservicebus",
            "confluentkafka",
            "kafka",
            "pyro",
            "slmq",
        ),
        _UNSHARED,
    ),
}


def check_transport(url: str) -> TransportKind:
    """Return which kind of source reads a broker URL, or a failover list with semicolons.

    Raises BrokerUrlError for a transport that cannot carry events, an unknown one, and a list
    of several kinds. The error shows nothing of the URL but the scheme.
    """
    kinds = {_kind(single) for single in url.split(";") if single}
    if not kinds:
        raise BrokerUrlError("the broker URL is empty")
    if len(kinds) > 1:
        raise BrokerUrlError("the broker URL lists brokers of different kinds")
    return kinds.pop()


def _kind(url: str) -> TransportKind:
    scheme = scheme_of(url)
    base = scheme.split("+", 1)[0]  # sqla+mysql://… (kombu/connection.py)
    if scheme in _OWN_SOURCE:
        return _OWN_SOURCE[scheme]
    if scheme in _THROUGH_KOMBU:
        return "kombu"
    if base in _REFUSED:
        raise BrokerUrlError(
            f"the transport {base!r} cannot carry events: {_REFUSED[base]}",
            hint="Task events need Redis, RabbitMQ or another transport with shared bindings.",
        )
    known = sorted({*_OWN_SOURCE, *_THROUGH_KOMBU})
    close = difflib.get_close_matches(scheme, known, n=1)
    raise BrokerUrlError(
        f"the broker URL has the unknown scheme {scheme[:40]!r}",
        hint=f"Did you mean {close[0]}://?" if close else f"Known: {', '.join(known)}.",
    )


def scheme_of(url: str) -> str:
    """Return the scheme of a broker URL, in small letters; raises BrokerUrlError without one."""
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme.isprintable() or not scheme[:1].isalpha():
        # What stands before a later "://" could be anything, a password too: it is not shown.
        raise BrokerUrlError(
            "the broker URL has no scheme",
            hint="Write redis://HOST:6379/0, amqp://USER:PASSWORD@HOST:5672/VHOST and so on.",
        )
    if not all(character.isalnum() or character in "+-." for character in scheme):
        raise BrokerUrlError("the broker URL has no valid scheme before ://")
    return scheme.lower()
