"""Reads from the name of a Redis channel which settings would hear it.

kombu names channels prefix + exchange (+ ``/`` + routing key), where the prefix is
``global_keyprefix`` and then ``fanout_prefix`` (kombu/transport/redis.py ``_get_publish_topic``).
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from z4j_exporter.doctor.facts import Elsewhere
from z4j_exporter.sources.redis_url import fanout_prefix

#: What is subscribed while the doctor listens: events of any exchange, and of Celery's own where
#: fanout_patterns is off.
PATTERNS = ("*/worker.*", "*/task.*", "*celeryev")

_ROUTING_KEY = re.compile(r"/(?:worker|task)\.[a-z.]+\Z")
_DATABASE = re.compile(r"(?P<key>.*?)/(?P<db>\d{1,9})\.\Z", re.DOTALL)
#: Channels of other installations that are told apart.
_MAX_ELSEWHERE = 20


@dataclass(frozen=True)
class Naming:
    """How the settings name the channels they listen to."""

    key_prefix: str
    fanout: str
    exchange: str
    #: The fan-out prefix as kombu before 5.4 had it with Sentinel, where we listen as well.
    old_fanout: str = ""

    @property
    def prefix(self) -> str:
        """What stands before the exchange."""
        return self.key_prefix + self.fanout

    @property
    def channel(self) -> str:
        """The channel of events, without the routing key."""
        return self.prefix + self.exchange

    def hears(self, channel: str) -> bool:
        """Return whether this channel, without its routing key, is listened to."""
        return channel in (self.channel, self.key_prefix + self.old_fanout + self.exchange)


def naming(options: Mapping[str, Any], db: int, exchange: str) -> Naming:
    """Return how transport options, database and event exchange name the channels."""
    key_prefix = str(options.get("global_keyprefix") or "")
    fanout, old = fanout_prefix(options, db), fanout_prefix(options, None)
    return Naming(key_prefix, fanout, exchange, old)


def elsewhere(ours: Naming, heard: Mapping[str, int]) -> tuple[Elsewhere, ...]:
    """Return the installations that speak on other channels than ours.

    ``heard``: messages by channel.
    """
    counts: dict[str, int] = {}
    for channel, number in heard.items():
        base = _ROUTING_KEY.sub("", channel)
        if not ours.hears(base):
            counts[base] = counts.get(base, 0) + number
    found = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_ELSEWHERE]
    return tuple(Elsewhere(channel, setting(ours, channel), n) for channel, n in found)


def setting(ours: Naming, channel: str) -> str:
    """Return the option, as on a command line, that would make ``channel`` ours; "" if unclear."""
    if not channel.endswith(ours.exchange):
        exchange = channel.removeprefix(ours.prefix)
        return _option("--event-exchange", exchange) if channel != exchange else ""
    prefix = channel.removesuffix(ours.exchange)
    if ours.fanout and prefix.endswith(ours.fanout):
        return _transport(f"global_keyprefix={prefix.removesuffix(ours.fanout)}")
    database = _DATABASE.match(prefix)
    if database is not None:
        there = f"a broker URL that ends with /{int(database['db'])}"
        if database["key"] == ours.key_prefix:
            return there
        return f"{there} and {_transport('global_keyprefix=' + database['key'])}"
    if ours.key_prefix and not prefix.startswith(ours.key_prefix):
        return ""
    fanout = prefix.removeprefix(ours.key_prefix)
    return _transport(f"fanout_prefix={fanout or 'false'}")


def _transport(pair: str) -> str:
    return _option("--broker-transport-option", pair)


def _option(name: str, value: str) -> str:
    if not value.isprintable() or len(value) > 100:
        return ""  # nobody chose such a name, and nobody could type it
    return f"{name} {shlex.quote(value)}"
