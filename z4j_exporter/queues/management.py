"""Reads all queues of a vhost from RabbitMQ's management API: one listing, in pages.

The fields are those of GET /api/queues/{vhost} (https://www.rabbitmq.com/docs/http-api-reference).
Its figures are as old as the queue's last report (collect_statistics_interval, 5 s by default); of
a new queue there are none yet. With statistics disabled in the broker nothing but names is left,
or names and depths (management.enable_queue_totals).
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from z4j_exporter.queues.base import QueuePollError
from z4j_exporter.queues.management_address import ManagementAddress
from z4j_exporter.queues.management_http import ManagementHttp
from z4j_exporter.queues.model import QueueReading

#: The most that RabbitMQ gives in one page.
PAGE_SIZE: Final = 500
#: A listing ends here, at 100 000 queues.
MAX_PAGES: Final = 200
#: Of all pages of a listing together: about 300 bytes a queue are usual.
MAX_LISTING_BYTES: Final = 64 * 1024 * 1024
#: How often a listing is begun anew when queues came or went between its pages.
_ATTEMPTS: Final = 3

_COLUMNS: Final = (
    "name",
    "exclusive",
    "messages_ready",
    "messages_unacknowledged",
    "consumers",
    "memory",
    "head_message_timestamp",
    "message_stats.publish",
    "message_stats.deliver_get",
    "message_stats.ack",
)
# Where the broker keeps no statistics, enable_queue_totals still gives depths.
_QUERY: Final = f"page_size={PAGE_SIZE}&enable_queue_totals=true&columns={','.join(_COLUMNS)}"


class _Page(msgspec.Struct):
    items: list[dict[str, Any]]
    page_count: int
    filtered_count: int


_DECODER: Final = msgspec.json.Decoder(_Page)


class ManagementReader:
    """Reads the queues of a vhost through the first management API that answers.

    ``admit`` says of a listed queue nobody asked for whether it may be one of tasks;
    ``wall_clock`` gives epoch seconds, for the age of messages.
    """

    method = "management"

    def __init__(
        self,
        addresses: Sequence[ManagementAddress],
        admit: Callable[[str], bool],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._apis = [ManagementHttp(address) for address in addresses]
        self._admit = admit
        self._wall_clock = wall_clock

    def read(self, names: Collection[str], deadline: float) -> list[QueueReading]:
        """See QueueReader.read; of the other queues, exclusive ones are left out."""
        if not self._apis:
            raise QueuePollError(
                "the broker has a port of its own, from which that of its management API cannot "
                "be told: set rabbitmq_management_url"
            )
        failures: list[QueuePollError] = []
        for position, api in enumerate(self._apis):
            left = deadline - time.monotonic()
            share = left / (len(self._apis) - position)
            try:
                listing = _list(api, time.monotonic() + share)
                readings = self._readings(listing, set(names))
            except QueuePollError as failure:
                failures.append(failure)
                continue
            self.notes = (*listing.notes, *_without_statistics(readings))
            # The one that answered is asked first the next time.
            self._apis.insert(0, self._apis.pop(position))
            return readings
        raise QueuePollError("; ".join(failure.message for failure in failures))

    def close(self) -> None:
        """See QueueReader.close."""
        for api in self._apis:
            api.close()

    def _readings(self, listing: "_Listing", names: set[str]) -> list[QueueReading]:
        now = self._wall_clock()
        found: dict[str, QueueReading] = {}
        for item in listing.items:
            name = item.get("name")
            if not isinstance(name, str):
                raise QueuePollError(
                    "the management API listed a queue without a name: check that "
                    "rabbitmq_management_url leads to RabbitMQ"
                )
            if name in names or self._is_of_tasks(name, item):
                found[name] = reading_of(name, item, now)
        if not listing.notes:
            for name in names - found.keys():
                found[name] = QueueReading(name, ready={"": 0}, unacked=0, consumers=0)
        return list(found.values())

    def _is_of_tasks(self, name: str, item: Mapping[str, Any]) -> bool:
        # An exclusive queue belongs to one connection (replies, events): nobody else consumes it.
        return item.get("exclusive") is not True and self._admit(name)


def reading_of(name: str, item: Mapping[str, Any], now: float) -> QueueReading:
    """Return what one entry of the listing says; ``now`` is in epoch seconds.

    What is absent, null or negative is None. Raises QueuePollError for what is no number.
    """
    stats = item.get("message_stats")
    counters = stats if isinstance(stats, Mapping) else {}
    ready = _count(item, "messages_ready")
    unacked = _count(item, "messages_unacknowledged")
    return QueueReading(
        name,
        ready=None if ready is None else {"": ready},
        unacked=unacked,
        consumers=_count(item, "consumers"),
        memory_bytes=_count(item, "memory"),
        oldest_age_seconds=_age(item, ready, unacked, now),
        published=_count(counters, "publish"),
        delivered=_count(counters, "deliver_get"),
        acked=_count(counters, "ack"),
    )


def _without_statistics(readings: Sequence[QueueReading]) -> tuple[str, ...]:
    # A new queue has neither depth nor consumers; a broker without statistics has the depth.
    told = [r for r in readings if r.ready is not None and r.memory_bytes is None]
    if any(r.consumers is None for r in told):
        return ("the broker keeps no statistics (management.disable_stats): depth only",)
    return ()


def _age(
    item: Mapping[str, Any], ready: int | None, unacked: int | None, now: float
) -> float | None:
    # RabbitMQ takes the older of the first ready and the first unacknowledged message
    # (rabbit_variable_queue:head_message_timestamp): while consumers hold messages, for an ETA
    # perhaps, it says nothing about those that wait.
    if not ready or unacked != 0:
        return None
    sent = _count(item, "head_message_timestamp")
    # Zero is no time at which anything was sent; clocks may differ by a little.
    return max(0.0, now - sent) if sent else None


def _count(item: Mapping[str, Any], key: str) -> int | None:
    value = item.get(key)
    # Erlang's '' and [] are what older versions write for "undefined".
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise QueuePollError(
            f"the management API gave a {key} that is no number: check that "
            "rabbitmq_management_url leads to RabbitMQ"
        )
    return int(value) if value >= 0 else None


@dataclass
class _Listing:
    """What the pages of one listing held."""

    items: list[Mapping[str, Any]] = field(default_factory=list)
    #: Queues in the vhost, as the first page has it.
    count: int = 0
    changed: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Say why it may lack queues; empty when it has all."""
        if self.changed:
            return ("queues came or went while they were listed: some may be left out this time",)
        if len(self.items) < self.count:
            return (f"only the first {len(self.items)} of {self.count} queues were read",)
        return ()


def _list(api: ManagementHttp, deadline: float) -> _Listing:
    for _ in range(_ATTEMPTS):
        listing = _list_once(api, deadline)
        if not listing.changed:
            break
    return listing


def _list_once(api: ManagementHttp, deadline: float) -> _Listing:
    listing = _Listing()
    room = MAX_LISTING_BYTES
    for number in range(1, MAX_PAGES + 1):
        target = f"{api.address.queues_path}?page={number}&{_QUERY}"
        status, body = api.get(target, max_bytes=room, deadline=deadline)
        if status == 400 and number > 1:
            listing.changed = True  # page_out_of_range: there are fewer pages now
            break
        if status != 200:
            raise QueuePollError(_refusal(api.address, status, body))
        room -= len(body)
        page = _decode(api.address, body)
        if number == 1:
            listing.count = page.filtered_count
        # A queue less moves those of the next page into this one, which has been read.
        listing.changed |= page.filtered_count != listing.count
        listing.items += page.items
        if number >= page.page_count:
            break
    return listing


def _decode(address: ManagementAddress, body: bytes) -> _Page:
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise QueuePollError(
            f"{address.location} did not answer with a listing of queues: check that "
            "rabbitmq_management_url leads to RabbitMQ's management API"
        ) from None


def _refusal(address: ManagementAddress, status: int, body: bytes) -> str:
    """Say what an answer other than 200 means; its words are RabbitMQ 3.10's and 4's."""
    who = f"{address.location} refused user {address.user!r}"
    if status in (401, 403) and b"management user" in body:
        return f"{who}: give it the tag management (rabbitmqctl set_user_tags)"
    if status in (401, 403) and b"virtual host" in body:
        return (
            f"{who} the vhost {address.vhost!r}: grant it permissions there "
            "(rabbitmqctl set_permissions)"
        )
    if status in (401, 403):
        return (
            f"{who} (status {status}): check user and password in rabbitmq_management_url "
            "(by default those of the broker URL; guest may log in from the broker's machine only)"
        )
    if status == 404 and b"Object Not Found" in body:
        return (
            f"{address.location} has no vhost {address.vhost!r} or no management API: check the "
            "end of the broker URL and rabbitmq_management_url"
        )
    if status == 404 or 300 <= status < 400:
        return (
            f"{address.location} answered with status {status}: check rabbitmq_management_url "
            "(scheme, port, and the path that management.path_prefix sets)"
        )
    return (
        f"{address.location} answered with status {status}: check the broker's log, and that "
        "rabbitmq_management_url leads to RabbitMQ's management API"
    )
